"""Frames made wrong by chance at a live router: the same process goes on, nothing in it fails, nothing is left.

`POSTROOM_FULL=1` sends a million of them. A seed that finds something goes into `SEEDS`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from postroom_client.testing._control import Control

from ..conftest import RouterProcess
from ..native_client import WAIT_S, NativeClient
from ..raw_client import TEXT, RawClient, frame
from .at_size import MIB, log_of, report, rss, size
from .mutation import mutated_frames
from .services import in_chain

SEEDS = (1,)
A_CONNECTION = 12
"""Frames of one connection: ten bad messages end it."""
AT_ONCE = 8


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_frame_brings_the_router_down(
    start_router: Callable[..., RouterProcess], tmp_path: Path, seed: int
) -> None:
    """A bystander's stream goes on in order; no actor fails, no line is an error, no socket or task stays."""
    count = size(6_000, 1_000_000)
    path = str(tmp_path / "control")
    plugin = ("--plugin", "tests.integration.router_plugins:control")
    process = start_router("--dev", *plugin, environment={"CONTROL_SOCKET": path, "POSTROOM_ROOM_IDLE_S": "0.5"})
    inside = Control(path)
    chance = random.Random(seed)
    outcomes: Counter[int | None] = Counter()
    sent = 0

    async def strike() -> None:
        nonlocal sent
        while sent < count:
            sent += A_CONNECTION
            outcomes[await _strike(process.ws_url, mutated_frames(chance, A_CONNECTION))] += 1

    async with NativeClient(process.ws_url) as bystander:
        await bystander.subscribe("bystander:1")
        before = await inside.do("counts")
        memory, began = rss(process.pid), time.monotonic()
        striking = [asyncio.create_task(strike()) for _ in range(AT_ONCE)]
        position = 0
        while not all(each.done() for each in striking):
            await bystander.send("publish", room="bystander:1", kind="a.b", data={})
            position = in_chain(await bystander.events(1, "bystander:1"), position)
            await asyncio.wait(striking, timeout=0.05)
        await asyncio.gather(*striking)
        took = time.monotonic() - began
        async with asyncio.timeout(3 * WAIT_S):
            while _left(await inside.do("counts")) != _left(before):
                pass
        grown = rss(process.pid) - memory
    lines = log_of(process)
    assert [line for line in lines if line["level"] in ("error", "critical", "warning")] == []
    assert "Traceback" not in process.log
    assert grown < size(48, 200) * MIB, f"{grown / MIB:.1f} MiB"
    assert outcomes.total() == -(-count // A_CONNECTION)
    report(
        "mutated frames:",
        sent=sent,
        seed=seed,
        seconds=round(took, 1),
        closes=dict(outcomes.most_common()),
        rss_grown_mib=round(grown / MIB, 1),
    )


def _left(counts: dict[str, int]) -> dict[str, int]:
    """Return what has to be as it was before: rooms are kept open for a while by what was published to them."""
    return {name: counts[name] for name in ("connections", "subscriptions", "states", "tasks", "descriptors")}


async def _strike(url: str, frames: bytes) -> int | None:
    """Send it all in one piece and hang up; return the code that the router closed with, None: it just went."""
    async with RawClient(url) as client:
        assert (await client.upgrade())[0] == 101
        await client.send(frame(TEXT, b'{"type": "hello"}') + frames)
        client.half_close()
        answer = await client.ended()  # nothing, where it was reset with frames that nobody read any more
    at = answer.rfind(b"\x88")
    is_close = at >= 0 and len(answer) == at + 2 + answer[at + 1]
    return int.from_bytes(answer[at + 2 : at + 4], "big") if is_close else None
