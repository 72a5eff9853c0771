"""Event streams: a room as Server-Sent Events, for who cannot do WebSocket. A request in, an open response out.

The client is a Connection actor's like any other: same rights, policy and bounds, repaired under the open response.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

import msgspec
from aiohttp import web

from actors import commands
from actors.errors import CloseCode, ErrorCode, Refusal
from actors.identity import is_room_name
from actors.ledger import ConnectionState
from actors.messages import Authenticated, Request
from actors.replies import Notice
from server.auth import token_in_url
from server.closings import Closing
from server.origins import OriginPolicy
from server.protocols.sse import PROTOCOL, Opening, SseCodec, SseCodecs, position
from server.reception import Reception

from .calls import Asked, Call
from .heads import HeadTimer
from .stream_wire import StreamWire

__all__ = ["EventStreams", "StreamQuery"]

_LAST_EVENT_ID = "Last-Event-ID"
_MEDIA = "text/event-stream"
_PATIENCE_S = 5.0
"""How long the room may take to answer."""
_ABNORMAL = 1006
"""What WebSocket has for a connection that ended without a word (RFC 6455, 7.4.1)."""


class StreamQuery(msgspec.Struct, frozen=True):
    """Parameters of a stream."""

    last_event_id: str = ""
    """Where to go on, for clients that cannot set `Last-Event-ID`; the header counts where both are there."""
    history: Annotated[int, msgspec.Meta(ge=0, le=commands.MOST_HISTORY)] = 0
    """So many old events first, where the client does not say where to go on."""
    kinds: str = ""
    """Only events of these kinds, separated by commas; empty: all."""
    state: bool = True
    """Whether `subscribed` is to have the room's state."""


class _EventStream(web.StreamResponse):
    """A response without an end of its own: neither length nor chunks, it ends with the connection (RFC 9112, 6.3)."""

    _length_check = False  # the library's switch for it, which its WebSocketResponse uses


