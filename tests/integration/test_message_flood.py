"""A user who sends ten times what is allowed, of what costs most: told to wait, and nobody else waits.

`POSTROOM_FULL=1` runs it for longer, and holds what others wait against what they waited before: a fifth more at most,
and what a machine that does other things too adds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from ..conftest import SECRET, RouterProcess
from ..native_client import NativeClient
from ..raw_client import PONG, TEXT, frame
from .at_size import FULL, cpu_s, report, size
from .services import HttpService, wait_until

pytestmark = pytest.mark.alone

COMMANDS_PER_S = 200
BURST = 400
TENFOLD = 10 * COMMANDS_PER_S
TURN_S = 0.05
KEPT = 600

FLOODS: dict[str, tuple[dict[str, Any], ...]] = {
    "ping": ({"type": "ping"},),
    "publish": ({"type": "publish", "room": "team:1", "kind": "app.step", "data": {"x": "y" * 200}},),
    "subscribe": (
        {"type": "subscribe", "room": "team:kept", "history": 300},
        {"type": "unsubscribe", "room": "team:kept"},
    ),
    "history": ({"type": "history", "room": "team:kept", "limit": 300},),
    "state": ({"type": "state", "room": "team:kept"},),
}


async def test_tenfold_floods_are_told_to_wait_and_the_others_go_on(
    start_router: Callable[..., RouterProcess], token: Callable[..., str]
) -> None:
    """Past the burst a `user` gets `rate_limited` for nine of ten, or is too slow for the answers; others go on."""
    seconds = size(1, 5)
    process = start_router(environment={"POSTROOM_SECRET": SECRET})
    rights = {"rooms": ("team:*",), "publish": ("team:*",)}
    kept = [{"room": "team:kept", "kind": "app.step", "data": {"n": n, "x": "y" * 300}} for n in range(KEPT)]
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token('job', 'service')}"}) as session:
        await HttpService(session, process.api_url).publish(*kept)
    async with NativeClient(process.ws_url, token("ann", **rights)) as other:
        await other.subscribe("team:ann")
        for flood, commands in FLOODS.items():
            before = await _round_trips(other, seconds if FULL else 0.2)
            used = cpu_s(process.pid)
            flooder = await Flooder.join(process.ws_url, token("eve", **rights))
            _, after = await asyncio.gather(flooder.flood(commands, seconds), _round_trips(other, seconds))
            core = (cpu_s(process.pid) - used) / seconds
            await flooder.settle()
            assert flooder.others <= BURST + COMMANDS_PER_S * (seconds + 3), flood
            assert flooder.rate_limited > flooder.sent * 0.5 or flooder.is_slow, flood
            if FULL:
                assert after[1] <= 1.2 * before[1] + 0.025, (flood, before, after)
            report(
                f"tenfold flood of {flood}:",
                sent=flooder.sent,
                rate_limited=flooder.rate_limited,
                closed_as_slow=flooder.is_slow,
                p50_ms=tuple(round(1000 * each[0], 2) for each in (before, after)),
                p99_ms=tuple(round(1000 * each[1], 2) for each in (before, after)),
                core=f"{core:.0%}",
            )
        await other.ask("ping")


class Flooder(asyncio.Protocol):
    """Sends ten times what is allowed, and reads what it costs least to read: how often it was told to wait."""

    def __init__(self) -> None:
        self.sent = self.rate_limited = self.others = 0
        self.is_slow = False
        self._rest = b""
        self._lost = asyncio.get_running_loop().create_future()

    @classmethod
    async def join(cls, url: str, token: str) -> Flooder:
        """Connect and say hello."""
        host, port = urlsplit(url).hostname, urlsplit(url).port
        _, flooder = await asyncio.get_running_loop().create_connection(cls, host, port)
        flooder._transport.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        flooder._transport.write(frame(TEXT, json.dumps({"type": "hello", "token": token}).encode()))
        return flooder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count; every answer to a flood carries its id, and an event's data does not."""
        if b"\x89" in data:
            self._transport.write(frame(PONG))
        data = self._rest + data
        end = max(data.rfind(b'"id":77') + 7, len(data) - 100)
        self._rest = data[end:]
        data = data[:end]
        self.rate_limited += data.count(b'"code":"rate_limited"')
        self.others += data.count(b'"id":77') - data.count(b'"code":"rate_limited"')
        self.is_slow = self.is_slow or b"slow_consumer" in data + self._rest

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._lost.set_result(None)

    async def flood(self, commands: tuple[dict[str, Any], ...], seconds: float) -> None:
        """Send, at ten times the rate."""
        frames = [frame(TEXT, json.dumps({**command, "id": 77}).encode()) for command in commands]
        one_turn = int(TENFOLD * TURN_S) // len(frames)
        began = time.monotonic()
        for turn in range(round(seconds / TURN_S)):
            if self._lost.done():
                return
            self._transport.write(b"".join(frames * one_turn))
            self.sent += one_turn * len(frames)
            await asyncio.sleep(max(0.0, began + (turn + 1) * TURN_S - time.monotonic()))

    async def settle(self) -> None:
        """Wait for the last answer, and hang up."""
        await wait_until(
            lambda: self._lost.done() or self.rate_limited + self.others >= self.sent, "every command is answered"
        )
        self._transport.abort()


async def _round_trips(client: NativeClient, seconds: float) -> tuple[float, float]:
    """Publish and get the event, a hundred times a second; return the median and the 99th of a hundred, in seconds."""
    trips = []
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        start = time.monotonic()
        await client.send("publish", room="team:ann", kind="app.step", data={})
        await client.next("event")
        trips.append(time.monotonic() - start)
        await asyncio.sleep(max(0.0, 0.01 - trips[-1]))
    trips.sort()
    return trips[len(trips) // 2], trips[len(trips) * 99 // 100]
