"""The HTTP API, for services and operators: requests in, messages to the source, receipts and problem documents out."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from actors.errors import ErrorCode, Refusal
from actors.future import LoopFuture
from actors.identity import Identity
from actors.mailbox import Mailbox
from actors.messages import Publish, Receipt
from actors.pressure import Pressure
from actors.source import Answers

from . import __version__
from .auth import Authenticator, bearer
from .bodies import BodyReader, PublishBody
from .http_log import RequestLog
from .origins import OriginPolicy
from .turned_away import TurnedAway

__all__ = ["Api", "Handler", "Readiness"]

log = structlog.get_logger("postroom.http")

_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_BYTES_READ: Final = 64 * 1024 * 1024
_BODY_S = 10.0
_MOST_WAITING: Final = 512
_WAIT_S: Final = 1.0
_MOST_UNDER_WAY: Final = 20_000
_RETRY_S = 1
_STATUS = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.TOKEN_EXPIRED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.SESSION_ENDED: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.INVALID_EVENT: 422,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL: 500,
    ErrorCode.BUSY: 503,
    ErrorCode.JOURNAL_UNAVAILABLE: 503,
}
_LATER = frozenset({ErrorCode.BUSY, ErrorCode.JOURNAL_UNAVAILABLE})
"""Where nothing at all was taken and the same body may be sent again."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Readiness(msgspec.Struct, frozen=True):
    """What `/readyz` answers."""

    ready: bool
    reason: str | None
    connections: int
    rooms: int
    journal: str


class Api:
    """The HTTP API.

    Args:
        source: Where events go.
        authenticator: Who knows whether a token is good.
        anonymous: Who a caller without a token is; None: it is turned away.
        origins: Which web pages may call.
        message_bytes: Largest event.
        pressure: Says how much may be under way.
        most_connections: Sockets that may be open at once.
        readiness: Tells how things are.
    """

    def __init__(
        self,
        *,
        source: Mailbox,
        authenticator: Authenticator,
        anonymous: Identity | None,
        origins: OriginPolicy,
        message_bytes: int,
        pressure: Pressure,
        most_connections: int,
        readiness: Callable[[], Readiness],
    ) -> None:
        self._source = source
        self._authenticator = authenticator
        self._anonymous = anonymous
        self._origins = origins
        self._pressure = pressure
        self._most_connections = most_connections
        self._readiness = readiness
        self._under_way = 0
        self._reading = 0
        self._waiting: dict[asyncio.Future[None], int] = {}
        """Requests that wait for their turn, in their order, with how many events they bring."""
        self._started = time.monotonic()
        self._reader = BodyReader(message_bytes)
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: The address cannot be listened on.
        """
        app = web.Application(client_max_size=_MOST_BYTES, middlewares=[_problems])
        app.router.add_post("/v1/publish", self._publish)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=2.0,
            logger=RequestLog(),
            auto_decompress=False,  # none is taken, and the library answers what it cannot unpack in its own way
        )
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(self._protocol, host, port, reuse_address=True)
        return int(self._server.sockets[0].getsockname()[1])

    def _protocol(self) -> asyncio.Protocol:
        """Serve another socket, or turn it away."""
        assert self._runner is not None
        assert self._runner.server is not None
        return TurnedAway() if len(self._runner.server.connections) >= self._most_connections else self._runner.server()

    async def stop(self) -> None:
        """Stop listening, after the requests that are under way."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _json(200, {"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        readiness = self._readiness()
        body = msgspec.to_builtins(readiness) | {
            "uptime_s": round(time.monotonic() - self._started, 3),
            "version": __version__,
        }
        return _json(200 if readiness.ready else 503, body)

    async def _publish(self, request: web.Request) -> web.Response:
        await self._authorize(request)
        results: dict[int, list[Receipt | Refusal]] = {}
        events: list[tuple[int, PublishBody]] = []
        size = self._make_room(request)
        try:
            items, single = self._reader.items(await self._read(request))
            for number, item in enumerate(items):
                try:
                    events.append((number, self._reader.event(item)))
                except Refusal as refusal:
                    results[number] = [refusal]
            targets = _targets(events)
            await self._admit(len(targets))
        finally:
            self._reading -= size
        for number, result in zip(
            (number for number, event in events for _ in event.all_rooms), await self._ask(targets), strict=True
        ):
            results.setdefault(number, []).append(result)
        flat = [result for number in range(len(items)) for result in results[number]]
        if single and len(flat) == 1 and isinstance(flat[0], Refusal):
            raise flat[0]
        refusals = [result for result in flat if isinstance(result, Refusal) and result.code in _LATER]
        if refusals and len(refusals) == len(flat):
            raise refusals[0]
        return _json(200, {"results": [_result(result) for result in flat]})

    def _make_room(self, request: web.Request) -> int:
        """Count a body among those that are held, with its largest size; return that."""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise web.HTTPUnsupportedMediaType(reason="send the body as it is: content encodings are not taken")
        size = min(request.content_length or _MOST_BYTES, _MOST_BYTES)
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
            message = f"the body is over {_MOST_BYTES} bytes; send fewer events at once"
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

    async def _authorize(self, request: web.Request) -> None:
        """Let services and operators in (docs/reference/http.md): either role may publish here, to every room."""
        refusal = self._origins.refuse(request.headers.get("Origin"), request.headers.get("Host", ""))
        if refusal is not None:
            raise Refusal(ErrorCode.FORBIDDEN, refusal)
        if len(request.headers.getall("Authorization", ())) > 1:
            raise Refusal(ErrorCode.BAD_MESSAGE, "the Authorization header may be there once")
        token = bearer(request.headers.get("Authorization"))
        if token is None:
            if self._anonymous is not None:
                return
            raise Refusal(
                ErrorCode.UNAUTHENTICATED,
                "send `Authorization: Bearer TOKEN`; `postroom token --role service` makes one",
            )
        identity = await self._authenticator.identify(token)
        if not identity.trusted:
            raise Refusal(ErrorCode.FORBIDDEN, f"role {identity.role} may not use this API; it takes service or admin")

    async def _ask(self, targets: list[tuple[PublishBody, str]]) -> tuple[Receipt | Refusal, ...]:
        """Publish in order what was admitted, wait for every commit."""
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
                        reply_to=answers,
                        tag=place,
                        at=now,
                    )
                )
            return await done
        finally:
            self._settle(len(targets))


