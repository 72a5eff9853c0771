"""What a client may open: one HTTP request in, nothing or a refusal that says what to do out."""

from __future__ import annotations

import http
import json
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from actors.errors import Refusal

from .auth import bearer
from .origins import OriginPolicy
from .protocols.native import SUBPROTOCOL

__all__ = ["PATH", "Gate", "select_subprotocol"]

PATH = "/v1/ws"


def select_subprotocol(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose `postroom.v1` where it was offered; a client need not offer one."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


class Gate:
    """Looks at each opening handshake.

    Args:
        origins: Which pages may connect.
        draining: Tells whether the router takes no new connections.
    """

    def __init__(self, origins: OriginPolicy, draining: Callable[[], bool]) -> None:
        self._origins = origins
        self._draining = draining

    def __call__(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return a response instead of a WebSocket, or None to go on (the library's `process_request`)."""
        try:
            url = urlsplit(request.path)
        except ValueError as error:
            return _text(http.HTTPStatus.BAD_REQUEST, f"The path is not one: {error}.")
        if url.path == "/healthz":
            return _json(http.HTTPStatus.OK, {"status": "ok"})
        if url.path != PATH:
            return _text(http.HTTPStatus.NOT_FOUND, f"There is nothing here. WebSocket clients connect to {PATH}.")
        if self._draining():
            return _text(http.HTTPStatus.SERVICE_UNAVAILABLE, "This router is stopping; connect again.", retry_s=1)
        if {"token", "access_token"} & parse_qs(url.query).keys():
            return _text(
                http.HTTPStatus.BAD_REQUEST,
                "A token does not belong in the URL, where it ends up in logs: send it in `hello`, "
                "or as `Authorization: Bearer`.",
            )
        try:
            bearer(request.headers.get("Authorization"))
            refusal = self._origins.refuse(request.headers.get("Origin"), request.headers.get("Host", ""))
        except Refusal as error:
            return _text(http.HTTPStatus.UNAUTHORIZED, error.message)
        except MultipleValuesError as error:
            return _text(http.HTTPStatus.BAD_REQUEST, f"The {error} header may be there once.")
        return None if refusal is None else _text(http.HTTPStatus.FORBIDDEN, refusal)


def _text(status: http.HTTPStatus, text: str, *, retry_s: int | None = None) -> Response:
    return _response(status, "text/plain; charset=utf-8", f"{text}\n", retry_s)


def _json(status: http.HTTPStatus, body: object) -> Response:
    return _response(status, "application/json", json.dumps(body), None)


def _response(status: http.HTTPStatus, content_type: str, text: str, retry_s: int | None) -> Response:
    body = text.encode()
    headers = Headers({"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"})
    if retry_s is not None:
        headers["Retry-After"] = str(retry_s)
    return Response(status.value, status.phrase, headers, body)