class EventStreams:
    """Streams rooms.

    Args:
        reception: Where clients go.
        origins: Which web pages may read answers.
        most: Streams that may be open at once.
        stall_s: Seconds after which a client that took not one byte is cut.
    """

    def __init__(self, reception: Reception, origins: OriginPolicy, *, most: int, stall_s: float) -> None:
        self._reception = reception
        self._origins = origins
        self._most = most
        self._stall_s = stall_s
        self._codecs = SseCodecs()
        self._open: set[StreamWire] = set()

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call(
                "GET",
                "/v1/rooms/{room}/stream",
                "Follow a room, as Server-Sent Events.",
                self._stream,
                roles=("user", "service", "admin"),
                query=StreamQuery,
                answer=str,
                media=_MEDIA,
                cookie=True,
                headers=(_LAST_EVENT_ID,),
                refusals=(ErrorCode.RATE_LIMITED, ErrorCode.BUSY, ErrorCode.JOURNAL_UNAVAILABLE),
            )
        ]

    def cut(self) -> None:
        """Drop the streams that are left."""
        for wire in list(self._open):
            wire.cut()

    async def _stream(self, asked: Asked[StreamQuery]) -> web.StreamResponse:
        command = _command(asked)
        request = asked.request
        if request.method == "HEAD":
            return self._response(request)
        if self._reception.draining:
            return await self._come_back(request)
        if len(self._open) >= self._most:
            raise Refusal(ErrorCode.BUSY, f"this router has its {self._most} streams; come back later")
        address = request.remote or ""
        refusal = self._reception.refuse(address)
        if refusal is not None:
            raise Refusal(ErrorCode.RATE_LIMITED, refusal)
        wire, state = self._client(request, command.room)
        self._open.add(wire)
        self._reception.begin(state, address)
        try:
            return await self._serve(asked, command, wire, state)
        finally:
            wire.leave()
            self._open.discard(wire)
            self._reception.end(state, _closing(state, wire), _counted_as(wire))

    def _client(self, request: web.Request, room: str) -> tuple[StreamWire, ConnectionState]:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client hung up")
        socket = transport.get_protocol()
        assert isinstance(socket, HeadTimer)
        id, mailbox = self._reception.name()
        answered: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        opening = Opening(self._codecs, partial(_answer, answered))
        wire = StreamWire(socket, transport, mailbox, opening, answered, stall_s=self._stall_s)
        return wire, self._reception.state(id, mailbox, wire, protocol=PROTOCOL, only_room=room)

    async def _serve(
        self, asked: Asked[StreamQuery], command: commands.Subscribe, wire: StreamWire, state: ConnectionState
    ) -> web.StreamResponse:
        request, caller = asked.request, asked.caller
        assert caller is not None
        state.client = request.headers.get("User-Agent", "")[:100]
        state.mailbox.tell(Authenticated(commands.Hello(), caller))
        state.mailbox.tell(Request(command))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                refusal = await wire.answered
        except TimeoutError:
            raise Refusal(ErrorCode.BUSY, f"{command.room} does not answer; ask again in a while") from None
        if wire.gone.done():
            raise ConnectionResetError("the client hung up")
        if refusal is not None:  # another one: this one would point to its own traceback, and outlive the request
            raise Refusal(refusal.code, refusal.message, retry_after_ms=refusal.retry_after_ms)
        opening = wire.codec
        assert isinstance(opening, Opening)
        assert opening.codec is not None
        state.speak(opening.codec)
        response = self._response(request)
        await response.prepare(request)
        self._reception.heartbeat.add(wire)
        try:
            wire.flow()
            await wire.gone
        finally:
            self._reception.heartbeat.remove(wire)
        return response

    async def _come_back(self, request: web.Request) -> web.StreamResponse:
        """Answer with a stream that ends at once: a browser comes back after one, and after an error it does not."""
        response = self._response(request)
        await response.prepare(request)
        await response.write(SseCodec("").encode(Notice(code="draining", reconnect_in_ms=0)))
        return response

    def _response(self, request: web.Request) -> _EventStream:
        headers = {
            "Content-Type": _MEDIA,
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx would keep events until there is a page of them
            "X-Content-Type-Options": "nosniff",
        }
        origin = request.headers.get("Origin")
        if origin is not None and self._origins.shares_with(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
            headers["Vary"] = "Origin"
        response = _EventStream(headers=headers)
        response.force_close()
        return response


def _command(asked: Asked[StreamQuery]) -> commands.Subscribe:
    """Return what the client wants."""
    request, query = asked.request, asked.query
    if token_in_url(request.query):
        message = "a token does not belong in the URL, where it ends up in logs: send a header or a cookie"
        raise Refusal(ErrorCode.BAD_MESSAGE, message)
    room = asked.part("room")
    if not is_room_name(room):
        raise Refusal(ErrorCode.BAD_MESSAGE, f"{room[:200]!r} is no room name, like session:42")
    given = request.headers.getall(_LAST_EVENT_ID, [])
    if len(given) > 1:
        raise Refusal(ErrorCode.BAD_MESSAGE, f"the {_LAST_EVENT_ID} header may be there once")
    try:
        return commands.Subscribe(
            id=1,
            room=room,
            after=position(given[0] if given else query.last_event_id),
            history=query.history,
            kinds=query.kinds.split(",") if query.kinds else None,
            state=query.state,
        )
    except ValueError as error:
        raise Refusal(ErrorCode.BAD_MESSAGE, str(error)) from None


def _answer(answered: asyncio.Future[Refusal | None], refusal: Refusal) -> None:
    if not answered.done():
        answered.set_result(refusal)


def _closing(state: ConnectionState, wire: StreamWire) -> Closing:
    code, by = _counted_as(wire)
    return Closing(
        connection=state.id,
        user=state.identity.user if state.identity is not None else None,
        code=int(code),
        by=by,
        stalled=wire.stalled or None,
        flooded=None,
        clean=not wire.cut_off,
    )


def _counted_as(wire: StreamWire) -> tuple[str, str]:
    """Return with which code a stream ended, and by whom; a client that hangs up leaves as is usual."""
    by_router = wire.close_code is not None or wire.cut_off or not wire.flows
    ended = _ABNORMAL if wire.cut_off else CloseCode.NORMAL
    code = ended if wire.close_code is None else wire.close_code
    return str(int(code)), "router" if by_router else "client"
