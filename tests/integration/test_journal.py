"""The journal from outside: what was acknowledged outlives the router, and a disk that fails stops nothing for good."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ..conftest import RouterProcess
from ..native_client import WAIT_S, Message, NativeClient

Start = Callable[..., RouterProcess]


class House:
    """One folder with a journal, and the router that has it now.

    Args:
        start: Starts a router process.
        folder: Where the journal is.
    """

    def __init__(self, start: Start, folder: Path) -> None:
        self._start = start
        self._folder = folder
        self.router = self.start()

    @property
    def journal(self) -> Path:
        return self._folder / "postroom-data" / "journal.db"

    def start(self, **environment: str) -> RouterProcess:
        """Start a router on the journal."""
        self.router = self._start("--dev", cwd=self._folder, environment=environment)
        return self.router

    def kill(self) -> None:
        """End the router as a crash does."""
        self.router.signal(signal.SIGKILL)
        self.router.wait()

    async def publish(self, *bodies: Message) -> tuple[int, Any, str | None]:
        """Publish over HTTP; return the status, the body and `Retry-After`."""
        url = f"{self.router.api_url}/v1/publish"
        async with aiohttp.ClientSession() as session, session.post(url, json=list(bodies)) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers.get("Retry-After")

    async def receipts(self, *bodies: Message) -> list[Message]:
        """Publish what must be taken; return the receipts."""
        status, body, _ = await self.publish(*bodies)
        assert status == 200, body
        assert not any("error" in result for result in body["results"]), body
        return list(body["results"])

    async def readyz(self) -> tuple[int, Message]:
        """Ask whether the router is ready."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.router.api_url}/readyz") as answer:
            return answer.status, await answer.json()

    async def until_ready(self, ready: bool) -> Message:
        """Wait until `/readyz` says so."""
        async with asyncio.timeout(WAIT_S):
            while True:
                status, body = await self.readyz()
                assert (status == 200) == body["ready"]
                if body["ready"] is ready:
                    return body
                await asyncio.sleep(0.05)


@pytest.fixture
def house(start_router: Start, tmp_path: Path) -> House:
    folder = tmp_path / "house"
    folder.mkdir()
    return House(start_router, folder)


def step(room: str, number: int, **fields: Any) -> Message:
    return {"room": room, "kind": "app.step", "data": {"n": number}, "event_id": f"{room}-{number}", **fields}


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_router_that_comes_back_goes_on_where_it_was(house: House, end: str) -> None:
    """Epoch, offsets, history and state are as before; who was there resumes in full, twice in a row."""
    first = await house.receipts(
        {"room": "session:1", "kind": "session", "data": {"status": "started", "owner": "ann"}},
        *(step("session:1", number) for number in range(5)),
    )
    async with NativeClient(house.router.ws_url) as client:
        before = await client.subscribe("session:1")
        empty = await client.subscribe("session:empty")
    for turn in range(2):
        house.kill() if end == "kill" else house.router.stop()
        await asyncio.to_thread(house.start)
        (more,) = await house.receipts(step("session:1", 10 + turn))
        assert (more["epoch"], more["offset"]) == (first[0]["epoch"], 7 + turn)
        resume = {
            "session:1": {"epoch": before["epoch"], "offset": before["offset"]},
            "session:empty": {"epoch": empty["epoch"], "offset": 0},
        }
        async with NativeClient(house.router.ws_url, resume=resume) as client:
            rooms = client.welcome["rooms"]
            assert [rooms[room]["recovery"] for room in resume] == ["full", "full"]
            assert rooms["session:1"]["replay"] == 1 + turn
            state = rooms["session:1"]["state"]
            assert {**state, "counts": {}, "last_event_at": None} == {
                **before["state"],
                "counts": {},
                "last_event_at": None,
            }
            assert state["counts"] == {"session": 1, "app.step": 6 + turn}
            events = await client.events(1 + turn, "session:1")
            assert [event["data"]["n"] for event in events] == [10, 11][: 1 + turn]


async def test_a_room_that_was_empty_when_the_router_died_is_recovered_with_its_first_events(house: House) -> None:
    async with NativeClient(house.router.ws_url) as client:
        empty = await client.subscribe("doc:1")
    house.kill()
    await asyncio.to_thread(house.start)
    await house.receipts(step("doc:1", 1), step("doc:1", 2))
    position = {"epoch": empty["epoch"], "offset": empty["offset"]}
    async with NativeClient(house.router.ws_url, resume={"doc:1": position}) as client:
        assert client.welcome["rooms"]["doc:1"]["recovery"] == "full"
        assert [event["data"]["n"] for event in await client.events(2, "doc:1")] == [1, 2]


async def test_a_retry_after_the_router_was_killed_gets_the_first_receipt(house: House) -> None:
    (first,) = await house.receipts(step("doc:1", 1))
    house.kill()
    await asyncio.to_thread(house.start)
    (again,) = await house.receipts(step("doc:1", 1))
    assert again == {**first, "duplicate": True}
    (other,) = await house.receipts(step("doc:1", 2))
    assert (other["offset"], other["duplicate"]) == (first["offset"] + 1, False)


