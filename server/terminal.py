"""Terminal: whether this process was started in one, and whether that is gone. SIGHUP means something else then."""

from __future__ import annotations

import os
import signal

__all__ = ["Terminal"]


class Terminal:
    """The terminal that this process was started in, if any. Make it before SIGHUP gets a handler.

    A process that was started to outlive its terminal, as `nohup` does, has none in this sense.
    """

    def __init__(self) -> None:
        self._ends_with_it = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _is_there()

    @property
    def gone(self) -> bool:
        """Whether the process should end, because the terminal was closed."""
        return self._ends_with_it and not _is_there()


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
