"""Preload: the shim is compiled and loaded into this process, which has to begin again for that."""

from __future__ import annotations

import ctypes
import enum
import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["File", "Kind", "begin_trace", "cut_at", "fail_at", "preloaded", "restart_preloaded"]

_SOURCE = Path(__file__).with_name("shim.c")
_COMPILE_S = 60.0


class Kind(enum.IntEnum):
    """What may be done to a file; as in the shim."""

    CREATE = 0
    WRITE = 1
    TRUNCATE = 2
    SYNC = 3
    SYNC_FOLDER = 4
    UNLINK = 5
    RENAME = 6
    LINK = 7
    CUT = 8


class File(enum.IntEnum):
    """Which file it is done to; as in the shim."""

    JOURNAL = 0
    WAL = 1
    SHM = 2
    ROLLBACK = 3
    LOCK = 4
    OTHER = 5
    FOLDER = 6


def preloaded() -> bool:
    """Tell whether the shim is in this process."""
    return hasattr(ctypes.CDLL(None), "power_begin")


def restart_preloaded() -> int:
    """Begin this program again with the shim in it; return its exit code.

    Raises:
        OSError: There is no compiler, or it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "shim.so"
        compiler = os.environ.get("CC", "cc")
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl", "-lpthread"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_S, check=False)
        if done.returncode:
            raise OSError(f"{compiler} cannot compile {_SOURCE}: {done.stderr}")
        arguments = [sys.executable, "-m", "tests.torture.power", *sys.argv[1:]]
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        return subprocess.run(arguments, env=environment, check=False).returncode


def begin_trace(folder: Path, trace: int) -> None:
    """Have every change to files in a folder written to a descriptor from now on."""
    ctypes.CDLL(None).power_begin(os.fsencode(folder), trace)


def cut_at(kinds: frozenset[Kind], files: frozenset[File], after: int) -> None:
    """End this process before a change of these kinds to these files, when so many of them were made."""
    ctypes.CDLL(None).power_cut(_bits(kinds), _bits(files), ctypes.c_long(after))


def fail_at(kinds: frozenset[Kind], files: frozenset[File], after: int, count: int) -> None:
    """Let so many changes of these kinds to these files fail, when so many of them were made."""
    ctypes.CDLL(None).power_fail(_bits(kinds), _bits(files), ctypes.c_long(after), ctypes.c_long(count))


def _bits(values: frozenset[Kind] | frozenset[File]) -> int:
    return sum(1 << value for value in values)
