"""A room, the source or a supervisor fails: the rooms come back as they were, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.errors import CloseCode
from actors.mailbox import Mailbox
from actors.messages import Acknowledge, Append, Attach, Committed, Detach, Publish, Query, Subscribe, Sweep
from actors.room import Room
from actors.source import NotificationSource
from server.app import Router

from ..conftest import RouterProcess, running_router
from ..native_client import Message, NativeClient
from .faults import Fault, fail_on_message, fail_once
from .services import crash, http_service, publish, state_of, wait_until
from .streams import Stream

Log = list[dict[str, Any]]


def lines(logged: Log, event: str) -> Log:
    """Return the log lines of one event."""
    return [line for line in logged if line["event"] == event]


async def insist(client: NativeClient, command: str, **fields: Any) -> Message:
    """Send a command again as long as the answer is a temporary error."""
    while True:
        answer = await client.ask(command, **fields)
        if answer["type"] != "error":
            return answer
        assert answer["code"] == "internal", answer


async def use_everything(router: Router, writer: NativeClient) -> None:
    """Do with room doc:1 all that a room does, whatever fails on the way; it has 12 events after it."""
    for n in range(1, 11):
        await insist(writer, "publish", room="doc:1", kind="app.step", data={"n": n}, event_id=f"e{n}")
    alert = {"severity": "critical", "title": "t", "n": 11}
    await insist(writer, "publish", room="doc:1", kind="alert", data=alert, event_id="a1")
    for command in ("state", "history", "presence"):
        await insist(writer, command, room="doc:1")
    async with NativeClient(router.addresses.ws_url) as passing:
        await insist(passing, "subscribe", room="doc:1", history=5)
        await insist(passing, "unsubscribe", room="doc:1")
        await insist(passing, "subscribe", room="doc:1", history=5)
    answer = await writer.ask("ack", room="doc:1", event_id="a1")
    if answer["type"] == "error":
        assert answer["code"] == "internal"
        await writer.ask("ack", room="doc:1", event_id="a1")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "message_type", [Append, Committed, Acknowledge, Subscribe, Attach, Detach, Query, Sweep, None]
)
async def test_a_room_that_fails_on_any_message_comes_back_as_it_was(
    monkeypatch: pytest.MonkeyPatch, logged: Log, message_type: type | None, moment: str
) -> None:
    """Epoch, offsets, history, state, subscribers and presence; whoever waits for the failing message is answered."""
    async with running_router(dev=True, room_idle_s=0.2) as router:
        url = router.addresses.ws_url
        async with NativeClient(url) as writer, NativeClient(url) as reader:
            epoch = (await writer.subscribe("doc:1"))["epoch"]
            await reader.subscribe("doc:1")
            planted = _plant(monkeypatch, router, message_type, after=moment == "after")
            if message_type is Attach:
                for state in router.registry.states:
                    crash(state.mailbox)
            await use_everything(router, writer)
            await wait_until(lambda: planted.struck, "the failure strikes")
            state = await insist(writer, "state", room="doc:1")
            assert (state["epoch"], state["offset"]) == (epoch, 12)
            assert state["state"]["counts"] == {"app.step": 10, "alert": 1, "alert.acknowledged": 1}
            assert state["state"]["alerts"] == []
            history = (await insist(writer, "history", room="doc:1"))["events"]
            assert [event["offset"] for event in history] == list(range(1, 13))
            assert [event["prev"] for event in history] == list(range(12))
            for client in (writer, reader):
                stream = await Stream(client, "doc:1").until(12)
                await stream.rest()
                assert [event["offset"] for event in stream.events] == list(range(1, 13))
            presence = await insist(writer, "presence", room="doc:1")
            assert (presence["members"], presence["count"]) == ([{"user": "anonymous", "connections": 2}], 1)
            again = await insist(writer, "publish", room="doc:1", kind="app.step", data={}, event_id="e1")
            assert (again["offset"], again["duplicate"]) == (1, True)
        assert planted.struck == 1
        actors = [line["actor"] for line in lines(logged, "actor_failed")]
        assert actors.count("room:doc:1") == 1
        assert len(lines(logged, "actor_restarted")) == len(actors)


def _plant(monkeypatch: pytest.MonkeyPatch, router: Router, message_type: type | None, *, after: bool) -> Fault:
    """Let doc:1 fail once, at its next message of this type; None: when it hands out a batch."""
    seen: list[Room] = []
    room = router.directory.room("doc:1")

    def here(*_args: Any) -> bool:
        return bool(seen) and seen[-1].mailbox is room

    whole = Room.take_turn

    def take_turn(self: Room) -> bool:
        seen.append(self)
        try:
            return whole(self)
        finally:
            seen.pop()

    monkeypatch.setattr(Room, "take_turn", take_turn)
    if message_type is None:
        return fail_once(monkeypatch, Room, "_fan_out", when=here, after=after)
    return fail_on_message(monkeypatch, Room, message_type, when=here, after=after)


async def test_a_room_that_fails_while_it_is_filled_at_speed_loses_nothing(router: Router, logged: Log) -> None:
    """3,000 publishes in flight, three crashes: each gets a receipt or `internal`; with a retry each is there once."""
    url = router.addresses.ws_url
    async with NativeClient(url) as writer, NativeClient(url) as reader:
        epoch = (await reader.subscribe("doc:1"))["epoch"]
        stream = Stream(reader, "doc:1")
        reading = asyncio.create_task(stream.until(3000))

        async def send(first: int, last: int) -> None:
            for n in range(first, last):
                await writer.send("publish", id=n, room="doc:1", kind="app.step", data={"n": n}, event_id=f"e{n}")

        async def receive(count: int) -> tuple[dict[int, Message], list[int]]:
            receipts: dict[int, Message] = {}
            failed: list[int] = []
            while len(receipts) + len(failed) < count:
                answer = await writer.next()
                if answer["type"] == "published":
                    receipts[answer["id"]] = answer
                else:
                    assert (answer["type"], answer["code"]) == ("error", "internal"), answer
                    failed.append(answer["id"])
            return receipts, failed

        receiving = asyncio.create_task(receive(3000))
        for part in range(3):
            await send(part * 1000, part * 1000 + 500)
            crash(router.directory.room("doc:1"))
            await send(part * 1000 + 500, part * 1000 + 1000)
        receipts, failed = await receiving
        for n in failed:
            answer = await insist(writer, "publish", room="doc:1", kind="app.step", data={"n": n}, event_id=f"e{n}")
            receipts[n] = answer
        await reading
        await stream.rest()
    assert len(lines(logged, "actor_failed")) == 3
    assert sorted(stream.values) == list(range(3000))
    assert {receipt["epoch"] for receipt in receipts.values()} == {epoch}
    place = {event["data"]["n"]: event["offset"] for event in stream.events}
    assert {n: receipt["offset"] for n, receipt in receipts.items()} == place


async def test_the_whole_state_survives_a_crash() -> None:
    """Owner, times, progress by key with its estimates, alerts and counts, though the first events left the history."""
    async with running_router(dev=True, history_events=20) as router, NativeClient(router.addresses.ws_url) as client:
        events: list[tuple[str, Message, Message]] = [
            ("session", {"status": "started", "owner": "ann"}, {}),
            ("alert", {"severity": "critical", "title": "t"}, {"event_id": "a1"}),
            *(("progress", {"current": n, "total": 500}, {"key": f"k{n % 3}"}) for n in range(400)),
            ("session", {"status": "failed", "reason": "r"}, {}),
        ]
        for kind, data, fields in events:
            await client.send("publish", id=kind, room="session:1", kind=kind, data=data, **fields)
        while (await client.next("published"))["offset"] < len(events):
            pass
        before = await client.ask("state", room="session:1")
        assert before["offset"] == len(events)
        crash(router.directory.room("session:1"))
        after = await client.ask("state", room="session:1")
        assert {**after, "id": 0} == {**before, "id": 0}
        error = await client.ask("publish", room="session:1", kind="progress", data={"current": 1})
        assert error["code"] == "session_ended"
        again = {"kind": "alert", "data": {"severity": "critical", "title": "t"}, "event_id": "a1"}
        assert (await client.ask("ack", room="session:1", event_id="a1"))["type"] == "acknowledged"
        assert (await client.ask("publish", room="session:1", **again))["type"] == "published"


async def test_a_long_replay_goes_on_through_crashes_on_both_sides(router: Router) -> None:
    """The room and the connection fail in turn while the client is sent 1,000 old events, and new ones come in."""
    await asyncio.gather(*(publish(router, "doc:1", "app.step", {"n": n}) for n in range(1, 1001)))
    room = router.directory.room("doc:1")
    async with NativeClient(router.addresses.ws_url) as client:
        epoch = (await client.ask("state", room="doc:1"))["epoch"]
        for side in (room, state_of(router, client).mailbox, room, state_of(router, client).mailbox):
            await client.subscribe("doc:1", after={"epoch": epoch, "offset": 0})
            stream = Stream(client, "doc:1")
            await stream.until(100)
            crash(side)
            await stream.until(1000)
            await stream.rest()
            assert stream.values == list(range(1, 1001))
            await client.ask("unsubscribe", room="doc:1")
        await client.subscribe("doc:1", after={"epoch": epoch, "offset": 0})
        stream = Stream(client, "doc:1")
        for n in range(1001, 1021):
            await asyncio.gather(publish(router, "doc:1", "app.step", {"n": n}), stream.until(n - 20))
            if n == 1010:
                crash(room)
        await stream.until(1020)
        assert stream.skipped == []
        assert stream.values == list(range(1, 1021))


async def test_a_room_that_fails_on_an_event_takes_it_at_the_second_try(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its place between the others; neither its publisher nor a subscriber notices."""
    fail_on_message(monkeypatch, Room, Append, when=lambda append: json.loads(bytes(append.draft.data)) == {"n": 3})
    async with http_service(router) as service, NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        events = [{"room": "doc:1", "kind": "app.step", "data": {"n": n}} for n in range(1, 6)]
        status, answer = await service.post(events)
        assert status == 200
        assert [result["offset"] for result in answer["results"]] == [1, 2, 3, 4, 5]
        assert (await Stream(client, "doc:1").until(5)).values == [1, 2, 3, 4, 5]


