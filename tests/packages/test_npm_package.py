"""The npm package of the JavaScript client: packed, installed as docs/how-to/install.md says, checked and run."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

import postroom_client

from ..conftest import RouterProcess
from ..docs.taken import taken
from .building import REPOSITORY, Packages

SOURCE = REPOSITORY / "clients/javascript"
FILES = {"LICENSE", "README.md", "package.json", "postroom.d.ts", "postroom.js"}
NPM_S = 60.0
PROGRAM = """
import { connect, VERSION } from "postroom-client";
const { WebSocket } = await import(process.env.WS);
const client = await connect(process.env.ROUTER, { WebSocket });
const session = await client.subscribe("session:1");
await client.publish("session:1", "lab.tried", { from: "npm" });
for await (const event of session) {
  console.log(VERSION, event.data.from);
  break;
}
await client.close();
"""
TYPED = """
import { connect } from "postroom-client";
const session = await (await connect("ws://127.0.0.1:8000/v1/ws")).subscribe("session:1");
for await (const event of session) {
  const offset: string = event.offset;
}
"""
"""A user's, with one mistake that only types show."""


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=NPM_S
    )


@pytest.fixture(scope="module")
def tarball(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `npm pack` makes, or what `make packages` has made of it."""
    if "PACKAGES" in os.environ:
        return Packages(REPOSITORY / os.environ["PACKAGES"]).file("postroom-client-*.tgz")
    folder = tmp_path_factory.mktemp("npm") / "dist"
    folder.mkdir()
    done = run("npm", "pack", str(SOURCE), "--pack-destination", str(folder), cwd=folder)
    assert done.returncode == 0, done.stderr
    return Packages(folder).file("*.tgz")


@pytest.fixture(scope="module")
def application(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's, with the package installed as the page says."""
    (commands,) = taken("how-to/install.md", "test_node_imports_it")
    folder = tmp_path_factory.mktemp("application")
    (folder / "dist").symlink_to(tarball.parent)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    done = run("bash", "-ec", commands, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_it_holds_the_module_its_types_and_what_they_are(tarball: Path) -> None:
    """Byte by byte as in the repository, and nothing else."""
    with tarfile.open(tarball) as opened:
        files = {name: opened.extractfile(name) for name in opened.getnames()}
        assert {*files} == {f"package/{name}" for name in FILES}
        for name in FILES:
            file = files[f"package/{name}"]
            assert file is not None
            assert file.read() == (SOURCE / name).read_bytes(), name


def test_every_file_that_it_names_is_in_it() -> None:
    manifest = json.loads((SOURCE / "package.json").read_text())
    named = {manifest["types"], *manifest["exports"]["."].values(), *manifest["files"]}
    assert {name.removeprefix("./") for name in named} <= FILES
    assert manifest["license"] == "MIT"


def test_node_imports_it(application: Path, node_modules: Path, router_process: RouterProcess) -> None:
    """By its name, and it speaks to a router."""
    (application / "program.js").write_text(PROGRAM)
    ws = (node_modules / "ws/wrapper.mjs").as_uri()
    done = run("node", "program.js", cwd=application, WS=ws, ROUTER=router_process.ws_url)
    assert done.stdout == f"{postroom_client.__version__} npm\n", done.stderr


@pytest.mark.parametrize("resolution", ["nodenext", "bundler"])
def test_typescript_finds_its_types(resolution: str, application: Path, node_modules: Path) -> None:
    """As Node and as bundlers look for them."""
    (application / f"{resolution}.ts").write_text(TYPED)
    module = "nodenext" if resolution == "nodenext" else "esnext"
    settings = ("--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom", "--pretty", "false")
    done = run(
        *("node", str(node_modules / "typescript/bin/tsc"), *settings, "--module", module),
        *("--moduleResolution", resolution, f"{resolution}.ts"),
        cwd=application,
    )
    (error,) = done.stdout.splitlines()
    assert "Type 'number' is not assignable to type 'string'" in error
