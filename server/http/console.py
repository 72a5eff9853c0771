"""The console's files: package data in, `GET /` and what the page asks for after that out.

The page is an application of its own (`server/console/`): it calls the HTTP API and connects to the WebSocket port.
What it may load and where it may connect to stands in its Content-Security-Policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from aiohttp import web

from actors.errors import ErrorCode, Refusal

from .calls import Asked, Call
from .files import answer, read_files

__all__ = ["Console"]

_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?=:[0-9]{1,5}\Z|\Z)")
"""What may stand in a policy: whatever else a `Host` header holds does not get there."""


class Console:
    """Serves the console.

    Args:
        ws_port: Tells where WebSocket clients connect to.
    """

    def __init__(self, ws_port: Callable[[], int]) -> None:
        self._ws_port = ws_port
        self._files = read_files("console")

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call("GET", "/", "The operator's console.", self._page, roles=()),
            Call(
                "GET",
                "/console/{file}",
                "A file of the console.",
                self._file,
                roles=(),
                refusals=(ErrorCode.NOT_FOUND,),
            ),
        ]

    async def _page(self, asked: Asked[None]) -> web.Response:
        return self._answer(asked.request, "index.html")

    async def _file(self, asked: Asked[None]) -> web.Response:
        return self._answer(asked.request, asked.part("file"))

    def _answer(self, request: web.Request, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise Refusal(ErrorCode.NOT_FOUND, f"the console has no file {name[:80]!r}")
        headers = {
            "Content-Security-Policy": _policy(request.headers.get("Host", ""), self._ws_port()),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }
        return answer(request, file, headers)


def _policy(host: str, ws_port: int) -> str:
    """Return what the page may do: load its own files, call its own API, connect to its own host's WebSocket port."""
    found = _HOST.match(host)
    name = "" if found is None else "*" if found[0].startswith("[") else found[0]  # a policy has no IPv6 addresses
    # By http its client asks why the router refused it a WebSocket.
    schemes = ("ws", "wss", "http", "https") if name else ()
    sockets = "".join(f" {scheme}://{name}:{ws_port}" for scheme in schemes)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