async def test_a_retry_that_waits_for_the_commit_survives_the_room(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two publishes of one id, and the room fails between the append and the commit: one event, two receipts."""
    fail_on_message(monkeypatch, Room, Committed)
    first, second = await asyncio.gather(
        publish(router, "doc:1", "app.step", {"n": 1}, event_id="e1"),
        publish(router, "doc:1", "app.step", {"n": 1}, event_id="e1"),
    )
    assert (first.offset, second.offset) == (1, 1)
    assert sorted((first.duplicate, second.duplicate)) == [False, True]


async def test_the_source_fails_on_one_event_and_takes_the_others(
    router: Router, monkeypatch: pytest.MonkeyPatch, logged: Log
) -> None:
    """What fails twice is refused for good, what fails once is taken; ids made by the source stay unique."""
    left = [5, 5, 11]

    def strike(message: Publish) -> bool:
        struck = message.data.get("n") in left
        if struck:
            left.remove(message.data["n"])
        return struck

    fail_on_message(monkeypatch, NotificationSource, Publish, when=strike, times=3)
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("doc:1")
        for n in range(20):
            await client.send("publish", id=n, room="doc:1", kind="app.step", data={"n": n})
        answers: dict[int, Message] = {}
        events: list[Message] = []
        while len(answers) < 20 or len(events) < 19:
            message = await client.next()
            if message["type"] == "event":
                events.append(message)
            else:
                answers[message["id"]] = message
    assert [n for n in answers if answers[n]["type"] == "error"] == [5]
    assert answers[5]["code"] == "invalid_event"
    assert [event["data"]["n"] for event in events] == [n for n in range(20) if n != 5]
    assert len({event["id"] for event in events}) == 19
    assert [line["actor"] for line in lines(logged, "actor_failed")] == ["source"] * 3


async def test_a_crashed_source_goes_on_with_what_waits_for_it(router: Router) -> None:
    """Publishes of services in the process, some before the crash and some after, are all answered."""
    before = [publish(router, "doc:1", "app.step", {"n": n}) for n in range(10)]
    tasks = [asyncio.create_task(each) for each in before]
    await asyncio.sleep(0)
    crash(router.source)
    tasks += [asyncio.create_task(publish(router, "doc:1", "app.step", {"n": n})) for n in range(10, 20)]
    receipts = await asyncio.gather(*tasks)
    assert sorted(receipt.offset for receipt in receipts) == list(range(1, 21))


async def test_a_room_that_keeps_failing_is_given_up_alone_and_serves_again(router: Router, logged: Log) -> None:
    """Past 3 restarts in 5 s its subscribers are sent away, with good positions; nobody else notices."""
    url = router.addresses.ws_url
    async with NativeClient(url) as client, NativeClient(url) as other:
        epoch = (await client.subscribe("doc:bad"))["epoch"]
        await other.subscribe("doc:good")
        bad = router.directory.room("doc:bad")
        await client.ask("publish", room="doc:bad", kind="app.step", data={"n": 1})
        await crash_until(bad, lambda: lines(logged, "actor_given_up"))
        code, reason = await client.closed()
        assert code == CloseCode.GIVEN_UP
        assert reason == "doc:bad fails too often; your positions stay good"
        for n in range(1, 51):
            assert (await publish(router, "doc:good", "app.step", {"n": n})).offset == n
        stream = await Stream(other, "doc:good").until(50)
        assert stream.values == list(range(1, 51))
        assert stream.noticed("resumed") == []
        async with NativeClient(url) as fresh:
            answer = await fresh.subscribe("doc:bad", after={"epoch": epoch, "offset": 0})
            assert (answer["recovery"], answer["offset"]) == ("full", 1)
            assert (await publish(router, "doc:bad", "app.step", {"n": 2})).offset == 2
            assert (await Stream(fresh, "doc:bad").until(2)).values == [1, 2]
    (given_up,) = lines(logged, "actor_given_up")
    assert given_up["actor"] == "room:doc:bad"
    assert (given_up["supervisor"], given_up["escalates"]) == ("rooms", False)
    assert [line["actor"] for line in lines(logged, "actor_failed")] == ["room:doc:bad"] * 4
    (rests,) = lines(logged, "room_given_up")
    assert (rests["room"], rests["subscribers"]) == ("doc:bad", 1)


async def crash_until(mailbox: Mailbox, condition: Callable[[], object]) -> None:
    """Crash the actor in a mailbox each time it lives, until a condition holds."""
    while not condition():
        await wait_until(lambda: mailbox.occupied or condition(), "the actor lives")
        if not condition():
            crash(mailbox)
            await wait_until(lambda: not len(mailbox) or condition(), "it fails")


PLUGIN = '''
import asyncio

from pykka.messages import ProxyCall


def keep_failing(router):
    """Crash the source as soon as it lives, again and again."""

    async def crash():
        mailbox = router.source
        while True:
            if mailbox.occupied and not len(mailbox):
                mailbox.tell(ProxyCall(("explode",), (), {}))
            await asyncio.sleep(0.001)

    router.task = asyncio.create_task(crash())
'''


def test_a_failure_that_no_supervisor_contains_ends_the_process(
    start_router: Callable[..., RouterProcess], tmp_path: Path
) -> None:
    """The root gives up: exit code 1, so that whoever watches the process starts a new one; each step is logged."""
    (tmp_path / "bad_plugin.py").write_text(PLUGIN)
    process = start_router("--dev", "--plugin", "bad_plugin:keep_failing", cwd=tmp_path)
    assert process.wait(20) == 1
    log = [json.loads(line) for line in process.log.splitlines() if line.startswith("{")]
    given_up = [line["actor"] for line in log if line["event"] == "actor_given_up"]
    assert given_up == ["source"]
    (last,) = [line for line in log if line["event"] == "root_supervisor_failed"]
    assert last["level"] == "critical"
    assert "source" in last["error"]
    assert not [line for line in log if line["event"] == "library_log"], process.log
