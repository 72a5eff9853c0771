"""How fast a killed router serves again: `python -m tests.torture.restart --events 100000`.

Out: for each of several kills how long it took until the router answered, and until a client had what it missed in one
room. Exit code 0: every event was there; 1: one was not.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from websockets.asyncio.client import connect

from .plan import Tally
from .router import RouterProcess

__all__ = ["main"]

_AT_ONCE = 500
_KILLS = 5


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.restart", description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000, help="in the journal (default 100000)")
    parser.add_argument("--rooms", type=int, default=1000, help="over which they are spread (default 1000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="postroom-restart-") as folder:
        return asyncio.run(_measure(Path(folder), options.events, options.rooms))


async def _measure(folder: Path, events: int, rooms: int) -> int:
    router = RouterProcess(folder, str(folder / "journal.db"), Tally())
    await router.start()
    try:
        await _fill(router, events, rooms)
        size = (folder / "journal.db").stat().st_size
        print(f"{events:,} events in {rooms:,} rooms, a journal of {size / 2**20:.0f} MiB")
        served, recovered = [], []
        for kill in range(_KILLS):
            await router.kill()
            began = time.monotonic()
            await router.start()
            served.append(time.monotonic() - began)
            expected = len(range(kill, events, rooms))
            found = await _resume(router, f"restart:{kill}", expected)
            recovered.append(time.monotonic() - began)
            if found != list(range(1, expected + 1)):
                print(f"restart:{kill} came back with {found} instead of {expected} events")
                return 1
        for what, times in (("answers again", served), ("a client has what it missed", recovered)):
            print(f"{what:<28} median {statistics.median(times):.2f} s, slowest of {_KILLS} {max(times):.2f} s")
    finally:
        await router.stop()
    return 0


async def _fill(router: RouterProcess, events: int, rooms: int) -> None:
    async with aiohttp.ClientSession() as session:
        for first in range(0, events, _AT_ONCE):
            some = [
                {"room": f"restart:{n % rooms}", "kind": "app.step", "data": {"n": n, "text": "x" * 100}}
                for n in range(first, min(first + _AT_ONCE, events))
            ]
            async with session.post(f"{router.api_url}/v1/publish", data=msgspec.json.encode(some)) as response:
                answer = await response.json()
                assert response.status == 200, answer
                assert not any("error" in result for result in answer["results"]), answer


async def _resume(router: RouterProcess, room: str, count: int) -> list[int]:
    """Return the offsets of the events that a client gets which has none of the room's."""
    async with connect(router.url, proxy=None, compression=None) as connection:

        async def ask(**message: Any) -> Any:
            await connection.send(msgspec.json.encode(message).decode())
            return msgspec.json.decode(await connection.recv())

        await ask(type="hello")
        epoch = (await ask(type="state", id=1, room=room))["epoch"]
        answer = await ask(type="subscribe", id=2, room=room, after={"epoch": epoch, "offset": 0})
        if answer["recovery"] != "full" or answer["replay"] != count:
            return []
        return [msgspec.json.decode(await connection.recv())["offset"] for _ in range(count)]


if __name__ == "__main__":
    sys.exit(main())
