"""Mailbox: what goes in comes out in order, once, and nobody who asked is left without an answer."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pykka
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pykka._envelope import Envelope

from actors.future import LoopFuture
from actors.loop import LoopActor
from actors.mailbox import Dispatcher, Exit, Mailbox

pytestmark = pytest.mark.usefixtures("nothing_left")


class Idler(LoopActor):
    """Answers what it gets with itself; fails on an exception."""

    def on_receive(self, message: object) -> object:
        if isinstance(message, Exception):
            raise message
        return message


@pytest.fixture
def idle_dispatcher() -> Iterator[Dispatcher]:
    """The dispatcher of a loop that does not run: nothing is taken behind the test's back."""
    loop = asyncio.new_event_loop()
    yield Dispatcher(loop)
    loop.close()


@pytest.fixture
def mailbox(idle_dispatcher: Dispatcher) -> Mailbox:
    return Mailbox(idle_dispatcher, name="box")


def fill(mailbox: Mailbox, *messages: object) -> None:
    for message in messages:
        mailbox.put_here(Envelope(message))


def messages(envelopes: list[Envelope[object]]) -> list[object]:
    return [envelope.message for envelope in envelopes]


# --- order


def test_a_new_mailbox_is_empty(mailbox: Mailbox) -> None:
    assert mailbox.empty()
    assert len(mailbox) == 0
    assert mailbox.take(5) == []


def test_letters_are_taken_in_the_order_they_came(mailbox: Mailbox) -> None:
    fill(mailbox, 1, 2, 3)
    assert messages(mailbox.take(3)) == [1, 2, 3]
    assert mailbox.empty()


def test_no_more_are_taken_than_asked_for(mailbox: Mailbox) -> None:
    fill(mailbox, 1, 2, 3)
    assert messages(mailbox.take(2)) == [1, 2]
    assert len(mailbox) == 1


def test_no_more_are_taken_than_there_are(mailbox: Mailbox) -> None:
    fill(mailbox, 1)
    assert messages(mailbox.take(100)) == [1]


def test_what_comes_after_a_take_is_not_in_it(mailbox: Mailbox) -> None:
    fill(mailbox, 1)
    taken = mailbox.take(10)
    fill(mailbox, 2)
    assert messages(taken) == [1]
    assert messages(mailbox.take(10)) == [2]


def test_what_is_put_back_comes_before_what_came_meanwhile(mailbox: Mailbox) -> None:
    fill(mailbox, 1, 2, 3, 4)
    taken = mailbox.take(3)
    fill(mailbox, 5)
    mailbox.put_back(taken[1:])
    assert messages(mailbox.take(10)) == [2, 3, 4, 5]


def test_putting_nothing_back_changes_nothing(mailbox: Mailbox) -> None:
    fill(mailbox, 1, 2)
    mailbox.take(1)
    mailbox.put_back([])
    assert messages(mailbox.take(10)) == [2]


def test_get_takes_the_first_letter(mailbox: Mailbox) -> None:
    fill(mailbox, 1, 2)
    assert mailbox.get().message == 1
    assert len(mailbox) == 1


def test_letters_that_were_taken_are_not_kept(mailbox: Mailbox) -> None:
    class Letter:
        pass

    letters = [Letter() for _ in range(100)]
    traces = [weakref.ref(letter) for letter in letters]
    fill(mailbox, *letters)
    del letters
    mailbox.take(99)
    gc.collect()
    assert sum(trace() is not None for trace in traces) == 1


# --- the end


def test_closing_answers_who_asked_with_actor_dead_error(mailbox: Mailbox) -> None:
    reply = LoopFuture[object]()
    mailbox.put_here(Envelope("question", reply_to=reply))
    mailbox.close()
    with pytest.raises(pykka.ActorDeadError, match="box"):
        reply.get(timeout=0)


def test_closing_drops_what_was_told(mailbox: Mailbox) -> None:
    fill(mailbox, 1, 2)
    mailbox.close()
    assert mailbox.empty()


def test_a_closed_mailbox_answers_an_ask_with_actor_dead_error(mailbox: Mailbox) -> None:
    mailbox.close()
    reply = LoopFuture[object]()
    mailbox.put_here(Envelope("question", reply_to=reply))
    with pytest.raises(pykka.ActorDeadError):
        reply.get(timeout=0)


