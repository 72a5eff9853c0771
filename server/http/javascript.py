"""The JavaScript client as a file of this router, for pages of every origin to import.

One file of the repository, `clients/javascript/postroom.js`; `server/clients/` leads to it, and the wheel has it there.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from .calls import Asked, Call
from .files import answer, read_files

__all__ = ["JavaScriptClient"]

_FOR_EVERY_PAGE: Final = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}


class JavaScriptClient:
    """Serves the client and its types. They are the same for everybody, and nobody needs a token."""

    def __init__(self) -> None:
        self._files = read_files("clients")

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call("GET", "/postroom.js", "The JavaScript client, a module.", self._module, roles=()),
            Call("GET", "/postroom.d.ts", "The types of the JavaScript client.", self._types, roles=()),
        ]

    async def _module(self, asked: Asked[None]) -> web.Response:
        return answer(asked.request, self._files["postroom.js"], _FOR_EVERY_PAGE)

    async def _types(self, asked: Asked[None]) -> web.Response:
        return answer(asked.request, self._files["postroom.d.ts"], _FOR_EVERY_PAGE)
