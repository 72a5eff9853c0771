"""The scripts among the examples, each run as its docstring says, on real routers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import postroom_client
from postroom_client import Progress

from ..conftest import RouterProcess

REPOSITORY = Path(__file__).parents[2]
WAIT_S = 20.0


def run(script: str, *arguments: str, router: RouterProcess) -> str:
    """Run an example to its end and return what it printed."""
    addresses = {"POSTROOM_URL": router.ws_url, "POSTROOM_API_URL": router.api_url}
    return subprocess.run(
        [sys.executable, f"examples/{script}", *arguments],
        cwd=REPOSITORY,
        env={"PATH": "", **addresses},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for what runs at the same time."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_a_job_is_watched_to_its_end_and_the_position_is_kept(
    router_process: RouterProcess, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """The watcher prints every step, ends with the session, and a second run goes on after the last event."""
    keep = tmp_path / "position.json"
    keep.write_text(json.dumps({"epoch": "another", "offset": 3}))
    watching = pool.submit(run, "watch_session.py", "session:42", "--keep", str(keep), router=router_process)
    asyncio.run(somebody_in(router_process.ws_url, "session:42"))
    printed = run("job_progress.py", "session:42", "--pause-s", "0.05", router=router_process)
    assert printed == "done; the last event is session:42 #8\n"
    state, gap, *lines = watching.result(WAIT_S).splitlines()
    assert state == "session:42 is not started"
    assert gap.startswith("missed: session:42: position another:3 is unknown to the router")
    steps = [line for line in lines if "%" in line]
    assert len(steps) == 5
    assert steps[-1].startswith("#6 100.0 %")
    assert lines[-1] == "#8 session completed"
    assert json.loads(keep.read_text())["offset"] == 8

    again = pool.submit(run, "watch_session.py", "session:42", "--keep", str(keep), router=router_process)
    asyncio.run(somebody_in(router_process.ws_url, "session:42"))
    run("job_progress.py", "session:42", "--pause-s", "0.05", router=router_process)
    state, started, *_ = again.result(WAIT_S).splitlines()
    assert state == "session:42 is completed"
    assert started == "#9 session started"


async def somebody_in(url: str, room: str) -> None:
    """Wait until somebody is in the room."""
    async with asyncio.timeout(WAIT_S), postroom_client.connect(url, proxy=None) as client:
        await client.history("broadcast")
        while True:
            try:
                if (await client.presence(room)).count:
                    return
            except postroom_client.CommandError as error:
                if error.code != "not_found":
                    raise
            await asyncio.sleep(0.02)


async def test_no_event_is_missed_while_things_break(
    start_router: Callable[..., RouterProcess], tmp_path: Path
) -> None:
    """With either mishap a client gets every event once and in order, and the router logs what happened."""
    crash, cut = (
        start_router(
            *("--dev", "--journal", str(tmp_path / f"{mishap}.db"), "--plugin", f"examples.mishap:{mishap}"),
            cwd=REPOSITORY,
        )
        for mishap in ("crash", "cut")
    )
    logged = {crash: ('"actor_failed"', '"connection_repaired"'), cut: ('"code": 1011', '"resumed": 1')}
    offsets = await asyncio.gather(*(offsets_until(router, words) for router, words in logged.items()))
    for each in offsets:
        assert each == list(range(1, len(each) + 1))


async def offsets_until(router: RouterProcess, words: tuple[str, ...]) -> list[int]:
    """Publish and read events until the router has logged these words, and return the offsets that were read."""
    offsets: list[int] = []
    connecting = postroom_client.connect(router.ws_url, proxy=None)
    async with asyncio.timeout(WAIT_S), postroom_client.Service(router.api_url) as service, connecting as client:
        session = await client.subscribe("session:42")
        while not all(word in router.log for word in words):
            await service.ask(Progress("session:42", current=len(offsets)))
            offsets.append((await anext(session)).offset)
            await asyncio.sleep(0.05)  # a pace, not a wait
    return offsets
