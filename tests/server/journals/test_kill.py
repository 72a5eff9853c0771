"""`kill -9` at any moment: every event that was told to be committed is there afterwards, at its place."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.events import Event

from .keeping import ROOM, keeper

WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from actors.messages import Append, Committed
from server import logs
from server.clock import SystemClock
from server.journals.sqlite import SqliteLog
from tests.actors.making import a_draft

class Teller:
    def tell(self, message):
        assert isinstance(message, Committed), message
        sys.stdout.write(f"{message.event.offset} {message.event.draft.id}\\n")
        sys.stdout.flush()

async def main(path):
    log = SqliteLog(Path(path), clock=SystemClock(asyncio.get_running_loop()))
    await log.start(lambda name, mailbox, start: start(mailbox))
    ready = asyncio.get_running_loop().create_future()
    log.open("team:1", ready.set_result)
    begin = (await ready).top
    teller = Teller()
    for number in itertools.count(begin):
        for each in range(3):
            log.append("team:1", Append(a_draft(event_id=f"{number}-{each}"), True, teller, None), teller)
        if number % 7 == 0:
            log.snapshot("team:1", begin, b"{}", watched=False)
        await asyncio.sleep(0)
        while log.waiting[0] > 10_000:  # a disk that hangs for a while would have more refused as busy
            await asyncio.sleep(0.001)

logs.configure("error")
asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("told", [1, 50, 700])
async def test_what_was_told_is_there_after_the_process_was_killed(
    path: Path, told: int, logged: list[dict[str, Any]]
) -> None:
    expected: list[tuple[int, str]] = []
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(path), stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(told):
            offset, event_id = (await process.stdout.readline()).decode().split()
            expected.append((int(offset), event_id))
        process.kill()
        rest, _ = await process.communicate()
        for line in rest.decode().splitlines(keepends=True):
            if line.endswith("\n"):  # the last one may be cut off
                offset, event_id = line.split()
                expected.append((int(offset), event_id))
    async with keeper(path) as kept:
        events = {event.offset: event.draft.id for event in (await kept.record(ROOM)).events}
        assert [(offset, events.get(offset)) for offset, _ in expected] == expected
        assert sorted(events) == list(range(1, len(events) + 1))
        assert isinstance((await kept.append("after"))[0], Event)
    assert {line["event"] for line in logged} == {"journal_opened", "journal_closed"}
