"""`POST /v1/publish`: a body in, its events to the source, receipts and refusals out; with bounds on what is held."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec
from aiohttp import web

from actors.answers import Answers
from actors.errors import ErrorCode, Refusal
from actors.future import LoopFuture
from actors.mailbox import Mailbox
from actors.messages import Publish, Receipt
from actors.pressure import Pressure
from actors.trace import valid_traceparent

from .answers import reject
from .bodies import BodyReader, PublishBody
from .calls import Asked, Call
from .cloudevents import BATCH, STRUCTURED, CloudEvent, CloudEventReader

__all__ = ["MOST_BYTES", "Failed", "Published", "Publishing", "Results"]

MOST_BYTES: Final = 8 * 1024 * 1024
"""Largest body."""
_MOST_BYTES_READ: Final = 64 * 1024 * 1024
_BODY_S = 10.0
_MOST_WAITING: Final = 512
_WAIT_S: Final = 1.0
_MOST_UNDER_WAY: Final = 20_000


class Published(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event in one room: its place, or `error`."""

    room: str | None = None
    epoch: str | None = None
    offset: int | None = None
    event_id: str | None = None
    duplicate: bool | None = None
    error: Failed | None = None


class Failed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an event was not taken."""

    code: ErrorCode
    message: str
    temporary: bool
    retry_after_ms: int | None = None


class Results(msgspec.Struct, frozen=True):
    """One for each event and room, in order."""

    results: list[Published]


_LATER = frozenset({ErrorCode.BUSY, ErrorCode.JOURNAL_UNAVAILABLE})
"""Where nothing at all was taken and the same body may be sent again."""


class Publishing:
    """Takes what services publish.

    Args:
        source: Where events go.
        message_bytes: Largest event.
        pressure: Says how much may be under way.
    """

    def __init__(self, source: Mailbox, message_bytes: int, pressure: Pressure) -> None:
        self._source = source
        self._pressure = pressure
        self._under_way = 0
        self._reading = 0
        self._waiting: dict[asyncio.Future[None], int] = {}
        """Requests that wait for their turn, in their order, with how many events they bring."""
        self._reader = BodyReader(message_bytes)
        self._cloud_events = CloudEventReader(message_bytes)

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call(
                "POST",
                "/v1/publish",
                "Publish one event, or up to 1,000.",
                self._publish,
                roles=("service", "admin"),
                body=PublishBody | list[PublishBody],
                other_bodies={STRUCTURED: CloudEvent, BATCH: list[CloudEvent]},
                answer=Results,
                refusals=(ErrorCode.INVALID_EVENT, ErrorCode.SESSION_ENDED, ErrorCode.TOO_LARGE, ErrorCode.BUSY),
                other_refusals=(408, 415),
            )
        ]

    async def _publish(self, asked: Asked[None]) -> Results:
        request = asked.request
        results: dict[int, list[Receipt | Refusal]] = {}
        events: list[tuple[int, PublishBody]] = []
        reader = self._reader_of(request)
        size = self._make_room(request)
        try:
            items, single = self._reader.items(await self._read(request))
            if reader is not self._reader and single is (request.content_type == BATCH):
                raise Refusal(
                    ErrorCode.BAD_MESSAGE, f"a body of {STRUCTURED} is one event, of {BATCH} an array of them"
                )
            for number, item in enumerate(items):
                try:
                    events.append((number, reader.event(item)))
                except Refusal as refusal:
                    results[number] = [refusal]
            targets = _targets(events)
            await self._admit(len(targets))
        finally:
            self._reading -= size
        for number, result in zip(
            (number for number, event in events for _ in event.all_rooms),
            await self._ask(targets, _trace_of(request)),
            strict=True,
        ):
            results.setdefault(number, []).append(result)
        flat = [result for number in range(len(items)) for result in results[number]]
        if single and len(flat) == 1 and isinstance(flat[0], Refusal):
            raise flat[0]
        refusals = [result for result in flat if isinstance(result, Refusal) and result.code in _LATER]
        if refusals and len(refusals) == len(flat):
            raise refusals[0]
        for result in flat:
            if isinstance(result, Refusal):
                reject(request, result.code)
        return Results([_result(result) for result in flat])

    def _reader_of(self, request: web.Request) -> BodyReader | CloudEventReader:
        """Return who reads a body of this type. What is no CloudEvent counts as JSON: `curl -d` says it is a form."""
        if request.content_type in (STRUCTURED, BATCH):
            return self._cloud_events
        if request.content_type.startswith("application/cloudevents") or "ce-specversion" in request.headers:
            reason = f"CloudEvents are taken as {STRUCTURED} or {BATCH}, with all attributes in the body"
            raise web.HTTPUnsupportedMediaType(reason=reason)
        return self._reader

    def _make_room(self, request: web.Request) -> int:
        """Count a body among those that are held, with its largest size; return that."""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise web.HTTPUnsupportedMediaType(reason="send the body as it is: content encodings are not taken")
        size = min(request.content_length or MOST_BYTES, MOST_BYTES)
        if self._reading + size > _MOST_BYTES_READ:
            raise Refusal(ErrorCode.BUSY, "too many bodies are being read; send this one again in a while")
        self._reading += size
        return size

    async def _read(self, request: web.Request) -> bytes:
        """Read a body, within a time."""
        try:
            async with asyncio.timeout(_BODY_S):
                return await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(reason=f"the body did not come within {_BODY_S:g} s") from None
        except web.HTTPRequestEntityTooLarge:
            message = f"the body is over {MOST_BYTES} bytes; send fewer events at once"
            raise Refusal(ErrorCode.TOO_LARGE, message) from None

    async def _admit(self, count: int) -> None:
        """Count events as under way as soon as there is room for them; wait for that, but not long.

        Who waits offers nothing meanwhile, which costs less than to refuse it over and over.
        """
        if not (self._full or self._waiting):
            self._under_way += count
            return
        if len(self._waiting) >= _MOST_WAITING:
            raise Refusal(ErrorCode.BUSY, "too many requests wait; send this one again in a while")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = count
        self._pressure.felt = True
        try:
            await asyncio.wait((turn,), timeout=_WAIT_S)
        except BaseException:
            if self._waiting.pop(turn, None) is None:
                self._settle(count)
            raise
        if self._waiting.pop(turn, None) is not None:
            raise Refusal(ErrorCode.BUSY, "more events come in than can be handled; send these again in a while")

    @property
    def _full(self) -> bool:
        return self._under_way >= self._pressure.half

    def _settle(self, count: int) -> None:
        """Count events as dealt with, and give those who wait their turns, first come first served."""
        self._under_way -= count
        self._pressure.felt = self._pressure.felt or bool(self._waiting)
        while self._waiting and not self._full:
            turn = next(iter(self._waiting))
            self._under_way += self._waiting.pop(turn)
            turn.set_result(None)

    async def _ask(
        self, targets: list[tuple[PublishBody, str]], traceparent: str | None
    ) -> tuple[Receipt | Refusal, ...]:
        """Publish in order what was admitted, wait for every commit. An event's own trace goes before the request's."""
        try:
            if not targets:
                return ()
            done: LoopFuture[tuple[Receipt | Refusal, ...]] = LoopFuture()
            answers = Answers(len(targets), done.set)
            now = time.monotonic()
            for place, (event, room) in enumerate(targets):
                self._source.tell(
                    Publish(
                        rooms=(room,),
                        kind=event.kind,
                        data=event.data,
                        event_id=event.event_id,
                        key=event.key,
                        delivery=event.delivery,
                        ack=event.ack,
                        traceparent=valid_traceparent(event.traceparent) or traceparent,
                        reply_to=answers,
                        tag=place,
                        at=now,
                    )
                )
            return await done
        finally:
            self._settle(len(targets))


def _trace_of(request: web.Request) -> str | None:
    """Return the trace that the whole request belongs to; two of them are none (W3C Trace Context, 3.2)."""
    named = request.headers.getall("traceparent", ())
    return named[0] if len(named) == 1 else None


def _targets(events: list[tuple[int, PublishBody]]) -> list[tuple[PublishBody, str]]:
    targets = [(event, room) for _, event in events for room in event.all_rooms]
    if len(targets) > _MOST_UNDER_WAY:
        raise Refusal(
            ErrorCode.TOO_LARGE,
            f"{len(targets)} events to publish, rooms counted; send up to {_MOST_UNDER_WAY} at once",
        )
    return targets


def _result(result: Receipt | Refusal) -> Published:
    if isinstance(result, Receipt):
        return Published(*result)
    code = result.code
    return Published(error=Failed(code, result.message, code.temporary, result.retry_after_ms))
