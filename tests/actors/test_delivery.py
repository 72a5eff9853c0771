"""Delivery: whatever batches come, in whatever order, what the client is told is a whole chain."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.batch import Batch
from actors.delivery import deliver, expire
from actors.events import Event
from actors.history import History
from actors.outbox import Outbox
from server.protocols.native import NativeCodec

from .chain import Chain
from .making import a_subscription, an_event, events, progress, taken

ROOM = "team:1"
CODEC = NativeCodec()


class Client:
    """A subscription at `cursor` with what its client hears."""

    def __init__(self, cursor: int = 0, kinds: frozenset[str] | None = None) -> None:
        self.subscription = a_subscription(ROOM, cursor=cursor, kinds=kinds)
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


def test_the_next_batch_is_told_in_one_piece() -> None:
    client = Client(3)
    assert client.deliver(events(4, 6))
    assert client.chain.offsets == [4, 5, 6]
    assert client.subscription.cursor == 6


def test_a_batch_is_encoded_once_for_all_clients() -> None:
    batch = Batch(ROOM, events(1, 2))
    first, second = Outbox(1000, CODEC), Outbox(1000, CODEC)
    for outbox in (first, second):
        deliver(Client().subscription, batch, CODEC, outbox)
    assert taken(first) is taken(second)


def test_a_batch_that_came_before_is_dropped() -> None:
    client = Client(6)
    assert client.deliver(events(4, 6))
    assert client.chain.offsets == []
    assert client.subscription.cursor == 6


def test_of_a_batch_that_overlaps_only_the_new_part_is_told() -> None:
    client = Client(5)
    assert client.deliver(events(4, 7))
    assert client.chain.offsets == [6, 7]


def test_a_batch_after_a_gap_is_refused_and_nothing_is_told() -> None:
    client = Client(3)
    assert not client.deliver(events(5, 6))
    assert client.chain.offsets == []
    assert client.subscription.cursor == 3


def test_a_gap_is_refused_with_a_filter_too() -> None:
    client = Client(3, frozenset({"app.thing"}))
    assert not client.deliver(events(5, 6))
    assert client.subscription.cursor == 3


def test_filtered_events_are_told_as_skipped_before_the_next_wanted_one() -> None:
    client = Client(0, frozenset({"alert"}))
    client.deliver([an_event(1), an_event(2), an_event(3, "alert"), an_event(4)])
    assert client.chain.offsets == [3]
    assert client.chain.skipped == [(1, 2, "filtered")]
    assert client.subscription.cursor == 4


def test_markers_join_over_batches() -> None:
    client = Client(0, frozenset({"alert"}))
    client.deliver(events(1, 2))
    client.deliver(events(3, 4))
    client.deliver([an_event(5, "alert")])
    assert client.chain.skipped == [(1, 4, "filtered")]


def test_a_client_that_wants_nothing_of_many_events_hears_its_position_now_and_then() -> None:
    client = Client(0, frozenset({"alert"}))
    client.deliver(events(1, 256))
    assert client.chain.skipped == []
    client.deliver(events(257, 257))
    assert client.chain.skipped == [(1, 257, "filtered")]


def test_expired_events_are_told_as_skipped() -> None:
    client = Client(3)
    client.expire(7)
    assert client.chain.skipped == [(4, 7, "expired")]
    assert client.deliver(events(8, 8))
    assert client.chain.offsets == [8]


def test_what_expired_behind_the_cursor_is_no_news() -> None:
    client = Client(7)
    client.expire(7)
    client.expire(3)
    assert client.chain.skipped == []
    assert client.subscription.cursor == 7


def test_events_filtered_before_a_gap_belong_to_its_marker() -> None:
    client = Client(0, frozenset({"alert"}))
    client.deliver(events(1, 2))
    client.expire(5)
    assert client.chain.skipped == [(1, 5, "expired")]


# --- held for a client that does not read


class Waiting(Client):
    """A client whose events are held, until it reads."""

    def take(self, batch: Batch) -> bool:
        return deliver(self.subscription, batch, CODEC, self.outbox, hold=True)

    def expire(self, to: int) -> None:
        expire(self.subscription, to, CODEC, self.outbox, hold=True)

    def read(self) -> Chain:
        self._listen()
        return self.chain


def test_what_is_held_moves_the_cursor_and_not_the_clients_position() -> None:
    client = Waiting()
    assert client.deliver(events(1, 3))
    assert (client.subscription.cursor, client.subscription.told) == (3, 0)
    assert client.read().offsets == [1, 2, 3]
    assert client.subscription.told == 3


def test_batches_that_follow_each_other_are_held_as_they_are() -> None:
    """Else each of a thousand clients that wait would encode them for itself."""
    batch = Batch(ROOM, events(1, 3))
    clients = Waiting(), Waiting()
    for client in clients:
        client.take(batch)
    assert taken(clients[0].outbox) is taken(clients[1].outbox)


def test_of_a_page_only_the_last_values_come_and_markers_say_why() -> None:
    page = Batch(ROOM, [progress(4), an_event(6), an_event(9)], {4: "conflated", 9: "expired"})
    for client in (Client(2), Waiting(2)):
        assert client.take(page)
        chain = client.read() if isinstance(client, Waiting) else client.chain
        assert chain.offsets == [4, 6, 9]
        assert chain.skipped == [(3, 3, "conflated"), (5, 5, "expired"), (7, 8, "expired")]


def test_a_page_that_overlaps_what_came_live_goes_on_after_it() -> None:
    """The gap before its first event reaches further back than the client is by now."""
    client = Client(2)
    client.deliver(events(3, 4))
    assert client.take(Batch(ROOM, [an_event(8)], {8: "conflated"}))
    assert client.chain.offsets == [3, 4, 8]
    assert client.chain.skipped == [(5, 7, "conflated")]


def test_a_filter_and_a_gap_make_one_marker_for_a_client_that_waits() -> None:
    client = Waiting(0, frozenset({"alert"}))
    client.deliver(events(1, 3))
    client.expire(5)
    client.deliver([an_event(6), an_event(7, "alert")])
    assert client.read().offsets == [7]
    assert client.read().skipped == [(1, 6, "expired")]


def test_while_it_lags_a_client_with_a_filter_gets_its_last_values() -> None:
    client = Waiting(0, frozenset({"progress"}))
    client.outbox.conflate()
    client.deliver([progress(1), an_event(2), progress(3), an_event(4)])
    assert client.read().offsets == [3]
    assert client.read().position == 3
    assert client.subscription.cursor == 4


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
    client = Client(room[start].prev, kinds)
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
