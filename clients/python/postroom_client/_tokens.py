"""Where tokens come from: a string or a callable in, the token to send out."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

__all__ = ["TokenSource", "Tokens"]

TokenSource = str | Callable[[], str | Awaitable[str]] | None
"""A token, or a function (sync or async) that returns a fresh one. A sync one must not block. None: no token."""


class Tokens:
    """Fetches tokens and keeps the last one. Its `repr` does not show it."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    @property
    def renewable(self) -> bool:
        """Whether asking again can give another token."""
        return callable(self._source)

    async def fetch(self) -> str | None:
        """Return a fresh token from the callable, or the fixed one."""
        if not callable(self._source):
            return self._source
        token = self._source()
        return await token if inspect.isawaitable(token) else token

    def replace(self, token: str) -> None:
        """Use this token from now on, where the source was a fixed one."""
        if not callable(self._source):
            self._source = token
