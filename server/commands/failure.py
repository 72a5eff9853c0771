"""How a command that could not do its work ends: an error in, its text for a terminal and an exit code out."""

from __future__ import annotations

from actors.errors import PostroomError
from server.printable import printable

__all__ = ["CommandFailed", "explain"]


class CommandFailed(PostroomError):
    """The command line was fine and the work failed: exit code 1. `str()` says what happened and what helps."""


def explain(error: PostroomError) -> tuple[str, int]:
    """Return what to print and the exit code: 2 where the command line was wrong, else 1."""
    from server.settings import SettingsError  # here, as most commands end without

    if isinstance(error, CommandFailed | SettingsError):
        # Some of these have several lines; what they quote is shown as it was written.
        text = "\n".join(printable(line) for line in str(error).split("\n"))
    else:
        text = printable(str(error))
    return text, 2 if isinstance(error, SettingsError) and error.from_flag else 1
