"""One room, and a client of every protocol in it, each somebody else's but for the native ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import centrifuge
import pytest
import socketio

from postroom_client import Backoff, Custom, Service, connect
from postroom_client.testing import RouterProcess

from ..native_client import WAIT_S
from ..node import running_node

ROOM = "doc:one"
KIND = "doc.saved"
QUICK = Backoff(floor_s=0.005, cap_s=0.1)
WHOLE_S = 40.0


class Heard:
    """What each follower got, in its order, and how it came into the room each time."""

    def __init__(self) -> None:
        self.ids: dict[str, list[str]] = defaultdict(list)
        self.joined: dict[str, list[str]] = defaultdict(list)
        self._changed = asyncio.Event()

    def event(self, by: str, id: str) -> None:
        self.ids[by].append(id)
        self._changed.set()

    def join(self, by: str, recovery: str) -> None:
        self.joined[by].append(recovery)
        self._changed.set()

    async def until(self, what: str, count: int, followers: tuple[str, ...]) -> None:
        """Wait until each of them has `ids` or has `joined` so often."""
        try:
            async with asyncio.timeout(WHOLE_S):
                while any(len(getattr(self, what)[by]) < count for by in followers):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            counts = {by: (len(self.ids[by]), self.joined[by]) for by in followers}
            raise AssertionError(f"not everybody has {count} {what}: {counts}") from None


@asynccontextmanager
async def native(router: RouterProcess, heard: Heard) -> AsyncIterator[None]:
    """Follow with Postroom's own client for Python."""
    async with connect(router.url, backoff=QUICK, command_timeout_s=WAIT_S) as client:
        session = await client.subscribe(ROOM)
        heard.join("native", session.recovery)

        async def follow() -> None:
            async for event in session:
                heard.event("native", event.id)

        task = asyncio.create_task(follow())
        try:
            yield
        finally:
            heard.join("native", session.recovery)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def centrifuge_python(router: RouterProcess, heard: Heard) -> AsyncIterator[None]:
    """Follow with Centrifugo's client for Python."""

    class Events(centrifuge.SubscriptionEventHandler):
        async def on_subscribed(self, ctx: Any) -> None:
            recovery = "full" if ctx.recovered else "lost"
            heard.join("centrifuge-python", recovery if ctx.was_recovering else "fresh")

        async def on_publication(self, ctx: Any) -> None:
            heard.event("centrifuge-python", ctx.pub.data["id"])

    client = centrifuge.Client(
        f"ws://127.0.0.1:{router.port}/connection/websocket", min_reconnect_delay=0.02, max_reconnect_delay=0.2
    )
    subscription = client.new_subscription(ROOM, events=Events(), min_resubscribe_delay=0.02, max_resubscribe_delay=0.2)
    await subscription.subscribe()
    await client.connect()
    try:
        yield
    finally:
        await client.disconnect()


@asynccontextmanager
async def socketio_python(router: RouterProcess, heard: Heard) -> AsyncIterator[None]:
    """Follow with python-socketio's client."""
    client = socketio.AsyncClient(reconnection_delay=0.02, reconnection_delay_max=0.2, handle_sigint=False)
    auth: dict[str, Any] = {}

    # Plain functions: what is awaited goes on when the events behind it have been handled.
    def welcome(answer: dict[str, Any]) -> None:
        if ROOM in answer["rooms"]:
            heard.join("socketio-python", answer["rooms"][ROOM]["recovery"])

    def joined(answer: dict[str, Any]) -> None:
        auth["resume"] = {ROOM: {"epoch": answer["epoch"], "offset": answer["offset"]}}
        heard.join("socketio-python", answer["recovery"])

    def saved(event: dict[str, Any]) -> None:
        auth["resume"][ROOM]["offset"] = event["offset"]
        heard.event("socketio-python", event["id"])

    client.on("welcome", welcome)
    client.on(KIND, saved)
    await client.connect(f"http://127.0.0.1:{router.port}", transports=["websocket"], auth=lambda: auth)
    await client.emit("subscribe", ROOM, callback=joined)
    try:
        yield
    finally:
        await client.disconnect()


@asynccontextmanager
async def javascript(router: RouterProcess, heard: Heard) -> AsyncIterator[None]:
    """Follow with the official clients for JavaScript, and with Postroom's own."""
    async with running_node("three_doors.js", f"ws://127.0.0.1:{router.port}", ROOM) as script:

        async def follow() -> None:
            while True:
                message = await script.next()
                if message["what"] == "event":
                    heard.event(message["by"], message["id"])
                else:
                    heard.join(message["by"], message["recovery"])

        task = asyncio.create_task(follow())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


FOLLOWERS = ("native", "native-js", "centrifuge-python", "centrifuge-js", "socketio-python", "socketio-js")


@pytest.mark.usefixtures("node_modules")
async def test_everyone_sees_the_same_events_in_the_same_order_through_a_restart(tmp_path: Path) -> None:
    """The router is killed amid the events; each follower comes back by itself, resumes in full, and misses nothing."""
    heard = Heard()
    with RouterProcess(tmp_path, settings={"dev": True}) as router:
        async with AsyncExitStack() as stack:
            for follower in (native, centrifuge_python, socketio_python, javascript):
                await stack.enter_async_context(follower(router, heard))
            await heard.until("joined", 1, FOLLOWERS)
            async with Service(router.api_url, backoff=QUICK) as service:
                for number in range(300):
                    service.tell(Custom(ROOM, KIND, {"n": number}))
                await heard.until("ids", 100, FOLLOWERS)
                await asyncio.to_thread(router.kill)
                for number in range(300, 400):
                    service.tell(Custom(ROOM, KIND, {"n": number}))
                await asyncio.to_thread(router.start)
                await heard.until("ids", 400, FOLLOWERS)
            order = await history(router)
    assert len(order) == 400
    for by in FOLLOWERS:
        assert heard.ids[by] == order, f"{by} saw something else"
        assert heard.joined[by] == ["fresh", "full"], by


async def history(router: RouterProcess) -> list[str]:
    """Return the ids of the room's events, in its order."""
    ids: list[str] = []
    after = 0
    url = f"{router.api_url}/v1/rooms/{ROOM}/history"
    async with aiohttp.ClientSession() as session:
        more = True
        while more:
            async with session.get(url, params={"after": after, "limit": 300}) as response:
                page = await response.json()
            ids += [event["id"] for event in page["events"]]
            after, more = page["events"][-1]["offset"], page["more"]
    return ids
