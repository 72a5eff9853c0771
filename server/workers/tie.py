"""A tie between processes: a child that the system ends when its parent does, however that comes about. Linux only."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["can_tie", "tie"]

_PR_SET_PDEATHSIG = 1


def can_tie() -> bool:
    """Tell whether this system has a tie."""
    return sys.platform == "linux"


def tie() -> Callable[[], None]:
    """Return what a new child must call first (`preexec_fn`), made here as it may load nothing there.

    The child gets SIGKILL: what it has acknowledged is safe, and its ports are free at once. It is the thread that
    starts the child whose end counts.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def tied() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before
            os._exit(1)

    return tied
