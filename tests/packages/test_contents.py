"""What is in the packages: every file that it takes, no other, and metadata that fits."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import EmailMessage
from email.parser import Parser
from email.policy import default
from pathlib import Path

import pytest
import readme_renderer.markdown
from packaging.requirements import Requirement
from trove_classifiers import classifiers

import postroom_client
import server

from .building import REPOSITORY, Packages

CLIENT = REPOSITORY / "clients" / "python"
FOR_USERS = {"cluster", "workers", "otel"}
FOR_DEVELOPERS = {"bench", "examples", "fuzz", "test"}
INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}


def below(folder: Path, *patterns: str) -> set[str]:
    """Return the files of a package, by their names from the folder that it lies in."""
    return {str(path.relative_to(folder.parent)) for each in patterns for path in folder.glob(each) if path.is_file()}


ROUTER_FILES = {
    *below(REPOSITORY / "actors", "**/*.py", "py.typed"),
    *below(REPOSITORY / "server", "**/*.py", "py.typed", "clients/*", "console/*"),
}
CLIENT_FILES = {*below(CLIENT / "postroom_client", "**/*.py", "py.typed"), "pytest_postroom.py"}


def in_wheel(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}


def in_sdist(sdist: Path) -> dict[str, bytes]:
    """Return the regular files, without the folder that they all lie in; there must be nothing else."""
    files = {}
    with tarfile.open(sdist) as opened:
        for member in opened:
            if not member.isdir():
                assert member.isreg(), f"{member.name} is a link, to where there will be nothing"
                content = opened.extractfile(member)
                assert content is not None
                files[member.name.partition("/")[2]] = content.read()
    return files


def metadata(wheel: Path) -> EmailMessage:
    (text,) = [content for name, content in in_wheel(wheel).items() if name.endswith(".dist-info/METADATA")]
    message = Parser(policy=default).parsestr(text.decode())
    assert isinstance(message, EmailMessage)
    return message


def requirements(wheel: Path) -> list[Requirement]:
    return [Requirement(each) for each in metadata(wheel).get_all("Requires-Dist", [])]


def test_the_wheel_of_the_router_has_its_two_packages_and_nothing_else(packages: Packages) -> None:
    """Also the console and the JavaScript client, which are links in the repository; no tests, no examples."""
    version = server.__version__
    assert set(in_wheel(packages.router)) == ROUTER_FILES | {f"postroom-{version}.dist-info/{each}" for each in INFO}


def test_the_wheel_of_the_client_has_its_package_and_its_plug_in_and_nothing_else(packages: Packages) -> None:
    info = {f"postroom_client-{postroom_client.__version__}.dist-info/{each}" for each in INFO}
    assert set(in_wheel(packages.client)) == CLIENT_FILES | info


@pytest.mark.parametrize(
    ("name", "folder", "more"),
    [
        ("postroom", REPOSITORY, {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "PACKAGE.md", "README.md"}),
        ("postroom_client", CLIENT, {"LICENSE", "README.md"}),
    ],
)
def test_a_source_distribution_has_what_the_wheel_is_made_of(
    name: str, folder: Path, more: set[str], packages: Packages
) -> None:
    """And no tests: these need the whole repository. Links have become files."""
    files = in_sdist(packages.file(f"{name}-*.tar.gz"))
    package = ROUTER_FILES if folder == REPOSITORY else CLIENT_FILES
    build = {"PKG-INFO", "pyproject.toml", "setup.cfg"}
    assert {each for each in files if f"{name}.egg-info/" not in each} == package | more | build
    for each in package | more:
        assert files[each] == (folder / each).read_bytes(), each


@pytest.mark.parametrize("name", ["router", "client"])
def test_a_wheel_holds_what_the_repository_holds(name: str, packages: Packages) -> None:
    """Byte by byte: nothing of an older build is left in it."""
    folder = REPOSITORY if name == "router" else CLIENT
    for each, content in in_wheel(getattr(packages, name)).items():
        if ".dist-info/" not in each:
            assert content == (folder / each).read_bytes(), each


def test_indexes_take_the_packages(packages: Packages) -> None:
    """twine, which uploads them, has no objection."""
    files = [str(each) for each in packages.folder.iterdir() if each.suffix != ".tgz"]
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(files) == 4


@pytest.mark.parametrize("name", ["router", "client"])
def test_metadata_says_what_a_user_looks_for(name: str, packages: Packages) -> None:
    said = metadata(getattr(packages, name))
    assert said["Name"] == {"router": "postroom", "client": "postroom-client"}[name]
    assert said["License-Expression"] == "MIT"
    assert said.get_all("License-File") == ["LICENSE"]
    assert said["Requires-Python"] == ">=3.11"
    assert said["Author"] == "The Postroom developers"
    assert len(said["Summary"]) < 200
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= {*said.get_all("Classifier", [])}
    assert {*said.get_all("Classifier", [])} <= classifiers


@pytest.mark.parametrize("name", ["router", "client"])
def test_the_description_can_be_read_where_there_is_no_repository(name: str, packages: Packages) -> None:
    """As an index shows it: links lead somewhere from there, pictures are none, and no command needs the Makefile."""
    text = metadata(getattr(packages, name)).get_content()
    shown = readme_renderer.markdown.render(text)
    assert shown is not None
    assert "<h1" in shown
    assert "<pre" in shown
    assert "tests/" not in shown  # a marker of the tests is a comment, and is not shown
    assert not [link for link in re.findall(r'(?:href|src)="([^"]+)"', shown) if not link.startswith(("https://", "#"))]
    assert not re.search(r"\bmake [a-z]+\b", "\n".join(re.findall(r"<pre.*?</pre>|<code>.*?</code>", shown, re.DOTALL)))


def test_extras_for_users_are_described_and_others_are_known(packages: Packages) -> None:
    """A row for each in the guide and in the description, and none for those that only developers need."""
    extras = {*metadata(packages.router).get_all("Provides-Extra", [])}
    assert extras - FOR_DEVELOPERS == FOR_USERS
    for extra in FOR_USERS:
        assert f"| `{extra}` |" in (REPOSITORY / "docs/how-to/install.md").read_text()
        assert f"| `postroom[{extra}]` |" in (REPOSITORY / "PACKAGE.md").read_text()


# --- versions, licence, words


def test_all_packages_have_one_version() -> None:
    """The npm package's is held against the client's in tests/clients/javascript/chain.test.js."""
    assert postroom_client.__version__ == server.__version__


def test_router_and_client_ask_for_each_other_in_this_version_or_a_later_one(packages: Packages) -> None:
    """A router is not tried with a client of an older minor version, nor the test kit with such a router."""
    minor = ".".join(server.__version__.split(".")[:2])
    (client,) = [each for each in requirements(packages.router) if each.name == "postroom-client"]
    (router,) = [each for each in requirements(packages.client) if each.name == "postroom"]
    assert {str(client.specifier), str(router.specifier)} == {f">={minor}"}


def test_what_has_a_number_in_the_guide_has_the_version() -> None:
    page = (REPOSITORY / "docs/how-to/install.md").read_text()
    assert {*re.findall(r"(?<![\d.])\d+\.\d+\.\d+(?![\d.])", page)} == {server.__version__}


def test_the_licence_is_the_same_in_every_package() -> None:
    """Copies, not links: npm packs no links."""
    licence = (REPOSITORY / "LICENSE").read_bytes()
    for package in ("python", "javascript"):
        copy = REPOSITORY / "clients" / package / "LICENSE"
        assert not copy.is_symlink()
        assert copy.read_bytes() == licence


def test_nothing_that_is_installed_tells_its_user_to_make() -> None:
    """Whoever has a package has no Makefile."""
    (targets,) = re.findall(r"^\.PHONY: (.+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    command = re.compile(rf"\bmake ({'|'.join(targets.split())})\b")
    for folder, files in ((REPOSITORY, ROUTER_FILES), (CLIENT, CLIENT_FILES)):
        for each in files:
            assert not command.search((folder / each).read_text()), each


def test_the_build_needs_what_the_project_says() -> None:
    """Both distributions are built by the same version of setuptools, and on."""
    projects = [tomllib.loads((folder / "pyproject.toml").read_text()) for folder in (REPOSITORY, CLIENT)]
    assert projects[0]["build-system"] == projects[1]["build-system"]