async def test_an_alert_waits_for_its_acknowledgement_over_restarts_and_past_the_history(house: House) -> None:
    house.router.stop()
    await asyncio.to_thread(house.start, POSTROOM_HISTORY_EVENTS="10")
    alert = {"room": "session:1", "kind": "alert", "data": {"severity": "critical", "title": "disk full"}}
    (receipt,) = await house.receipts({**alert, "event_id": "disk"})
    await house.receipts(*(step("session:1", number) for number in range(600)))
    house.kill()
    await asyncio.to_thread(house.start, POSTROOM_HISTORY_EVENTS="10")
    async with NativeClient(house.router.ws_url) as client:
        joined = await client.subscribe("session:1")
        (waiting,) = joined["state"]["alerts"]
        assert (waiting["event_id"], waiting["offset"], waiting["title"]) == ("disk", receipt["offset"], "disk full")
        history = await client.ask("history", room="session:1", after=0, limit=300)
        assert history["events"][0]["id"] == "disk"
        assert (await client.ask("ack", room="session:1", event_id="disk"))["type"] == "acknowledged"
        (event,) = await client.events(1, "session:1")
        assert (event["kind"], event["data"]["event_id"]) == ("alert.acknowledged", "disk")
    house.kill()
    await asyncio.to_thread(house.start, POSTROOM_HISTORY_EVENTS="10")
    async with NativeClient(house.router.ws_url) as client:
        state = (await client.subscribe("session:1"))["state"]
        assert state["alerts"] == []
        assert (state["acknowledged"][0]["event_id"], state["acknowledged"][0]["user"]) == ("disk", "anonymous")


async def test_an_alert_that_became_due_while_the_router_was_down_goes_to_the_admins(house: House) -> None:
    data = {"severity": "critical", "title": "disk full", "escalate_after_s": 1}
    await house.receipts({"room": "session:1", "kind": "alert", "data": data, "event_id": "disk"})
    house.kill()
    await asyncio.sleep(1.0)  # what is tested: the time goes on while nobody is there
    await asyncio.to_thread(house.start)
    async with NativeClient(house.router.ws_url) as client:
        await client.ask("unsubscribe", room="role:admin")
        await client.subscribe("role:admin", history=10)
        (event,) = await client.events(1, "role:admin")
        assert event["kind"] == "alert"
        assert event["data"]["title"] == "disk full"
        assert (event["data"]["escalated_from"]["room"], event["data"]["escalated_from"]["event_id"]) == (
            "session:1",
            "disk",
        )


async def test_a_locked_journal_takes_nothing_delivers_nothing_and_goes_on_by_itself(house: House) -> None:
    await house.receipts(step("doc:1", 1))
    async with NativeClient(house.router.ws_url) as client:
        await client.subscribe("doc:1")
        with sqlite3.connect(house.journal, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            status, body, retry_after = await house.publish(step("doc:1", 2))
            assert (status, body["code"], body["temporary"]) == (503, "journal_unavailable", True)
            assert retry_after is not None
            assert int(retry_after) >= 1
            answer = await client.ask("publish", room="doc:1", kind="app.step", data={"n": 3})
            assert (answer["type"], answer["code"]) == ("error", "journal_unavailable")
            body = await house.until_ready(False)
            assert "locked" in body["reason"]
            assert await client.nothing_more() == []
            other.execute("ROLLBACK")
        await house.until_ready(True)
        await house.receipts(step("doc:1", 2))
        (event,) = await client.events(1, "doc:1")
        assert (event["data"]["n"], event["offset"], event["prev"]) == (2, 2, 1)
    assert house.router.log.count('"journal_unavailable"') == 1
    assert house.router.log.count('"journal_available"') == 1


async def test_a_journal_that_is_deleted_while_it_is_used_is_written_anew_and_nothing_is_lost(house: House) -> None:
    first = await house.receipts(*(step("doc:1", number) for number in range(10)))
    for path in house.journal.parent.glob("journal.db*"):
        if not path.name.endswith(".lock"):
            path.unlink()
    await house.until_ready(True)
    (last,) = await house.receipts(step("doc:1", 10))
    assert (last["epoch"], last["offset"]) == (first[0]["epoch"], 11)
    assert house.journal.exists()
    house.kill()
    await asyncio.to_thread(house.start)
    async with NativeClient(house.router.ws_url) as client:
        await client.subscribe("doc:1", after={"epoch": first[0]["epoch"], "offset": 0})
        assert [event["data"]["n"] for event in await client.events(11, "doc:1")] == list(range(11))


async def test_a_damaged_journal_is_set_aside_and_a_new_one_begun_under_new_epochs(house: House) -> None:
    (before,) = await house.receipts(step("doc:1", 1))
    house.router.stop()
    damaged = b"this is no journal" * 1000
    house.journal.write_bytes(damaged)
    await asyncio.to_thread(house.start)
    (aside,) = house.journal.parent.glob("journal.db.damaged-*")
    assert aside.read_bytes() == damaged
    assert "journal_set_aside" in house.router.log
    (after,) = await house.receipts(step("doc:1", 1))
    assert (after["offset"], after["duplicate"]) == (1, False)
    assert after["epoch"] != before["epoch"]
    async with NativeClient(house.router.ws_url) as client:
        position = {"epoch": before["epoch"], "offset": before["offset"]}
        assert (await client.subscribe("doc:1", after=position))["recovery"] == "none"


def test_a_second_router_on_the_same_journal_does_not_start(house: House, start_router: Start) -> None:
    with pytest.raises(AssertionError, match="in use by another router") as caught:
        start_router("--dev", cwd=house.journal.parent.parent)
    assert str(house.router.pid) in str(caught.value)
    assert "--journal" in str(caught.value)


def test_a_journal_in_a_folder_that_cannot_be_written_is_refused_in_plain_words(
    start_router: Start, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AssertionError, match="journal") as caught:
        start_router("--dev", "--journal", str(tmp_path / "file" / "journal.db"))
    assert "Traceback" not in str(caught.value)
    assert os.fspath(tmp_path / "file") in str(caught.value)
