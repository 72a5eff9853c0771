"""How a command that could not do its work ends."""

from __future__ import annotations

from actors.errors import PostroomError

__all__ = ["CommandFailed"]


class CommandFailed(PostroomError):
    """The command line was fine and the work failed: exit code 1. `str()` says what happened and what helps."""
