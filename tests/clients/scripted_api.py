"""An HTTP API that answers `POST /v1/publish` as a test says, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

BOUND_S = 5.0

Answer = Callable[[list[dict]], Awaitable[web.StreamResponse] | web.StreamResponse]


class ScriptedApi:
    """Answers each request with the next of `answers`; commits everything when there are none left.

    Attributes:
        requests: The events of every request, in order.
        tokens: The `Authorization` header of every request.
        committed: Event ids in the order of their commits, per room.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.requests: list[list[dict]] = []
        self.tokens: list[str | None] = []
        self.committed: dict[str, list[str]] = {}
        self.requested = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, request: web.Request) -> web.StreamResponse:
        events = await request.json()
        self.requests.append(events)
        self.tokens.append(request.headers.get("Authorization"))
        self.requested.set()
        await self.gate.wait()
        if self.answers:
            answer = self.answers.pop(0)(events)
            return await answer if isinstance(answer, Awaitable) else answer
        return self.commit_all(events)

    def commit(self, event: dict) -> dict:
        room = self.committed.setdefault(event["room"], [])
        duplicate = event["event_id"] in room
        if not duplicate:
            room.append(event["event_id"])
        return {
            "room": event["room"],
            "epoch": "e1",
            "offset": room.index(event["event_id"]) + 1,
            "event_id": event["event_id"],
            "duplicate": duplicate,
        }

    def commit_all(self, events: list[dict]) -> web.Response:
        return results([self.commit(event) for event in events])

    def commit_but(self, refused: Callable[[dict], bool], code: str, temporary: bool) -> Answer:
        """Return an answer that commits all events but some."""

        def answer(events: list[dict]) -> web.Response:
            return results([item_error(code, temporary) if refused(each) else self.commit(each) for each in events])

        return answer


def item_error(code: str, temporary: bool) -> dict:
    return {"error": {"code": code, "message": f"no: {code}", "temporary": temporary}}


def results(items: list[dict]) -> web.Response:
    return web.json_response({"results": items})


def problem(status: int, code: str, temporary: bool = False, **headers: str) -> Answer:
    """Return an answer that refuses the whole request."""
    body = {
        "type": "about:blank",
        "title": code,
        "status": status,
        "detail": f"no: {code}",
        "code": code,
        "temporary": temporary,
    }
    return lambda events: web.json_response(
        body, status=status, headers=headers, content_type="application/problem+json"
    )


async def cut(events: list[dict]) -> web.StreamResponse:
    """Answer nothing: the connection breaks, as when the router dies after the commit."""
    raise ConnectionResetError


@contextlib.asynccontextmanager
async def scripted_api(port: int = 0) -> AsyncIterator[ScriptedApi]:
    api = ScriptedApi()

    @web.middleware
    async def breaking(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]):
        try:
            return await handler(request)
        except ConnectionResetError:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

    app = web.Application(middlewares=[breaking], client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/publish", api.publish)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        api.gate.set()
        await runner.cleanup()


def in_threads(count: int, work: Callable[[int], None]) -> list[threading.Thread]:
    """Run a function in threads of their own."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads
