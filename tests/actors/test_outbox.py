"""Outbox: what waits for one client, in order and within a bound; while the client lags, old values give way."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors import replies
from actors.batch import Batch
from actors.events import Event
from actors.held import Held, HeldBatch
from actors.outbox import Outbox
from actors.subscription import Subscription
from server.protocols.native import NativeCodec

from .chain import Chain, messages
from .making import a_draft, a_subscription, an_event, progress, taken

CODEC = NativeCodec()


def test_a_new_outbox_is_empty() -> None:
    outbox = Outbox(10, CODEC)
    assert outbox.size == 0
    assert taken(outbox) == b""


def test_frames_come_out_in_the_order_they_went_in() -> None:
    outbox = Outbox(10, CODEC)
    for frame in (b"one", b"two", b"three"):
        outbox.push(frame)
    assert taken(outbox) == b"onetwothree"


def test_a_single_frame_is_handed_on_without_a_copy() -> None:
    frame = b"one frame for a thousand clients"
    outbox = Outbox(100, CODEC)
    outbox.push(frame)
    assert taken(outbox) is frame


def test_what_was_taken_is_gone() -> None:
    outbox = Outbox(10, CODEC)
    outbox.push(b"one")
    taken(outbox)
    assert (outbox.size, taken(outbox)) == (0, b"")


def test_clearing_drops_everything() -> None:
    outbox = Outbox(10, CODEC)
    outbox.push(b"one")
    outbox.clear()
    assert (outbox.size, taken(outbox)) == (0, b"")


def test_it_is_over_its_bound_only_past_it() -> None:
    outbox = Outbox(10, CODEC)
    outbox.push(b"x" * 10)
    assert not outbox.over(0)
    outbox.push(b"x")
    assert outbox.over(0)


def test_bytes_in_the_sockets_buffer_count_against_the_bound() -> None:
    outbox = Outbox(10, CODEC)
    outbox.push(b"x" * 6)
    assert not outbox.over(4)
    assert outbox.over(5)


@given(st.lists(st.binary(min_size=1, max_size=20) | st.none()))
def test_its_size_is_that_of_what_waits(steps: list[bytes | None]) -> None:
    """A frame is pushed, or (None) everything is taken: nothing is lost and nothing comes twice."""
    outbox, pushed, got = Outbox(10, CODEC), b"", b""
    for frame in steps:
        if frame is None:
            got += taken(outbox)
        else:
            outbox.push(frame)
            pushed += frame
        assert outbox.size == len(pushed) - len(got)
    assert got + taken(outbox) == pushed


# --- held events


class Lagging:
    """A client that reads nothing, with an outbox that holds what comes for it."""

    def __init__(self, *, limit: int = 1 << 30, lagging: bool = True) -> None:
        self.outbox = Outbox(limit, CODEC)
        self.rooms: dict[str, Subscription] = {}
        self.chains: dict[str, Chain] = {}
        self.got: list[dict[str, Any]] = []
        if lagging:
            self.outbox.conflate()

    def hold(self, *held: Event, room: str = "team:1") -> None:
        subscription = self.rooms.setdefault(room, a_subscription(room, cursor=held[0].prev))
        self.chains.setdefault(room, Chain(held[0].prev))
        for event in held:
            self.outbox.hold(Held(subscription, event, event.prev, "filtered"))

    def read(self, most: int | None = None) -> None:
        """Take what waits, or about the first `most` bytes of it."""
        frames: list[bytes] = []
        self.outbox.flush(frames.append, *(() if most is None else (most,)))
        for message in messages(b"".join(frames)):
            if "room" in message:
                self.chains[message["room"]].take(message)
            if message["type"] == "event":
                self.got.append(message)

    def offsets(self, room: str = "team:1") -> list[int]:
        self.read()
        return self.chains[room].offsets


def test_who_keeps_up_gets_every_value() -> None:
    client = Lagging(lagging=False)
    client.hold(progress(1), progress(2), progress(3))
    assert client.offsets() == [1, 2, 3]
    assert client.chains["team:1"].skipped == []


def test_while_the_client_lags_a_value_gives_way_to_the_newer_one() -> None:
    client = Lagging()
    client.hold(progress(1), progress(2), progress(3))
    assert client.offsets() == [3]
    assert client.chains["team:1"].skipped == [(1, 2, "conflated")]


def test_what_waits_when_the_client_begins_to_lag_gives_way_too() -> None:
    client = Lagging(lagging=False)
    client.hold(progress(1), an_event(2), progress(3))
    client.outbox.conflate()
    assert client.offsets() == [2, 3]


def test_a_batch_that_waits_when_the_client_begins_to_lag_comes_apart() -> None:
    client = Lagging(lagging=False)
    client.hold(progress(1))
    batch = Batch("team:1", [an_event(2), progress(3), progress(4)])
    client.outbox.hold_batch(HeldBatch(client.rooms["team:1"], batch, CODEC))
    client.outbox.conflate()
    assert client.offsets() == [2, 4]
    assert client.chains["team:1"].skipped == [(1, 1, "conflated"), (3, 3, "conflated")]


def test_values_of_other_rooms_kinds_and_keys_do_not_give_way() -> None:
    client = Lagging()
    client.hold(progress(1), progress(2, "copy"), an_event(3, "system"), an_event(4, "app.load", delivery="latest"))
    client.hold(progress(1), room="team:2")
    assert client.offsets() == [1, 2, 3, 4]
    assert client.offsets("team:2") == [1]


def test_a_value_that_is_to_be_kept_gives_way_to_nothing() -> None:
    client = Lagging()
    client.hold(an_event(1, "progress", delivery="keep"), progress(2), an_event(3, "progress", delivery="keep"))
    assert client.offsets() == [1, 2, 3]


def test_no_value_gives_way_past_a_session_event_of_its_room() -> None:
    """What came before `completed` may not seem to come after it."""
    client = Lagging()
    client.hold(progress(1), progress(2), an_event(3, "session"), progress(4), progress(5))
    assert client.offsets() == [2, 3, 5]


def test_a_session_event_of_another_room_is_no_barrier() -> None:
    client = Lagging()
    client.hold(progress(1))
    client.hold(an_event(1, "session"), room="team:2")
    client.hold(progress(2))
    assert client.offsets() == [2]
    assert client.offsets("team:2") == [1]


def test_ephemeral_events_are_dropped_while_the_client_lags_and_told_as_skipped() -> None:
    client = Lagging()
    client.hold(an_event(1), an_event(2, delivery="ephemeral"), an_event(3, delivery="ephemeral"), an_event(4))
    assert client.offsets() == [1, 4]
    assert client.chains["team:1"].skipped == [(2, 3, "conflated")]


def test_ephemeral_events_come_to_who_keeps_up() -> None:
    client = Lagging(lagging=False)
    client.hold(an_event(1, delivery="ephemeral"), an_event(2))
    assert client.offsets() == [1, 2]


def test_a_client_that_has_read_everything_keeps_up_again() -> None:
    client = Lagging()
    client.hold(progress(1), progress(2))
    client.read()
    client.hold(progress(3), progress(4))
    assert client.offsets() == [2, 3, 4]


def test_a_client_that_has_read_a_part_still_lags() -> None:
    client = Lagging()
    client.hold(an_event(1), progress(2), progress(3))
    client.read(most=1)
    client.hold(progress(4))
    assert client.offsets() == [1, 4]
    assert client.chains["team:1"].skipped == [(2, 3, "conflated")]


def test_a_marker_counts_as_waiting_so_that_it_is_sent() -> None:
    """It may be all that is left; the client must hear its position, and keeps up from then on."""
    client = Lagging()
    client.hold(an_event(1, delivery="ephemeral"))
    assert client.outbox.size > 0
    client.read()
    assert client.chains["team:1"].position == 1
    client.hold(progress(2), progress(3))
    assert client.offsets() == [2, 3]


def test_answers_keep_their_place_among_events() -> None:
    client = Lagging()
    client.hold(an_event(1))
    client.outbox.push(CODEC.encode(replies.Pong(id=7, time="")))
    client.hold(an_event(2))
    assert [message["type"] for message in messages(taken(client.outbox))] == ["event", "pong", "event"]


def test_what_waits_for_a_client_that_lags_is_bounded_by_its_keys() -> None:
    """100,000 progress updates of three keys, and what comes between them in order."""
    client = Lagging(limit=20_000)
    kept = {1: "session", 40_000: "alert", 70_000: "session"}
    values = [progress(1, key).draft for key in "abc"]
    largest = entries = 0
    for offset in range(1, 100_001):
        kind = kept.get(offset)
        draft = values[offset % 3] if kind is None else a_draft(kind)
        client.hold(Event(offset=offset, prev=offset - 1, draft=draft))
        largest, entries = max(largest, client.outbox.size), max(entries, len(client.outbox._entries))
    assert largest <= 20_000
    assert entries < 600
    assert client.offsets() == [1, 40_000, 69_997, 69_998, 69_999, 70_000, 99_998, 99_999, 100_000]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("event"),
                st.sampled_from(["team:1", "team:2"]),
                st.sampled_from(["progress", "system", "session", "app.thing", "ephemeral"]),
                st.sampled_from([None, "k"]),
            ),
            st.tuples(st.just("read"), st.none() | st.integers(1, 600)),
            st.tuples(st.just("lag")),
            st.tuples(st.just("answer")),
        ),
        max_size=60,
    )
)
def test_whatever_is_held_and_read_the_chain_is_whole_and_nothing_that_counts_is_missing(
    steps: list[tuple[Any, ...]],
) -> None:
    client = Lagging(lagging=False)
    sent: dict[str, list[Event]] = {"team:1": [], "team:2": []}
    for step in steps:
        if step[0] == "event":
            _, room, kind, key = step
            offset = len(sent[room]) + 1
            options = {"kind": "app.thing", "delivery": "ephemeral"} if kind == "ephemeral" else {"kind": kind}
            sent[room].append(an_event(offset, key=key, **options))
            client.hold(sent[room][-1], room=room)
        elif step[0] == "read":
            client.read(step[1])
        elif step[0] == "lag":
            client.outbox.conflate()
        else:
            client.outbox.push(CODEC.encode(replies.Pong(time="")))
        waiting = client.outbox._entries
        assert client.outbox.size == sum(len(each) if isinstance(each, bytes) else each.size for each in waiting)
        assert client.outbox.held == sum(not isinstance(each, bytes) for each in waiting)
    client.read()
    assert (client.outbox.size, client.outbox.held, client.outbox.conflating) == (0, 0, False)
    for room, chain in client.chains.items():
        assert chain.position == len(sent[room])
        for event in sent[room]:
            if event.offset not in chain.offsets:
                assert gave_way(event, sent[room]), event


def gave_way(event: Event, sent: list[Event]) -> bool:
    """Return whether the event may be missing where the client lagged."""
    if event.draft.delivery == "ephemeral":
        return True
    for newer in sent[event.offset :]:
        if newer.draft.kind == "session":
            return False
        if (newer.draft.kind, newer.draft.key) == (event.draft.kind, event.draft.key):
            return event.draft.delivery == "latest"
    return False


def test_values_that_have_left_are_not_remembered() -> None:
    """There may be any number of keys; what is remembered is what waits."""
    outbox = Outbox(1 << 20, CODEC)
    subscription = a_subscription()
    outbox.conflate()
    for offset in range(1, 200):
        event = an_event(offset, "progress", key=f"job-{offset}")
        outbox.hold(Held(subscription, event, event.prev, "filtered"))
        if offset % 10 == 0:
            outbox.flush(lambda _: None, 1000)
    assert outbox._latest is not None
    assert sum(map(len, outbox._latest.values())) == outbox.held