def test_a_closed_mailbox_drops_what_it_is_told_without_a_word(mailbox: Mailbox) -> None:
    mailbox.close()
    fill(mailbox, 1)
    assert mailbox.closed
    assert mailbox.empty()


def test_a_mailbox_can_be_closed_twice(mailbox: Mailbox) -> None:
    mailbox.close()
    mailbox.close()
    assert mailbox.closed


# --- who lives there


async def test_an_actor_occupies_its_mailbox_until_it_stops() -> None:
    mailbox = Mailbox()
    assert not mailbox.occupied
    ref = Idler.start(mailbox=mailbox)
    assert mailbox.occupied
    await ref.stop(block=False)
    assert not mailbox.occupied
    assert mailbox.closed


async def test_a_mailbox_that_is_taken_refuses_a_second_actor() -> None:
    mailbox = Mailbox()
    first = Idler.start(mailbox=mailbox)
    with pytest.raises(RuntimeError, match="taken"):
        Idler.start(mailbox=mailbox)
    await first.stop(block=False)


async def test_a_refused_actor_is_not_left_in_the_registry() -> None:
    mailbox = Mailbox()
    first = Idler.start(mailbox=mailbox)
    with pytest.raises(RuntimeError):
        Idler.start(mailbox=mailbox)
    assert pykka.ActorRegistry.get_all() == [first]
    assert first.is_alive()
    await first.stop(block=False)


async def test_a_closed_mailbox_refuses_an_actor() -> None:
    mailbox = Mailbox()
    mailbox.close()
    with pytest.raises(RuntimeError, match="closed"):
        Idler.start(mailbox=mailbox)


async def test_messages_wait_for_the_first_actor() -> None:
    mailbox = Mailbox()
    reply = mailbox.ask("early")
    ref = Idler.start(mailbox=mailbox)
    assert await reply == "early"
    await ref.stop(block=False)


async def test_messages_stay_in_a_mailbox_whose_actor_failed() -> None:
    mailbox = Mailbox()
    exits = asyncio.Queue[Exit]()
    mailbox.monitor = exits.put_nowait
    Idler.start(mailbox=mailbox)
    for message in (ValueError("poison"), "waits", "too"):
        mailbox.tell(message)
    assert (await exits.get()).depth == 2
    assert not mailbox.occupied
    assert messages(mailbox.take(10)) == ["waits", "too"]


async def test_asking_a_mailbox_asks_whoever_lives_there() -> None:
    mailbox = Mailbox()
    ref = Idler.start(mailbox=mailbox)
    assert await mailbox.ask("question") == "question"
    await ref.stop(block=False)


async def test_asking_a_mailbox_from_another_thread_can_wait_there() -> None:
    mailbox = Mailbox()
    ref = Idler.start(mailbox=mailbox)
    assert await asyncio.to_thread(lambda: mailbox.ask("question").get(timeout=5)) == "question"
    await ref.stop(block=False)


async def test_asking_a_closed_mailbox_raises_at_who_awaits() -> None:
    mailbox = Mailbox()
    mailbox.close()
    with pytest.raises(pykka.ActorDeadError):
        await mailbox.ask("anybody?")


async def test_stopping_a_mailbox_stops_its_actor_after_what_waits() -> None:
    mailbox = Mailbox()
    exits = asyncio.Queue[Exit]()
    mailbox.monitor = exits.put_nowait
    Idler.start(mailbox=mailbox)
    reply = mailbox.ask("before")
    mailbox.stop()
    assert (await exits.get()).cause is None
    assert await reply == "before"


def test_stopping_a_mailbox_in_which_nobody_lives_does_nothing(mailbox: Mailbox) -> None:
    mailbox.stop()
    assert mailbox.empty()


async def test_repr_names_the_mailbox_its_actor_and_what_waits() -> None:
    mailbox = Mailbox(name="desk")
    assert repr(mailbox) == "<Mailbox desk of nobody, 0 waiting>"
    ref = Idler.start(mailbox=mailbox)
    mailbox.tell(1)
    assert repr(mailbox) == f"<Mailbox desk of {ref}, 1 waiting>"
    await ref.stop(block=False)


