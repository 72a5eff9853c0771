"""docs/how-to/install.md is followed, each way on a machine of its own: packages are installed, run and removed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import postroom_client
import server

from ..docs.pages import Block, steps
from .building import REPOSITORY, Packages, copy_of_repository
from .installed import INSTALL_S, Machine, check_router

PAGE = REPOSITORY / "docs/how-to/install.md"
DESCRIPTION = REPOSITORY / "PACKAGE.md"
WITH_UV = "With uv"
WAYS = ("With pip", "With pipx", WITH_UV)
PROGRAM = """
import postroom_client
from postroom_client import Progress


async def main() -> None:
    service = postroom_client.Service("http://127.0.0.1:8001")
    async with service, postroom_client.connect("ws://127.0.0.1:8000/v1/ws") as client:
        job = await client.subscribe("session:1")
        service.tell(Progress("session:1", current=1, total=3))
        async for event in job:
            offset: str = event.offset
"""
"""A user's, with one mistake that only types show."""
THEIR_TEST = """
import pytest


@pytest.mark.asyncio
async def test_with_the_kit(postroom):
    ann = await postroom.client("ann")
    watching = await ann.subscribe(postroom.room())
    await postroom.kill_connection(ann)
    assert (await ann.publish(watching.room, "lab.tried", {})).offset == 1
"""


def blocks(page: Path, section: str, test: str, folder: Path) -> list[Block]:
    """Return the blocks of a section that name this test."""
    found = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page.name} has no section {section!r}"
    part = folder / "section.md"
    part.write_text(found[1])
    return [block for block in steps(part) if block.tested_by.endswith(f"::{test}")]


def follow(machine: Machine, followed: list[Block], **environment: str) -> None:
    """Run the commands of blocks, which must print each line that is shown."""
    assert followed
    printed: list[str] = []
    for block in followed:
        if block.language == "sh":
            printed += machine.run(block.text, **environment).splitlines()
        else:
            assert {*block.text.splitlines()} <= {*printed}, printed


def install_and_remove(way: str, packages: Packages, folder: Path) -> Machine:
    """Do all that the page says for one way, and return the machine that is left."""
    machine = Machine(folder, packages)
    follow(machine, blocks(PAGE, way, "test_a_router_is_installed_and_runs", folder))
    if way == WITH_UV:
        follow(machine, blocks(PAGE, "Extras", "test_an_extra_is_there_afterwards", folder))
        check_router(machine, "--workers", "2")
    else:
        check_router(machine)
    follow(machine, blocks(PAGE, way, "test_a_router_is_removed", folder))
    return machine


@pytest.fixture(scope="module")
def followed(
    request: pytest.FixtureRequest, packages: Packages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Machine]]]:
    """Every way that is to be tested, at the same time."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    ways = {each["way"] for each in params if "way" in each}
    with ThreadPoolExecutor(len(WAYS)) as pool:
        yield {way: pool.submit(install_and_remove, way, packages, tmp_path_factory.mktemp("machine")) for way in ways}


def test_packages_are_taken_from_a_folder(packages: Packages, tmp_path: Path) -> None:
    """By pip and by uv; where the folder is not named, they would look elsewhere."""
    machine = Machine(tmp_path, packages)
    (machine.cwd / "dist").symlink_to(packages.folder)
    pinned = tmp_path / "pinned.txt"
    pinned.write_text(f"postroom == {server.__version__}\npostroom-client == {postroom_client.__version__}\n")
    (block,) = blocks(PAGE, "From files", "test_packages_are_taken_from_a_folder", tmp_path)
    use = "python3 -m pip download --no-deps --dest got postroom postroom-client\nuvx postroom --version"
    printed = machine.run(f"{block.text}\n{use}", PIP_CONSTRAINT=str(pinned), UV_CONSTRAINT=str(pinned))
    assert printed.endswith(f"postroom {server.__version__}\n")
    for wheel in (packages.router, packages.client):
        assert (machine.cwd / "got" / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_client_is_installed_alone(packages: Packages, tmp_path: Path) -> None:
    """It is typed, and its plug-in for pytest keeps out of the way; with the extra `testing` the kit runs a router."""
    machine = Machine(tmp_path, packages)
    machine.run("uv venv --quiet --seed .venv")
    own = machine.cwd / ".venv/bin"
    path = f"{own}:{machine.environment['PATH']}"
    follow(machine, blocks(PAGE, "The client alone", "test_the_client_is_installed_alone", tmp_path), PATH=path)
    installed = machine.run("pip list --format freeze", PATH=path)
    assert f"postroom-client=={postroom_client.__version__}" in installed
    assert "postroom==" not in installed
    assert "pykka" not in installed
    (machine.cwd / "program.py").write_text(PROGRAM)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(own / "python"), "program.py"],
        cwd=machine.cwd,
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
    )
    errors = [line for line in checked.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 1, checked.stdout + checked.stderr
    assert 'expression has type "int", variable has type "str"' in errors[0]
    (machine.cwd / "test_plain.py").write_text("def test_plain():\n    pass\n")
    (machine.cwd / "test_kit.py").write_text(THEIR_TEST)
    machine.run("uv pip install --quiet --python .venv pytest", PATH=path)
    assert "1 passed" in machine.run("pytest -q -W error test_plain.py", PATH=path)
    machine.run("uv pip install --quiet --python .venv 'postroom-client[testing]' pytest-asyncio", PATH=path)
    assert "1 passed" in machine.run("pytest -q test_kit.py", PATH=path)


def test_a_router_is_installed_from_the_source(packages: Packages, tmp_path: Path) -> None:
    """From the repository's files as they are, and removed."""
    machine = Machine(tmp_path, packages)
    machine.cwd = copy_of_repository(tmp_path / "repository")
    del machine.environment["UV_CONSTRAINT"]  # both packages are made here
    install, remove = blocks(PAGE, "From the source", "test_a_router_is_installed_from_the_source", tmp_path)
    assert machine.run(install.text).endswith(f"postroom {server.__version__}\n")
    machine.run(remove.text)
    assert machine.program() is None


@pytest.mark.parametrize("way", WAYS)
def test_a_router_is_installed_and_runs(way: str, followed: dict[str, Future[Machine]]) -> None:
    """It serves, publishes, listens, and gives out the console and the JavaScript client."""
    followed[way].result(INSTALL_S)


@pytest.mark.parametrize("way", WAYS)
def test_a_router_is_removed(way: str, followed: dict[str, Future[Machine]]) -> None:
    """The command is gone, and what the router kept is left."""
    machine = followed[way].result(INSTALL_S)
    assert machine.program() is None
    assert (machine.cwd / "postroom-data").is_dir()


@pytest.mark.parametrize("way", [WITH_UV])
def test_an_extra_is_there_afterwards(way: str, followed: dict[str, Future[Machine]]) -> None:
    """Over a router that was installed without it: several processes run, on a NATS server of the package's."""
    assert (followed[way].result(INSTALL_S).cwd / "postroom-data/nats").is_dir()


def test_the_description_installs_as_the_guide_does(tmp_path: Path) -> None:
    """What PACKAGE.md says is tried on the guide's page."""
    (shown,) = blocks(DESCRIPTION, "Install it", "test_a_router_is_installed_and_runs", tmp_path)
    (tried, *_) = blocks(PAGE, "With pipx", "test_a_router_is_installed_and_runs", tmp_path)
    assert tried.text.startswith(shown.text)
