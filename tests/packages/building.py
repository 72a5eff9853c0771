"""The packages, built once for all tests: a copy of the repository in; wheels, source distributions, npm's file out.

`make packages` builds them itself, into `dist`, and names that folder in `PACKAGES`: then those are the ones tested.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["REPOSITORY", "Packages", "copy_of_repository", "packages"]

REPOSITORY = Path(__file__).parents[2]
BUILD_S = 120.0
_FOLDERS = ("actors", "clients", "server", "tests")
"""What a build could take files from; tests are there to be left out."""
_LEFT_OUT = ("*.egg-info", "__pycache__", ".*", "build", "corpus", "node_modules")


class Packages:
    """A folder with what was built.

    Attributes:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, pattern: str) -> Path:
        """Return the one file that is called so."""
        (found,) = self.folder.glob(pattern)
        return found

    @property
    def router(self) -> Path:
        """The wheel of the router."""
        return self.file("postroom-*.whl")

    @property
    def client(self) -> Path:
        """The wheel of the client."""
        return self.file("postroom_client-*.whl")

    def constraints(self, file: Path) -> Path:
        """Write a file that has installers take these packages, whatever an index may have under their names."""
        file.write_text(f"postroom @ {self.router.as_uri()}\npostroom-client @ {self.client.as_uri()}\n")
        return file


def copy_of_repository(target: Path) -> Path:
    """Copy what packages are made from, so that a build leaves nothing in the repository. Links stay links."""
    target.mkdir()
    for folder in _FOLDERS:
        shutil.copytree(REPOSITORY / folder, target / folder, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for path in REPOSITORY.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, target)
    return target


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Wheel and source distribution of the router and of the client."""
    if "PACKAGES" in os.environ:
        return Packages(REPOSITORY / os.environ["PACKAGES"])
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the processes of one run of the tests share what the first one builds
        folder = shared / "packages"
        if not folder.exists():
            _build(copy_of_repository(shared / "packages-source"), shared / "packages-unfinished")
            (shared / "packages-unfinished").rename(folder)
    return Packages(folder)


def _build(source: Path, target: Path) -> None:
    """Build as `make packages` does: the wheel from the source distribution, in an environment made for that."""
    builds = [
        subprocess.Popen(
            [sys.executable, "-m", "build", "--installer", "uv", "--outdir", str(target), str(source / project)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for project in (".", "clients/python")
    ]
    try:
        for build in builds:
            printed, _ = build.communicate(timeout=BUILD_S)
            assert build.returncode == 0, printed
    finally:
        for build in builds:
            build.kill()
            build.communicate()
