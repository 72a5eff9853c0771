"""What a client may open: one HTTP request in, nothing or a refusal that says what to do out."""

from __future__ import annotations

import http
import json
from collections.abc import Callable, Collection, Sequence
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from actors.errors import Refusal

from .auth import bearer, token_in_url
from .origins import OriginPolicy
from .protocols.door import Door
from .wire import GuardedConnection

__all__ = ["Gate", "select_subprotocol"]

_SUBPROTOCOL = "Sec-WebSocket-Protocol"


def select_subprotocol(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose the first one that the connection's door knows; a client need not offer any."""
    assert isinstance(connection, GuardedConnection)
    door = connection.door
    return next((each for each in offered if door is not None and each in door.subprotocols), None)


class Gate:
    """Looks at each opening handshake, and finds the door that it is for.

    Args:
        doors: The protocols that are spoken here.
        compressed: The names of those that may compress.
        origins: Which pages may connect.
        draining: Tells whether the router takes no new connections.
    """

    def __init__(
        self,
        doors: Sequence[Door],
        compressed: Collection[str],
        origins: OriginPolicy,
        draining: Callable[[], bool],
    ) -> None:
        self._doors = {door.path: door for door in doors}
        self._paths = ", ".join(self._doors)
        self._compressed = compressed
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
        door = self._doors.get(url.path) or self._doors.get(f"{url.path}/")
        if door is None:
            text = (
                f"There is nothing here. WebSocket clients connect to {self._paths}. The console and the HTTP API have "
                "a port of their own, 8001 unless set otherwise."
            )
            return _text(http.HTTPStatus.NOT_FOUND, text)
        if self._draining():
            return _text(http.HTTPStatus.SERVICE_UNAVAILABLE, "This router is stopping; connect again.", retry_s=1)
        query = parse_qs(url.query, keep_blank_values=True)
        if token_in_url(query):
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
        if refusal is not None:
            response = _text(http.HTTPStatus.FORBIDDEN, refusal)
            # Browsers do not tell a page why its WebSocket failed. This much it may ask for: `refusal` in postroom.js.
            response.headers["Access-Control-Allow-Origin"] = "*"
            return response
        offered = ",".join(request.headers.get_all(_SUBPROTOCOL))
        turned_away = door.refuse(query, [each.strip() for each in offered.split(",") if each.strip()])
        if turned_away is not None:
            status, text, content_type = turned_away
            response = _response(http.HTTPStatus(status), content_type, f"{text}\n", None)
            origin = request.headers.get("Origin")
            if origin is not None:  # one that may connect: its page may read why this failed
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Vary"] = "Origin"
            return response
        if not offered.strip() and _SUBPROTOCOL in request.headers:
            del request.headers[_SUBPROTOCOL]  # some clients send an empty one, which the library takes for malformed
        assert isinstance(connection, GuardedConnection)
        connection.door = door
        if door.name not in self._compressed:
            connection.protocol.available_extensions = None
        return None


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
