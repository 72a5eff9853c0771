"""Delivery: whatever batches come, in whatever order, what the client is told is a whole chain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.batch import Batch
from actors.delivery import deliver, expire
from actors.events import Event
from actors.history import History
from actors.mailbox import Dispatcher, Mailbox
from actors.outbox import Outbox
from actors.subscription import Subscription
from server.protocols.native import NativeCodec

from .chain import Chain
from .making import an_event, events, taken

ROOM = "team:1"
CODEC = NativeCodec()


class Client:
    """A subscription at `cursor` with what its client hears."""

    def __init__(self, mailbox: Mailbox, cursor: int = 0, kinds: frozenset[str] | None = None) -> None:
        self.subscription = Subscription(
            room=ROOM,
            room_mailbox=mailbox,
            connection="c",
            mailbox=mailbox,
            user="ann",
            kinds=kinds,
            cursor=cursor,
            by_owner=False,
            epoch="e",
            conflate_to=0,
        )
        self.outbox = Outbox(1 << 30, CODEC)
        self.chain = Chain(cursor)

    def deliver(self, held: list[Event]) -> bool:
        return self.take(Batch(ROOM, held))

    def take(self, batch: Batch) -> bool:
        taken = deliver(self.subscription, batch, CODEC, self.outbox)
        self._listen()
        return taken

    def expire(self, to: int) -> None:
        expire(self.subscription, to, CODEC, self.outbox)
        self._listen()

    def _listen(self) -> None:
        self.chain.take_all(taken(self.outbox))
        assert self.chain.position == self.subscription.told


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    loop = asyncio.new_event_loop()
    yield Mailbox(Dispatcher(loop))
    loop.close()


def test_the_next_batch_is_told_in_one_piece(mailbox: Mailbox) -> None:
    client = Client(mailbox, 3)
    assert client.deliver(events(4, 6))
    assert client.chain.offsets == [4, 5, 6]
    assert client.subscription.cursor == 6


def test_a_batch_is_encoded_once_for_all_clients(mailbox: Mailbox) -> None:
    batch = Batch(ROOM, events(1, 2))
    first, second = Outbox(1000, CODEC), Outbox(1000, CODEC)
    for outbox in (first, second):
        deliver(Client(mailbox).subscription, batch, CODEC, outbox)
    assert taken(first) is taken(second)


def test_a_batch_that_came_before_is_dropped(mailbox: Mailbox) -> None:
    client = Client(mailbox, 6)
    assert client.deliver(events(4, 6))
    assert client.chain.offsets == []
    assert client.subscription.cursor == 6


def test_of_a_batch_that_overlaps_only_the_new_part_is_told(mailbox: Mailbox) -> None:
    client = Client(mailbox, 5)
    assert client.deliver(events(4, 7))
    assert client.chain.offsets == [6, 7]


def test_a_batch_after_a_gap_is_refused_and_nothing_is_told(mailbox: Mailbox) -> None:
    client = Client(mailbox, 3)
    assert not client.deliver(events(5, 6))
    assert client.chain.offsets == []
    assert client.subscription.cursor == 3


def test_a_gap_is_refused_with_a_filter_too(mailbox: Mailbox) -> None:
    client = Client(mailbox, 3, frozenset({"app.thing"}))
    assert not client.deliver(events(5, 6))
    assert client.subscription.cursor == 3


def test_filtered_events_are_told_as_skipped_before_the_next_wanted_one(mailbox: Mailbox) -> None:
    client = Client(mailbox, 0, frozenset({"alert"}))
    client.deliver([an_event(1), an_event(2), an_event(3, "alert"), an_event(4)])
    assert client.chain.offsets == [3]
    assert client.chain.skipped == [(1, 2, "filtered")]
    assert client.subscription.cursor == 4


def test_markers_join_over_batches(mailbox: Mailbox) -> None:
    client = Client(mailbox, 0, frozenset({"alert"}))
    client.deliver(events(1, 2))
    client.deliver(events(3, 4))
    client.deliver([an_event(5, "alert")])
    assert client.chain.skipped == [(1, 4, "filtered")]


def test_a_client_that_wants_nothing_of_many_events_hears_its_position_now_and_then(mailbox: Mailbox) -> None:
    client = Client(mailbox, 0, frozenset({"alert"}))
    client.deliver(events(1, 256))
    assert client.chain.skipped == []
    client.deliver(events(257, 257))
    assert client.chain.skipped == [(1, 257, "filtered")]


def test_expired_events_are_told_as_skipped(mailbox: Mailbox) -> None:
    client = Client(mailbox, 3)
    client.expire(7)
    assert client.chain.skipped == [(4, 7, "expired")]
    assert client.deliver(events(8, 8))
    assert client.chain.offsets == [8]


def test_what_expired_behind_the_cursor_is_no_news(mailbox: Mailbox) -> None:
    client = Client(mailbox, 7)
    client.expire(7)
    client.expire(3)
    assert client.chain.skipped == []
    assert client.subscription.cursor == 7


def test_events_filtered_before_a_gap_belong_to_its_marker(mailbox: Mailbox) -> None:
    client = Client(mailbox, 0, frozenset({"alert"}))
    client.deliver(events(1, 2))
    client.expire(5)
    assert client.chain.skipped == [(1, 5, "expired")]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), st.integers(0, 30), st.integers(1, 10)),
        st.tuples(st.just("page"), st.just(0), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 10), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(
    alerts=st.lists(st.booleans(), min_size=40, max_size=40),
    strides=st.lists(st.integers(1, 3), min_size=40, max_size=40),
    kinds=st.none() | st.just(frozenset({"alert"})) | st.just(frozenset({"system"})),
    start=st.integers(0, 10),
    steps=STEPS,
)
def test_whatever_the_batches_are_the_client_is_told_a_whole_chain(
    mailbox: Mailbox,
    alerts: list[bool],
    strides: list[int],
    kinds: frozenset[str] | None,
    start: int,
    steps: list[tuple[str, int, int]],
) -> None:
    """Batches late, twice, out of order or lost, history that goes; at the end a page brings what is left."""
    room: list[Event] = []
    top = 0
    for is_alert, stride in zip(alerts, strides, strict=True):
        room.append(an_event(top + stride, "alert" if is_alert else "app.thing", prev=top))
        top += stride
    client = Client(mailbox, room[start].prev, kinds)
    history = History(ROOM, room, gone=0, lost=0, most=1000, age_s=600.0)
    dropped = 0
    for what, number, count in steps:
        before = client.subscription.cursor
        if what == "batch":
            batch = room[number : number + count]
            if not client.deliver(batch):
                assert batch[0].prev > before
                assert client.subscription.cursor == before
        elif what == "drop":
            number = min(number, len(history))
            history.drop(number, ())
            dropped += number
        else:
            take_page(client, history, top)
        assert client.subscription.cursor >= before
    while client.subscription.cursor < top:
        take_page(client, history, top)
    wanted = [event.offset for event in room[start:] if kinds is None or event.draft.kind in kinds]
    assert client.chain.offsets == [offset for offset in wanted if offset in set(client.chain.offsets)]
    unheard = set(wanted) - set(client.chain.offsets)
    assert all(any(first <= offset <= last for first, last, _ in client.chain.skipped) for offset in unheard)
    assert not unheard & {event.offset for event in room[dropped:]}, "held events were left out"


def take_page(client: Client, history: History, top: int) -> None:
    """Do what a connection does with the answer to `Attach`."""
    page, _ = history.page(client.subscription.cursor)
    if page is None:
        client.expire(top)
    else:
        assert client.take(page)