def _targets(events: list[tuple[int, PublishBody]]) -> list[tuple[PublishBody, str]]:
    targets = [(event, room) for _, event in events for room in event.all_rooms]
    if len(targets) > _MOST_UNDER_WAY:
        raise Refusal(
            ErrorCode.TOO_LARGE,
            f"{len(targets)} events to publish, rooms counted; send up to {_MOST_UNDER_WAY} at once",
        )
    return targets


def _result(result: Receipt | Refusal) -> dict[str, Any]:
    if isinstance(result, Receipt):
        return result._asdict()
    error: dict[str, Any] = {
        "code": result.code,
        "message": result.message,
        "temporary": result.code.temporary,
    }
    if result.retry_after_ms is not None:
        error["retry_after_ms"] = result.retry_after_ms
    return {"error": error}


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as `application/problem+json` (RFC 9457)."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _problem(_STATUS.get(refusal.code, 400), refusal.code, refusal.message, refusal.retry_after_ms)
    except web.HTTPNotFound:
        return _problem(404, ErrorCode.NOT_FOUND, f"there is no {request.path}")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"there is no {error.method} {request.path}; it takes {allowed}"
        response = _problem(405, ErrorCode.NOT_FOUND, detail)
        response.headers["Allow"] = allowed
        return response
    except ConnectionError:  # nobody is left to read this
        return _problem(400, ErrorCode.BAD_MESSAGE, "the client hung up")
    except web.HTTPException as error:
        return _problem(error.status, ErrorCode.BAD_MESSAGE, error.reason)
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        return _problem(500, ErrorCode.INTERNAL, "the router failed while it handled this; its log says more")


def _problem(status: int, code: ErrorCode, detail: str, retry_after_ms: int | None = None) -> web.Response:
    body = {
        "type": f"urn:postroom:error:{code}",
        "title": str(code).replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
        "temporary": code.temporary,
    }
    response = _json(status, body, "application/problem+json")
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        response.headers["Retry-After"] = str(_RETRY_S if retry_after_ms is None else math.ceil(retry_after_ms / 1000))
    return response


def _json(status: int, body: object, content_type: str = "application/json") -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=content_type)
