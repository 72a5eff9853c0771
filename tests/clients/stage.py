"""A stage for tests in another language: a real router, and what happens to it and its network, ordered over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web

import postroom_client.testing
from postroom_client import Custom
from postroom_client.testing import Postroom
from postroom_client.testing._line import Line, line

__all__ = ["stage"]


class _Stage:
    """Carries out the orders: `POST /NAME` with a JSON object calls the method of that name."""

    def __init__(self, postroom: Postroom, lines: AsyncExitStack) -> None:
        self._postroom = postroom
        self._stack = lines
        self._lines: list[Line] = []
        self._floods: set[asyncio.Task[None]] = set()

    async def handle(self, request: web.Request) -> web.Response:
        orders = {each.__name__: each for each in (self.token, self.line, self.cut, self.restart, self.flood)}
        try:
            return web.json_response(await orders[request.match_info["order"]](**await request.json()) or {})
        except Exception as error:
            return web.Response(status=500, text=f"{type(error).__name__}: {error}")

    async def token(self, user: str, role: str, ttl_s: float) -> dict[str, Any]:
        return {"token": self._postroom.token(user, role, ttl_s=ttl_s)}

    async def line(self) -> dict[str, Any]:
        """Lay a line to the router."""
        between = await self._stack.enter_async_context(line(self._postroom.process.port))
        self._lines.append(between)
        return {"url": between.url}

    async def cut(self) -> None:
        """Reset every connection."""
        for each in self._lines:
            each.cut()

    async def restart(self, hard: bool) -> None:
        """Stop the router, or kill it, and start it again on its journal."""
        await self._postroom.restart_router(hard=hard)

    async def flood(self, room: str, events: int, size: int) -> None:
        """Publish large events, while whoever ordered it goes on."""

        async def flood() -> None:
            async with self._postroom.service() as service:
                for number in range(events):
                    await service.ask(Custom(room, "app.count", {"number": number, "text": "x" * size}))

        self._floods.add(task := asyncio.create_task(flood()))
        task.add_done_callback(self._floods.discard)

    async def end(self) -> None:
        for task in self._floods:
            task.cancel()
        await asyncio.gather(*self._floods, return_exceptions=True)


@asynccontextmanager
async def stage(**settings: object) -> AsyncIterator[dict[str, str]]:
    """Set the stage; what a program has to know to use it is the environment that this yields.

    Args:
        settings: Those of the router.
    """
    async with (
        postroom_client.testing.router(**settings) as postroom,
        AsyncExitStack() as lines,
    ):
        orders = _Stage(postroom, lines)
        app = web.Application()
        app.router.add_post("/{order}", orders.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]
            yield {
                "STAGE": f"http://127.0.0.1:{port}",
                "API_URL": postroom.api_url,
                "ROUTER_LOG": str(postroom.process.log_path),
            }
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await orders.end()
            await runner.cleanup()