# --- threads and loops


async def test_messages_put_in_by_another_thread_arrive_in_order() -> None:
    mailbox = Mailbox()

    def tell_all() -> None:
        for number in range(1_000):
            mailbox.tell(number)

    await asyncio.to_thread(tell_all)
    assert messages(mailbox.take(2_000)) == list(range(1_000))


def test_a_mailbox_without_a_loop_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"mailbox=Mailbox\(dispatcher\)"):
        Mailbox()


def test_messages_put_in_before_the_loop_first_runs_arrive(idle_dispatcher: Dispatcher, mailbox: Mailbox) -> None:
    mailbox.tell("early")
    idle_dispatcher.loop.run_until_complete(asyncio.sleep(0))
    assert messages(mailbox.take(10)) == ["early"]


@pytest.mark.parametrize("attempt", ["first", "second"])
def test_telling_a_mailbox_of_a_closed_loop_raises_each_time(
    idle_dispatcher: Dispatcher, mailbox: Mailbox, attempt: str
) -> None:
    idle_dispatcher.loop.close()
    if attempt == "second":
        with pytest.raises(pykka.ActorDeadError):
            mailbox.tell(1)
    with pytest.raises(pykka.ActorDeadError):
        mailbox.tell(2)


async def test_one_loop_has_one_dispatcher() -> None:
    first, second = Mailbox(), Mailbox()
    assert first._dispatcher is second._dispatcher is Dispatcher.current()


def test_a_dispatcher_does_not_keep_its_closed_loop_alive() -> None:
    async def live() -> weakref.ref[asyncio.AbstractEventLoop]:
        ref = Idler.start()
        await ref.ask("work", block=False)
        await ref.stop(block=False)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(live())
    gc.collect()
    assert loop() is None


# --- against a list


class MailboxMachine(RuleBasedStateMachine):
    """A mailbox does what a plain list would do, whatever the order of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.mailbox = Mailbox(Dispatcher(self.loop))
        self.model: list[Envelope[int]] = []
        self.taken: list[Envelope[int]] = []
        self.number = 0

    def envelope(self, asked: bool) -> Envelope[int]:
        self.number += 1
        return Envelope(self.number, reply_to=LoopFuture() if asked else None)

    @rule(asked=st.lists(st.booleans(), min_size=1, max_size=20))
    def put(self, asked: list[bool]) -> None:
        for each in asked:
            envelope = self.envelope(each)
            self.mailbox.put_here(envelope)
            if self.mailbox.closed:
                assert envelope.reply_to is None or is_rejected(envelope)
            else:
                self.model.append(envelope)

    @rule(most=st.integers(0, 25))
    def take(self, most: int) -> None:
        self.taken = self.mailbox.take(most)
        assert self.taken == self.model[:most]
        del self.model[:most]

    @precondition(lambda self: self.taken and not self.mailbox.closed)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        handled = data.draw(st.integers(0, len(self.taken)))
        unhandled = self.taken[handled:]
        self.mailbox.put_back(unhandled)
        self.model[:0] = unhandled
        self.taken = []

    @precondition(lambda self: self.model)
    @rule()
    def get(self) -> None:
        self.taken = []
        assert self.mailbox.get() is self.model.pop(0)

    @rule(really=st.sampled_from([True] + [False] * 9))
    def close(self, really: bool) -> None:
        if really:
            self.mailbox.close()
            assert all(is_rejected(envelope) for envelope in self.model if envelope.reply_to is not None)
            self.model.clear()

    @invariant()
    def as_many_wait_as_in_the_list(self) -> None:
        assert len(self.mailbox) == len(self.model)
        assert self.mailbox.empty() == (not self.model)

    def teardown(self) -> None:
        assert self.mailbox.take(len(self.model)) == self.model
        self.loop.close()


def is_rejected(envelope: Envelope[int]) -> bool:
    assert envelope.reply_to is not None
    with pytest.raises((pykka.ActorDeadError, pykka.Timeout)) as outcome:
        envelope.reply_to.get(timeout=0)
    return outcome.type is pykka.ActorDeadError


TestMailboxMachine = MailboxMachine.TestCase
TestMailboxMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
