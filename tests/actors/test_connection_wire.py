"""Connection: what happens when the client's socket takes no more for a while, or for too long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors import replies
from actors.batch import Batch
from actors.connection import Connection
from actors.errors import CloseCode
from actors.messages import Close, Drain, Publish
from actors.outbox import Outbox
from actors.ports import ConnectionLimits
from server.protocols.native import NativeCodec

from .client import Client, Hall
from .fake_clock import settled
from .house import fail_once

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "team:1"
OUTBOX_BYTES = 20_000
STATE_BYTES = 10_000


@pytest.fixture
async def hall(nothing_left: None) -> AsyncIterator[Hall]:
    hall = Hall(limits=ConnectionLimits(outbox_bytes=OUTBOX_BYTES))
    yield hall
    await hall.end()


async def in_the_room(hall: Hall, **fields: Any) -> Client:
    client = await hall.welcomed()
    await client.subscribe(ROOM, **fields)
    return client


async def publish(hall: Hall, count: int, size: int = 0) -> None:
    for _ in range(count):
        hall.house.source.tell(Publish(rooms=(ROOM,), kind="app.thing", data={"x": "y" * size}))
    await settled()


async def test_what_one_turn_brings_leaves_in_one_write(hall: Hall) -> None:
    client = await in_the_room(hall)
    writes = len(client.wire.writes)
    await publish(hall, 50)
    assert len(client.wire.writes) == writes + 1
    assert client.offsets(ROOM) == list(range(1, 51))


async def test_while_the_wire_is_paused_nothing_is_written(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    told = len(client.wire.told)
    await publish(hall, 3)
    assert len(client.wire.told) == told
    assert client.state.outbox.size > 0
    client.wire.paused = False
    client.state.outbox.clear()


async def test_what_waited_is_written_in_order_when_the_wire_takes_bytes_again(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    await publish(hall, 2)
    client.say("ping", id="between")
    await settled()
    await publish(hall, 2)
    writes = len(client.wire.writes)
    client.wire.go_on()
    await settled()
    (write,) = client.wire.writes[writes:]
    assert [message.get("offset", message.get("id")) for message in write] == [1, 2, "between", 3, 4]
    assert client.state.outbox.size == 0


async def test_past_its_bound_a_client_is_closed_as_slow(hall: Hall, logged: list[dict[str, Any]]) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    await publish(hall, 4, size=4_000)
    assert client.wire.closed is None
    await publish(hall, 2, size=4_000)
    assert client.wire.closed == (CloseCode.SLOW_CONSUMER, "slow_consumer")
    assert client.state.outbox.size == 0
    (line,) = [line for line in logged if line["event"] == "slow_consumer"]
    assert line["connection"] == client.state.id
    assert line["waiting_bytes"] > OUTBOX_BYTES


async def test_bytes_in_the_sockets_own_buffer_count_as_waiting(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    client.wire.buffered = OUTBOX_BYTES
    await publish(hall, 1)
    assert client.wire.closed is not None


async def test_a_slow_client_slows_nobody_and_is_out_of_its_rooms(hall: Hall) -> None:
    slow, quick = await in_the_room(hall), await in_the_room(hall)
    slow.wire.paused = True
    await publish(hall, 30, size=1_000)
    assert quick.offsets(ROOM) == list(range(1, 31))
    assert list(hall.house.ledger.page(ROOM)) == [quick.state.id]


async def test_a_slow_client_comes_back_from_its_position(hall: Hall) -> None:
    slow = await in_the_room(hall)
    epoch = slow.wire.of("subscribed")[0]["epoch"]
    await publish(hall, 3)
    slow.wire.paused = True
    await publish(hall, 30, size=1_000)
    assert slow.wire.closed
    back = await hall.welcomed()
    answer = await back.subscribe(ROOM, after={"epoch": epoch, "offset": slow.wire.chains[ROOM].position})
    assert (answer["recovery"], answer["replay"]) == ("full", 30)
    assert back.offsets(ROOM) == list(range(4, 34))


async def test_after_it_was_closed_as_slow_nothing_piles_up_for_it(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    await publish(hall, 30, size=1_000)
    for _ in range(100):
        client.say("history", room=ROOM)
        client.say("ping")
    await publish(hall, 30, size=1_000)
    assert client.state.outbox.size == 0


async def test_after_it_was_closed_no_answer_is_encoded_for_it(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame may ask hundreds of times for what is large, and the first of the answers be too many."""
    client = await in_the_room(hall)
    answers = 0
    encode = NativeCodec.encode

    def counting(self: NativeCodec, reply: replies.Reply) -> bytes:
        nonlocal answers
        answers += 1
        return encode(self, reply)

    monkeypatch.setattr(NativeCodec, "encode", counting)
    client.wire.paused = True
    for number in range(1000):
        client.say("presence", room=ROOM, id=1000 + number, connections=True)
    await settled()
    assert client.wire.closed == (CloseCode.SLOW_CONSUMER, "slow_consumer")
    assert 0 < answers < 400


