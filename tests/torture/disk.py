"""SmallDisk: a file system of few megabytes that can be filled and freed. Needs the right to mount."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["SmallDisk", "small_disk", "unavailable"]

_WAIT_S = 10.0


class SmallDisk:
    """A mounted file system.

    Args:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take every byte that is left."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (1 << 20, 1 << 16, 1 << 12):
                block = bytes(size)
                with contextlib.suppress(_NoSpace):
                    while True:
                        _write(ballast.fileno(), block)

    def free(self) -> None:
        """Give back what was taken."""
        self._ballast.unlink(missing_ok=True)


class _NoSpace(Exception):
    pass


def _write(descriptor: int, block: bytes) -> None:
    try:
        if os.write(descriptor, block) < len(block):
            raise _NoSpace
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _NoSpace from None


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[SmallDisk]:
    """Mount a file system of `mib` MiB at a new folder, and take it away at the end.

    Raises:
        OSError: It cannot be mounted.
    """
    folder.mkdir()
    _mount(folder, mib)
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: a router that could not be ended must not keep it.
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=_WAIT_S)
        folder.rmdir()


def unavailable() -> str | None:
    """Say why there can be no small disk here; None: there can be one."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder) / "disk", 1):
                return None
        except OSError as error:
            return f"no small file system can be mounted: {error}"


def _mount(folder: Path, mib: int) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "postroom-torture", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT_S, check=False)
    if done.returncode:
        folder.rmdir()
        raise OSError(done.stderr.strip() or f"mount ended with {done.returncode}")
