"""The `postroom` command: words of a shell in, one command run, an exit code out.

Exit codes: 0 fine, 1 failed, 2 wrong usage of the command line, 130 stopped by Ctrl-C. Nothing heavy is imported
before `main` runs, so that Ctrl-C has its meaning from the first moment on.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence

__all__ = ["main"]

_PYTHON = (3, 11)
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the commands themselves run into only where they print: everything else that they do has its own errors."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command that `args` name (None: the process's own) and exit."""
    if sys.version_info < _PYTHON:  # an older one that finds this module: nothing else of ours can be imported
        sys.exit(_too_old())
    if args is None:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        code = _run(args)
    except KeyboardInterrupt:
        code = 130
    finally:
        if args is None:
            signal.signal(signal.SIGINT, _interrupted)  # event loops leave Python's own handler behind
    sys.exit(code)


def _run(args: Sequence[str] | None) -> int:
    from actors.errors import PostroomError

    from .commands.failure import explain
    from .commands.group import app
    from .commands.output import drop_output, tell

    try:
        app(args=args, prog_name="postroom")
    except PostroomError as error:
        message, code = explain(error)
        tell(message)
        return code
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        drop_output()
        tell(f"cannot write the output: {error.strerror}")
        return 1
    return 0


def _too_old() -> str:
    have, need = sys.version.split()[0], ".".join(map(str, _PYTHON))
    return (
        f"postroom: this is Python {have} ({sys.executable}), and Postroom needs {need} or newer. "
        f"Install it with a newer one, for example: pipx install --python python{need} postroom"
    )


def _interrupted(_number: int, _frame: object) -> None:
    """End at once. An exception could come up in the middle of an import, and be taken for a failure of that."""
    os._exit(130)


if __name__ == "__main__":
    main()