async def large_states(hall: Hall, count: int) -> int:
    """Put an alert of 10 KB into each of so many rooms; return about how large an answer with such a state is."""
    data = {"severity": "critical", "title": "disk full", "filling": "x" * STATE_BYTES}
    for number in range(count):
        hall.house.source.tell(Publish(rooms=(f"team:{number}",), kind="alert", data=data))
    await settled()
    return STATE_BYTES + 1000


@pytest.mark.parametrize("command", ["subscribe", "state"])
async def test_large_answers_that_the_wire_does_not_take_stay_within_the_bound(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Whoever asks must read: the answers of one turn are held to the bound one by one."""
    answer_bytes = await large_states(hall, 50)
    client = await hall.welcomed()
    client.wire.paused = True
    sizes = [0]
    push = Outbox.push

    def measured(self: Outbox, frames: bytes) -> None:
        push(self, frames)
        sizes.append(self.size)

    monkeypatch.setattr(Outbox, "push", measured)
    for number in range(50):
        client.say(command, id=100 + number, room=f"team:{number}")
    await settled()
    assert max(sizes) <= OUTBOX_BYTES + answer_bytes
    assert client.wire.closed == (CloseCode.SLOW_CONSUMER, "slow_consumer")
    assert client.state.outbox.size == 0
    assert not client.state.subscriptions


@pytest.mark.parametrize("command", ["subscribe", "state"])
async def test_large_answers_that_the_wire_takes_are_no_offence(hall: Hall, command: str) -> None:
    """However many are asked for at once."""
    await large_states(hall, 50)
    client = await hall.welcomed()
    for number in range(50):
        client.say(command, id=100 + number, room=f"team:{number}")
    await settled()
    assert client.wire.closed is None
    assert [message["id"] for message in client.wire.told if message.get("id", 0) >= 100] == list(range(100, 150))


@pytest.mark.parametrize("paused", ["before", "by the answer"])
async def test_old_events_wait_in_the_room_while_the_wire_takes_no_more(hall: Hall, paused: str) -> None:
    """A client is not closed as slow for what it was promised a page at a time."""
    await publish(hall, 200, size=200)
    client = await hall.welcomed()
    client.wire.paused = paused == "before"
    client.wire.fills_up = paused == "by the answer"
    client.say("subscribe", room=ROOM, history=200)
    await settled()
    assert client.wire.closed is None
    assert client.state.outbox.size < 1000
    client.wire.fills_up = False
    client.wire.go_on()
    await settled()
    assert client.offsets(ROOM) == list(range(1, 201))
    await publish(hall, 1)
    assert client.offsets(ROOM)[-1] == 201


async def test_a_large_history_is_asked_for_only_as_fast_as_the_wire_takes_it(hall: Hall) -> None:
    await publish(hall, 900)
    client = await hall.welcomed()
    client.wire.fills_up = True
    client.say("subscribe", room=ROOM, history=900)
    await settled()
    for told in (256, 512, 768):
        assert client.offsets(ROOM) == list(range(1, told + 1))
        assert client.state.outbox.size == 0
        client.wire.go_on()  # writes nothing, so the next page is asked for, and fills the wire again
        await settled()
    assert client.offsets(ROOM) == list(range(1, 901))


async def test_many_large_histories_do_not_make_a_client_slow(hall: Hall) -> None:
    """Old events wait in the rooms, not in the outbox: a client that resumes many rooms is closed for none."""
    for number in range(20):
        for _ in range(300):
            hall.house.source.tell(Publish(rooms=(f"team:{number}",), kind="app.thing", data={}))
    await settled()
    client = await hall.welcomed()
    client.wire.fills_up = True
    for number in range(20):
        client.say("subscribe", room=f"team:{number}", history=300)
    await settled()
    for _ in range(100):
        client.wire.go_on()
        await settled()
    assert client.wire.closed is None
    assert {number for number in range(20) if len(client.offsets(f"team:{number}")) == 300} == set(range(20))


# --- a client that lags


async def report(hall: Hall, first: int, last: int, key: str | None = None) -> None:
    """Publish progress, each value in a turn of its own where the client could be written to."""
    for current in range(first, last + 1):
        hall.house.source.tell(Publish(rooms=(ROOM,), kind="progress", data={"current": current}, key=key))
        if current % 100 == 0:
            await settled()
    await settled()


def progress_of(client: Client) -> list[int]:
    return [message["data"]["current"] for message in client.wire.of("event") if message["kind"] == "progress"]


def skipped(client: Client) -> list[tuple[int, int, str]]:
    return client.wire.chains[ROOM].skipped


async def test_who_keeps_up_gets_every_value(hall: Hall) -> None:
    client = await in_the_room(hall)
    await report(hall, 1, 300)
    assert progress_of(client) == list(range(1, 301))
    assert skipped(client) == []


async def test_a_burst_that_the_socket_had_no_chance_to_take_is_not_the_clients_fault(hall: Hall) -> None:
    """It is paused, and nobody has looked whether it is stuck."""
    client = await in_the_room(hall)
    client.wire.paused, client.wire.stuck = True, False
    await report(hall, 1, 50)
    client.wire.go_on()
    await settled()
    assert progress_of(client) == list(range(1, 51))


async def test_who_lags_gets_the_newest_value_when_it_reads_again(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    await report(hall, 1, 300)
    client.wire.go_on()
    await settled()
    assert progress_of(client) == [300]
    assert skipped(client) == [(1, 299, "conflated")]
    await report(hall, 301, 303)
    assert progress_of(client) == [300, 301, 302, 303]


async def test_a_client_that_lags_behind_20_000_values_costs_its_bound_and_misses_nothing_that_counts(
    hall: Hall,
) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    largest = 0
    for turn in range(20):
        if turn in (5, 10):
            hall.house.source.tell(Publish(rooms=(ROOM,), kind="session", data={"status": "started"}))
            hall.house.source.tell(
                Publish(rooms=(ROOM,), kind="alert", data={"severity": "critical", "title": str(turn)})
            )
        for current in range(1000):
            data = {"current": turn * 1000 + current}
            hall.house.source.tell(Publish(rooms=(ROOM,), kind="progress", data=data, key=f"k{current % 3}"))
        await settled()
        largest = max(largest, client.state.outbox.size)
    assert largest <= OUTBOX_BYTES * 2
    assert client.wire.closed is None
    client.wire.go_on()
    await settled()
    kinds = [message["kind"] for message in client.wire.of("event") if message["kind"] != "progress"]
    assert kinds == ["session", "alert", "session", "alert"]
    assert sorted(progress_of(client))[-3:] == [19_997, 19_998, 19_999]
    assert client.wire.chains[ROOM].position == 20_004
    assert {reason for _, _, reason in skipped(client)} == {"conflated"}


async def test_what_must_be_kept_closes_a_client_that_lags_too_far(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    for _ in range(100):
        hall.house.source.tell(
            Publish(rooms=(ROOM,), kind="notification", data={"level": "info", "message": "m" * 300})
        )
        await report(hall, 1, 10)
    assert client.wire.closed == (CloseCode.SLOW_CONSUMER, "slow_consumer")


async def test_who_lags_in_one_room_gets_the_others_in_order(hall: Hall) -> None:
    client = await in_the_room(hall)
    await client.subscribe("team:2")
    client.wire.paused = True
    for number in range(50):
        hall.house.source.tell(Publish(rooms=(ROOM,), kind="progress", data={"current": number}))
        hall.house.source.tell(Publish(rooms=("team:2",), kind="app.thing", data={}))
    await settled()
    client.wire.go_on()
    await settled()
    assert client.offsets(ROOM) == [50]
    assert client.offsets("team:2") == list(range(1, 51))


async def test_an_ephemeral_event_is_dropped_for_who_lags_and_for_nobody_else(hall: Hall) -> None:
    slow, quick = await in_the_room(hall), await in_the_room(hall)
    slow.wire.paused = True
    for delivery in ("ephemeral", "keep", "ephemeral"):
        hall.house.source.tell(Publish(rooms=(ROOM,), kind="app.thing", data={}, delivery=delivery))
    await settled()
    slow.wire.go_on()
    await settled()
    assert (slow.offsets(ROOM), quick.offsets(ROOM)) == ([2], [1, 2, 3])
    assert slow.wire.chains[ROOM].position == 3


async def test_a_client_that_has_only_a_marker_to_come_is_told_it_and_keeps_up(hall: Hall) -> None:
    """Else it would not know its position, and would lose values though it reads."""
    client = await in_the_room(hall)
    client.wire.paused = True
    hall.house.source.tell(Publish(rooms=(ROOM,), kind="app.thing", data={}, delivery="ephemeral"))
    await settled()
    client.wire.go_on()
    await settled()
    assert skipped(client) == [(1, 1, "conflated")]
    await report(hall, 1, 3)
    assert progress_of(client) == [1, 2, 3]


async def test_who_unsubscribes_while_it_lags_hears_no_more_of_the_room(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    await report(hall, 1, 10)
    client.say("unsubscribe", id="u", room=ROOM)
    client.say("subscribe", id="s", room=ROOM)
    await settled()
    await report(hall, 11, 12)
    client.wire.go_on()
    await settled()
    told = [message["type"] for message in client.wire.told]
    assert told[told.index("unsubscribed") :] == ["unsubscribed", "subscribed", "skipped", "event"]
    assert progress_of(client) == [12]


async def test_a_connection_that_fails_while_its_client_lags_goes_on_where_it_was(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    await report(hall, 1, 10)
    fail_once(monkeypatch, Connection, Batch)
    await report(hall, 11, 20)
    client.wire.go_on()
    await settled()
    await report(hall, 21, 21)
    assert progress_of(client)[-1] == 21
    assert client.wire.chains[ROOM].position == 21


async def test_what_may_be_written_at_once_is_though_it_takes_several_pieces(hall: Hall) -> None:
    """A write may let more be written: then nobody says `Writable`, and nothing may wait for the next event."""
    client = await in_the_room(hall)
    client.wire.room = 500
    client.by_mail(ROOM)
    await publish(hall, 30, size=100)
    assert client.offsets(ROOM) == list(range(1, 31))
    assert len(client.wire.writes[-1]) < 30
    assert not client.state.outbox.size


async def test_a_client_that_reads_slowly_gets_everything_in_pieces(hall: Hall) -> None:
    """About as much as the socket takes at a time; what waits longer gives way meanwhile."""
    client = await in_the_room(hall)
    client.wire.fills_up, client.wire.room = True, 500
    for turn in range(60):
        await publish(hall, 1, size=100)
        await report(hall, turn, turn)
        client.wire.go_on()
        await settled()
    assert max(len(write) for write in client.wire.writes) <= 4
    client.wire.fills_up, client.wire.room = False, 1 << 62
    client.wire.go_on()
    await settled()
    things = [message["offset"] for message in client.wire.of("event") if message["kind"] == "app.thing"]
    assert things == list(range(1, 121, 2))
    assert progress_of(client)[-1] == 59
    assert client.wire.chains[ROOM].position == 120


async def test_draining_tells_the_client_when_to_come_back_and_closes(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.mailbox.tell(Drain(reconnect_in_ms=120))
    await settled()
    last = client.wire.told[-1]
    assert (last["code"], last["reconnect_in_ms"]) == ("draining", 120)
    assert client.wire.closed == (CloseCode.DRAINING, "draining")


async def test_what_came_before_the_drain_is_written_first(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    await publish(hall, 3)
    client.mailbox.tell(Drain(reconnect_in_ms=0))
    await settled()
    assert client.wire.closed is None, "closed with events in the outbox"
    client.wire.go_on()
    await settled()
    assert client.offsets(ROOM) == [1, 2, 3]
    assert client.wire.told[-1]["code"] == "draining"
    assert client.wire.closed == (CloseCode.DRAINING, "draining")


async def test_while_it_drains_no_new_events_come(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.wire.paused = True
    client.mailbox.tell(Drain(reconnect_in_ms=0))
    await settled()
    await publish(hall, 3)
    client.wire.go_on()
    await settled()
    assert client.offsets(ROOM) == []


@pytest.mark.parametrize("end", [Close(CloseCode.OPERATOR, "away with you"), Drain(reconnect_in_ms=0)])
async def test_a_client_that_still_has_old_events_to_come_can_be_closed(
    hall: Hall, end: Close | Drain, logged: list[dict[str, Any]]
) -> None:
    """It has left its rooms when the next page would be asked for."""
    await publish(hall, 600)
    client = await hall.welcomed()
    client.wire.paused = True
    client.wire.buffered = -10 * OUTBOX_BYTES
    client.say("subscribe", room=ROOM, history=600)
    await settled()
    client.mailbox.tell(end)
    client.wire.go_on()
    await settled()
    assert client.wire.closed is not None
    assert [line for line in logged if line["event"] == "actor_failed"] == []


async def test_the_reason_of_a_close_is_preceded_by_what_waits(hall: Hall) -> None:
    client = await in_the_room(hall)
    client.say("ping", id="last")
    client.mailbox.tell(Close(CloseCode.OPERATOR, "away with you"))
    await settled()
    assert client.wire.told[-1]["id"] == "last"
    assert client.wire.closed == (CloseCode.OPERATOR, "away with you")
