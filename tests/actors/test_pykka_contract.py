"""What pykka documents about actors holds for `LoopActor` as it does for pykka's own `ThreadingActor`."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest
from pykka import ActorDeadError, ActorRegistry

from actors.loop import LoopActor
from actors.mailbox import Dispatcher, Mailbox

pytestmark = pytest.mark.usefixtures("nothing_left")

WAIT_S = 5.0


class Boom(Exception):
    """What the actors raise."""


@pytest.fixture(params=["ThreadingActor", "LoopActor"])
def base(request: pytest.FixtureRequest) -> Iterator[type[pykka.Actor]]:
    """The actor type under test; what it starts is stopped afterwards."""
    if request.param == "ThreadingActor":

        class Thread(pykka.ThreadingActor):
            use_daemon_thread = True

        yield Thread
    else:
        dispatcher: Dispatcher = request.getfixturevalue("dispatcher")

        class Loop(LoopActor):
            @staticmethod
            def _create_actor_inbox() -> Mailbox:
                return Mailbox(dispatcher)

        yield Loop
    ActorRegistry.stop_all(timeout=WAIT_S)


@pytest.fixture
def subject(base: type[pykka.Actor], diary: Any) -> type[Any]:
    """An actor class that writes its life into the diary, runs a message that can be called, and echoes others."""

    class Playback:
        state = "paused"

        def play(self) -> str:
            self.state = "playing"
            return self.state

    class Subject(base):  # type: ignore[misc, valid-type]  # the base is the parameter
        colour = "blue"

        def __init__(self, *, fail_in: str = "", colour: str = "blue") -> None:
            super().__init__()
            self._fail_in = fail_in
            self.colour = colour
            self.playback = pykka.traversable(Playback())

        def on_start(self) -> None:
            self._hook("on_start")

        def on_stop(self) -> None:
            self._hook("on_stop")

        def on_failure(self, kind: object, value: object, traceback: object) -> None:
            diary.write(("failure", kind, value, traceback is not None))
            self._hook("on_failure")

        def on_receive(self, message: Any) -> Any:
            if callable(message):
                return message(self)
            diary.write(message)
            return message

        def join_words(self, *words: str, separator: str = " ") -> str:
            return separator.join(words)

        def fail(self) -> None:
            raise Boom("on request")

        @property
        def guarded(self) -> str:
            raise Boom("not readable")

        @guarded.setter
        def guarded(self, value: str) -> None:
            raise Boom(f"not {value}")

        def _hook(self, name: str) -> None:
            diary.write(name)
            if self._fail_in == name:
                raise Boom(name)

    return Subject


class Gate:
    """Holds an actor until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, _actor: object) -> str:
        self.reached.set()
        assert self.opened.wait(WAIT_S)
        return "passed"

    def hold(self, ref: pykka.ActorRef[Any]) -> None:
        ref.tell(self)
        assert self.reached.wait(WAIT_S)

    def open(self) -> None:
        self.opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def fail(_actor: object) -> None:
    raise Boom("told to")


def live_and_fail(ref: pykka.ActorRef[Any], gate: Gate) -> None:
    """Let the actor fail and return at the very end of its life, when it answered who still waits."""
    gate.hold(ref)
    ref.tell(fail)
    left = ref.ask("left", block=False)
    gate.open()
    with pytest.raises(ActorDeadError):
        left.get(timeout=WAIT_S)


# --- start


def test_start_returns_a_reference_to_a_living_actor(subject: type[Any]) -> None:
    ref = subject.start()
    assert isinstance(ref, pykka.ActorRef)
    assert ref.is_alive()
    assert ref.actor_class is subject


def test_start_registers_the_actor(subject: type[Any]) -> None:
    ref = subject.start()
    assert ActorRegistry.get_all() == [ref]


def test_start_hands_its_arguments_to_the_constructor(subject: type[Any]) -> None:
    ref = subject.start(colour="green")
    assert ref.ask(lambda actor: actor.colour, timeout=WAIT_S) == "green"


def test_a_failing_constructor_registers_nothing(subject: type[Any]) -> None:
    with pytest.raises(TypeError):
        subject.start(unknown=True)
    assert ActorRegistry.get_all() == []


def test_each_actor_has_a_urn_of_its_own(subject: type[Any]) -> None:
    urns = {subject.start().actor_urn for _ in range(5)}
    assert len(urns) == 5
    assert all(urn.startswith("urn:uuid:") for urn in urns)


def test_actor_and_reference_know_each_other(subject: type[Any]) -> None:
    ref = subject.start()
    urn, own_ref = ref.ask(lambda actor: (actor.actor_urn, actor.actor_ref), timeout=WAIT_S)
    assert urn == ref.actor_urn
    assert own_ref is ref


def test_an_actor_is_named_by_class_and_urn(subject: type[Any]) -> None:
    ref = subject.start()
    assert ref.ask(str, timeout=WAIT_S) == f"Subject ({ref.actor_urn})"


def test_a_reference_is_named_by_class_and_urn(subject: type[Any]) -> None:
    ref = subject.start()
    assert str(ref) == f"Subject ({ref.actor_urn})"
    assert repr(ref) == f"<ActorRef for Subject ({ref.actor_urn})>"


# --- tell and ask


def test_told_messages_are_handled_in_order(subject: type[Any], diary: Any) -> None:
    ref = subject.start()
    for number in range(100):
        ref.tell(number)
    diary.wait_for(99)
    assert diary.entries == ["on_start", *range(100)]


def test_tell_returns_nothing(subject: type[Any]) -> None:
    assert subject.start().tell("message") is None


def test_ask_returns_the_reply(subject: type[Any]) -> None:
    assert subject.start().ask("echo", timeout=WAIT_S) == "echo"


def test_a_handler_that_returns_nothing_replies_none(subject: type[Any]) -> None:
    assert subject.start().ask(lambda actor: None, timeout=WAIT_S) is None


def test_ask_without_blocking_returns_a_future(subject: type[Any]) -> None:
    future = subject.start().ask("echo", block=False)
    assert isinstance(future, pykka.Future)
    assert future.get(timeout=WAIT_S) == "echo"


def test_ask_raises_timeout_when_no_reply_comes(subject: type[Any], gate: Gate) -> None:
    ref = subject.start()
    gate.hold(ref)
    with pytest.raises(pykka.Timeout):
        ref.ask("echo", timeout=0.01)


def test_an_exception_that_answers_an_ask_is_raised_at_the_caller(subject: type[Any]) -> None:
    with pytest.raises(Boom, match="told to"):
        subject.start().ask(fail, timeout=WAIT_S)


def test_an_exception_that_answers_an_ask_waits_in_the_future(subject: type[Any]) -> None:
    future = subject.start().ask(fail, block=False)
    with pytest.raises(Boom, match="told to"):
        future.get(timeout=WAIT_S)


def test_an_exception_that_answers_an_ask_does_not_kill(subject: type[Any], diary: Any) -> None:
    ref = subject.start()
    with pytest.raises(Boom):
        ref.ask(fail, timeout=WAIT_S)
    assert ref.ask("alive", timeout=WAIT_S) == "alive"
    assert diary.entries == ["on_start", "alive"]


def test_an_exception_that_answers_an_ask_is_logged_as_information(subject: type[Any], pykka_log: Any) -> None:
    ref = subject.start()
    ref.ask(fail, block=False)
    pykka_log.wait_for(("INFO", f"Exception returned from {ref} to caller:", "Boom('told to')"))


async def test_a_reply_can_be_awaited_on_another_event_loop(subject: type[Any]) -> None:
    assert await subject.start().ask("echo", block=False) == "echo"


async def test_an_exception_can_be_awaited_on_another_event_loop(subject: type[Any]) -> None:
    with pytest.raises(Boom):
        await subject.start().ask(fail, block=False)


def test_a_message_that_nobody_handles_is_logged_as_a_warning(base: type[Any], pykka_log: Any) -> None:
    ref = base.start()
    assert ref.ask("what?", timeout=WAIT_S) is None
    pykka_log.wait_for(("WARNING", f"Unexpected message received by {ref}: what?", ""))


# --- failure


def test_an_exception_in_a_told_message_stops_the_actor(subject: type[Any]) -> None:
    ref = subject.start()
    ref.tell(fail)
    assert ref.actor_stopped.wait(WAIT_S)
    assert not ref.is_alive()


def test_an_exception_in_a_told_message_unregisters_the_actor(subject: type[Any]) -> None:
    ref = subject.start()
    ref.tell(fail)
    assert ref.actor_stopped.wait(WAIT_S)
    assert ActorRegistry.get_all() == []


def test_an_exception_in_a_told_message_is_logged_as_an_error(subject: type[Any], pykka_log: Any) -> None:
    ref = subject.start()
    ref.tell(fail)
    pykka_log.wait_for(("ERROR", f"Unhandled exception in {ref}:", "Boom('told to')"))


def test_on_failure_is_called_with_the_exception(subject: type[Any], diary: Any) -> None:
    error = Boom("this one")

    def fail_with_it(_actor: object) -> None:
        raise error

    subject.start().tell(fail_with_it)
    diary.wait_for(("failure", Boom, error, True))


def test_on_failure_is_called_after_the_actor_is_unregistered(subject: type[Any], diary: Any) -> None:
    class Looker(subject):  # type: ignore[misc]  # the base is a parameter
        def on_failure(self, *_exc_info: object) -> None:
            diary.write(("registered", ActorRegistry.get_by_urn(self.actor_urn)))

    Looker.start().tell(fail)
    diary.wait_for(("registered", None))


def test_on_stop_is_not_called_after_a_failure(subject: type[Any], diary: Any, gate: Gate) -> None:
    live_and_fail(subject.start(), gate)
    assert [entry for entry in diary.entries if isinstance(entry, str)] == ["on_start", "on_failure"]


def test_no_message_is_handled_after_a_failure(subject: type[Any], diary: Any, gate: Gate) -> None:
    live_and_fail(subject.start(), gate)
    assert "left" not in diary.entries


def test_a_failing_on_failure_is_logged_and_the_actor_ends(subject: type[Any], pykka_log: Any, gate: Gate) -> None:
    ref = subject.start(fail_in="on_failure")
    live_and_fail(ref, gate)
    assert ("ERROR", f"Unhandled exception in {ref}:", "Boom('on_failure')") in pykka_log.entries
    assert ActorRegistry.get_all() == []


def test_one_actors_failure_leaves_others_running(subject: type[Any], gate: Gate) -> None:
    other = subject.start()
    live_and_fail(subject.start(), gate)
    assert other.ask("alive", timeout=WAIT_S) == "alive"


# --- on_start


def test_on_start_runs_before_the_first_message(subject: type[Any], diary: Any) -> None:
    subject.start().ask("first", timeout=WAIT_S)
    assert diary.entries == ["on_start", "first"]


def test_a_failing_on_start_stops_and_unregisters_the_actor(subject: type[Any]) -> None:
    ref = subject.start(fail_in="on_start")
    assert ref.actor_stopped.wait(WAIT_S)
    assert ActorRegistry.get_all() == []


def test_a_failing_on_start_is_logged_as_an_error(subject: type[Any], pykka_log: Any) -> None:
    ref = subject.start(fail_in="on_start")
    pykka_log.wait_for(("ERROR", f"Unhandled exception in {ref}:", "Boom('on_start')"))


def test_a_failing_on_start_calls_no_other_hook(subject: type[Any], diary: Any) -> None:
    class HeldAtStart(subject):  # type: ignore[misc]  # the base is a parameter
        def on_start(self) -> None:
            assert asked.wait(WAIT_S)
            super().on_start()

    asked = threading.Event()
    ref = HeldAtStart.start(fail_in="on_start")
    left = ref.ask("left", block=False)
    asked.set()
    with pytest.raises(ActorDeadError):
        left.get(timeout=WAIT_S)
    assert diary.entries == ["on_start"]


# --- stop


def test_stop_returns_true_for_a_living_actor(subject: type[Any]) -> None:
    ref = subject.start()
    assert ref.stop(timeout=WAIT_S) is True
    assert not ref.is_alive()


def test_stop_returns_false_for_a_dead_actor(subject: type[Any]) -> None:
    ref = subject.start()
    ref.stop(timeout=WAIT_S)
    assert ref.stop(timeout=WAIT_S) is False


def test_stop_without_blocking_returns_a_future_of_the_result(subject: type[Any]) -> None:
    ref = subject.start()
    assert ref.stop(block=False).get(timeout=WAIT_S) is True
    assert ref.stop(block=False).get(timeout=WAIT_S) is False


def test_stop_raises_timeout_when_the_actor_is_held(subject: type[Any], gate: Gate) -> None:
    ref = subject.start()
    gate.hold(ref)
    with pytest.raises(pykka.Timeout):
        ref.stop(timeout=0.01)


def test_stop_unregisters_the_actor(subject: type[Any]) -> None:
    subject.start().stop(timeout=WAIT_S)
    assert ActorRegistry.get_all() == []


def test_an_actor_can_stop_itself(subject: type[Any], diary: Any) -> None:
    ref = subject.start()
    ref.tell(lambda actor: actor.stop())
    assert ref.actor_stopped.wait(WAIT_S)
    diary.wait_for("on_stop")


def test_on_stop_runs_after_the_last_message(subject: type[Any], diary: Any) -> None:
    ref = subject.start()
    ref.tell("last")
    ref.stop(timeout=WAIT_S)
    assert diary.entries == ["on_start", "last", "on_stop"]


def test_on_failure_is_not_called_after_an_orderly_stop(subject: type[Any], diary: Any) -> None:
    subject.start().stop(timeout=WAIT_S)
    assert "on_failure" not in diary.entries


def test_a_failing_on_stop_is_logged_and_the_actor_is_stopped(subject: type[Any], pykka_log: Any) -> None:
    ref = subject.start(fail_in="on_stop")
    assert ref.stop(timeout=WAIT_S) is True
    assert not ref.is_alive()
    assert ("ERROR", f"Unhandled exception in {ref}:", "Boom('on_stop')") in pykka_log.entries


def test_a_failing_on_stop_does_not_call_on_failure(subject: type[Any], diary: Any) -> None:
    subject.start(fail_in="on_stop").stop(timeout=WAIT_S)
    assert diary.entries == ["on_start", "on_stop"]


def test_messages_before_the_stop_are_handled(subject: type[Any], diary: Any, gate: Gate) -> None:
    ref = subject.start()
    gate.hold(ref)
    for number in range(10):
        ref.tell(number)
    stopped = ref.stop(block=False)
    gate.open()
    assert stopped.get(timeout=WAIT_S) is True
    assert diary.entries == ["on_start", *range(10), "on_stop"]


def test_messages_left_in_queue_after_actor_stops_receive_an_error(subject: type[Any], gate: Gate) -> None:
    ref = subject.start()
    gate.hold(ref)
    ref.stop(block=False)
    left = [ref.ask(number, block=False) for number in range(3)]
    gate.open()
    for reply in left:
        with pytest.raises(ActorDeadError, match=re.escape(f"{ref} stopped before handling the message")):
            reply.get(timeout=WAIT_S)


def test_a_second_stop_in_the_queue_succeeds_as_well(subject: type[Any], gate: Gate) -> None:
    ref = subject.start()
    gate.hold(ref)
    stops = [ref.stop(block=False) for _ in range(3)]
    gate.open()
    assert [stop.get(timeout=WAIT_S) for stop in stops] == [True, True, True]


def test_messages_told_after_the_stop_are_not_handled(subject: type[Any], diary: Any, gate: Gate) -> None:
    ref = subject.start()
    gate.hold(ref)
    ref.stop(block=False)
    ref.tell("late")
    left = ref.ask("later", block=False)
    gate.open()
    with pytest.raises(ActorDeadError):
        left.get(timeout=WAIT_S)
    assert diary.entries == ["on_start", "on_stop"]


def test_actor_stopped_is_not_set_while_the_actor_lives(subject: type[Any]) -> None:
    ref = subject.start()
    assert not ref.actor_stopped.is_set()
    assert ref.actor_stopped.wait(0) is False


def test_actor_stopped_wakes_every_thread_that_waits_for_it(subject: type[Any], thread_pool: Any) -> None:
    ref = subject.start()
    waiting = [thread_pool.submit(ref.actor_stopped.wait, WAIT_S) for _ in range(3)]
    ref.stop(timeout=WAIT_S)
    assert [each.result(WAIT_S) for each in waiting] == [True, True, True]
    assert ref.actor_stopped.wait(0) is True


# --- a dead actor


@pytest.fixture
def dead_ref(subject: type[Any]) -> pykka.ActorRef[Any]:
    ref = subject.start()
    ref.stop(timeout=WAIT_S)
    return ref


def test_telling_a_dead_actor_raises(dead_ref: pykka.ActorRef[Any]) -> None:
    with pytest.raises(ActorDeadError, match=re.escape(f"{dead_ref} not found")):
        dead_ref.tell("anybody?")


def test_asking_a_dead_actor_raises(dead_ref: pykka.ActorRef[Any]) -> None:
    with pytest.raises(ActorDeadError, match=re.escape(f"{dead_ref} not found")):
        dead_ref.ask("anybody?", timeout=WAIT_S)


def test_asking_a_dead_actor_without_blocking_puts_the_error_into_the_future(dead_ref: pykka.ActorRef[Any]) -> None:
    reply = dead_ref.ask("anybody?", block=False)
    with pytest.raises(ActorDeadError):
        reply.get(timeout=WAIT_S)


def test_a_dead_actor_has_no_proxy(dead_ref: pykka.ActorRef[Any]) -> None:
    with pytest.raises(ActorDeadError):
        dead_ref.proxy()


def test_the_proxy_of_an_actor_that_died_raises(subject: type[Any]) -> None:
    proxy = subject.start().proxy()
    proxy.actor_ref.stop(timeout=WAIT_S)
    with pytest.raises(ActorDeadError):
        proxy.join_words("anybody?").get(timeout=WAIT_S)


# --- proxies


@pytest.fixture
def proxy(subject: type[Any]) -> Any:
    return subject.start().proxy()


def test_a_proxy_reads_an_attribute(proxy: Any) -> None:
    assert proxy.colour.get(timeout=WAIT_S) == "blue"


def test_a_proxy_sets_an_attribute(proxy: Any) -> None:
    proxy.colour = "red"
    assert proxy.colour.get(timeout=WAIT_S) == "red"


def test_a_proxy_calls_a_method_with_arguments(proxy: Any) -> None:
    assert proxy.join_words("a", "b", separator="-").get(timeout=WAIT_S) == "a-b"


def test_an_exception_of_a_proxied_method_reaches_the_caller(proxy: Any) -> None:
    with pytest.raises(Boom, match="on request"):
        proxy.fail().get(timeout=WAIT_S)
    assert proxy.actor_ref.is_alive()


def test_an_exception_of_a_proxied_attribute_reaches_the_reader(proxy: Any) -> None:
    with pytest.raises(Boom, match="not readable"):
        proxy.guarded.get(timeout=WAIT_S)


def test_an_exception_of_a_proxied_attribute_reaches_the_setter(proxy: Any) -> None:
    with pytest.raises(Boom, match="not today"):
        proxy.guarded = "today"


def test_a_deferred_call_is_told(proxy: Any, diary: Any) -> None:
    assert proxy.on_receive.defer("deferred") is None
    diary.wait_for("deferred")


def test_an_exception_of_a_deferred_call_is_the_actors_failure(proxy: Any, diary: Any) -> None:
    proxy.fail.defer()
    diary.wait_for("on_failure")


def test_a_proxy_knows_no_attribute_that_the_actor_lacks(proxy: Any) -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = proxy.no_such_thing


def test_a_proxy_hides_private_attributes(proxy: Any) -> None:
    with pytest.raises(AttributeError):
        _ = proxy._fail_in


def test_a_proxy_reaches_through_a_traversable_attribute(proxy: Any) -> None:
    assert proxy.playback.state.get(timeout=WAIT_S) == "paused"
    assert proxy.playback.play().get(timeout=WAIT_S) == "playing"
    assert proxy.playback.state.get(timeout=WAIT_S) == "playing"


def test_an_actor_can_use_a_proxy_to_itself_for_later(subject: type[Any], diary: Any) -> None:
    ref = subject.start()
    ref.ask(lambda actor: actor.actor_ref.proxy().on_receive.defer("later"), timeout=WAIT_S)
    diary.wait_for("later")


async def test_a_proxied_call_can_be_awaited(proxy: Any) -> None:
    assert await proxy.join_words("a", "b") == "a b"


# --- futures


@pytest.fixture
def answer(subject: type[Any]) -> Callable[[Any], pykka.Future[Any]]:
    """Make a future that the actor answers with the given value."""
    ref = subject.start()
    return lambda value: ref.ask(lambda _actor: value, block=False)


def test_map_computes_from_the_reply(answer: Callable[[Any], pykka.Future[Any]]) -> None:
    assert answer(20).map(lambda number: number + 1).get(timeout=WAIT_S) == 21


def test_map_of_an_exception_raises_it(subject: type[Any]) -> None:
    future = subject.start().ask(fail, block=False).map(str)
    with pytest.raises(Boom):
        future.get(timeout=WAIT_S)


def test_filter_keeps_what_passes(answer: Callable[[Any], pykka.Future[Any]]) -> None:
    assert answer(range(6)).filter(lambda number: number % 2).get(timeout=WAIT_S) == [1, 3, 5]


def test_filter_of_what_is_no_iterable_raises(answer: Callable[[Any], pykka.Future[Any]]) -> None:
    with pytest.raises(TypeError):
        answer(1).filter(bool).get(timeout=WAIT_S)


def test_join_collects_in_the_order_given(answer: Callable[[Any], pykka.Future[Any]]) -> None:
    assert answer(1).join(answer(2), answer(3)).get(timeout=WAIT_S) == [1, 2, 3]


def test_reduce_folds_from_the_left(answer: Callable[[Any], pykka.Future[Any]]) -> None:
    assert answer("abc").reduce(lambda left, right: f"({left}{right})").get(timeout=WAIT_S) == "((ab)c)"


def test_reduce_of_nothing_is_its_initial_value(answer: Callable[[Any], pykka.Future[Any]]) -> None:
    assert answer([]).reduce(lambda left, right: left + right, 5).get(timeout=WAIT_S) == 5


def test_get_all_collects_in_the_order_given(answer: Callable[[Any], pykka.Future[Any]]) -> None:
    assert pykka.get_all([answer(number) for number in range(5)], timeout=WAIT_S) == [0, 1, 2, 3, 4]


def test_get_all_raises_timeout(subject: type[Any], gate: Gate) -> None:
    ref = subject.start()
    gate.hold(ref)
    with pytest.raises(pykka.Timeout):
        pykka.get_all([ref.ask("echo", block=False)], timeout=0.01)


# --- the registry


def test_the_registry_lists_actors_in_the_order_of_their_start(subject: type[Any]) -> None:
    refs = [subject.start() for _ in range(5)]
    assert ActorRegistry.get_all() == refs


def test_the_registry_finds_actors_by_class_and_superclass(base: type[Any], subject: type[Any]) -> None:
    plain, special = base.start(), subject.start()
    assert ActorRegistry.get_by_class(subject) == [special]
    assert ActorRegistry.get_by_class(base) == [plain, special]


def test_the_registry_finds_actors_by_the_name_of_their_class(base: type[Any], subject: type[Any]) -> None:
    base.start()
    ref = subject.start()
    assert ActorRegistry.get_by_class_name("Subject") == [ref]
    assert ActorRegistry.get_by_class_name("Nobody") == []


def test_the_registry_finds_an_actor_by_urn(subject: type[Any]) -> None:
    subject.start()
    wanted = subject.start()
    assert ActorRegistry.get_by_urn(wanted.actor_urn) is wanted
    assert ActorRegistry.get_by_urn("urn:uuid:unknown") is None


def test_the_registry_forgets_an_actor_from_the_middle(subject: type[Any]) -> None:
    first, middle, last = (subject.start() for _ in range(3))
    middle.stop(timeout=WAIT_S)
    assert ActorRegistry.get_all() == [first, last]


def test_a_broadcast_reaches_every_actor(subject: type[Any], diary: Any) -> None:
    for name in ("one", "two"):
        subject.start(colour=name)
    ActorRegistry.broadcast(lambda actor: diary.write(actor.colour))
    diary.wait_for("one", "two")


@pytest.mark.parametrize("by", ["class", "name"])
def test_a_broadcast_to_a_class_reaches_only_its_actors(subject: type[Any], diary: Any, by: str) -> None:
    class Chosen(subject):  # type: ignore[misc]  # the base is a parameter
        pass

    other = subject.start(colour="other")
    chosen = Chosen.start(colour="chosen")
    ActorRegistry.broadcast(lambda actor: diary.write(actor.colour), Chosen if by == "class" else "Chosen")
    pykka.get_all([ref.ask("handled", block=False) for ref in (other, chosen)], timeout=WAIT_S)
    assert "chosen" in diary.entries
    assert "other" not in diary.entries


def test_stop_all_stops_the_last_started_first(subject: type[Any], diary: Any) -> None:
    class Named(subject):  # type: ignore[misc]  # the base is a parameter
        def on_stop(self) -> None:
            diary.write(("stopped", self.colour))

    for name in "abc":
        Named.start(colour=name)
    assert ActorRegistry.stop_all(timeout=WAIT_S) == [True, True, True]
    assert diary.entries[-3:] == [("stopped", "c"), ("stopped", "b"), ("stopped", "a")]


def test_stop_all_without_blocking_returns_futures(subject: type[Any]) -> None:
    for _ in range(3):
        subject.start()
    assert pykka.get_all(ActorRegistry.stop_all(block=False), timeout=WAIT_S) == [True, True, True]
    assert ActorRegistry.get_all() == []


def test_stop_all_without_actors_does_nothing(base: type[Any]) -> None:
    assert ActorRegistry.stop_all(timeout=WAIT_S) == []


# --- threads


def test_messages_of_each_thread_keep_their_order(subject: type[Any], diary: Any, thread_pool: Any) -> None:
    ref = subject.start()

    def tell_all(thread: int) -> None:
        for number in range(200):
            ref.tell((thread, number))

    for done in [thread_pool.submit(tell_all, thread) for thread in range(4)]:
        done.result(WAIT_S)
    ref.ask("handled", timeout=WAIT_S)
    for thread in range(4):
        told = [entry for entry in diary.entries if isinstance(entry, tuple) and entry[0] == thread]
        assert told == [(thread, number) for number in range(200)]


def test_an_actor_lives_in_one_thread_that_is_not_the_callers(subject: type[Any], diary: Any) -> None:
    class Placed(subject):  # type: ignore[misc]  # the base is a parameter
        def on_start(self) -> None:
            diary.write(threading.get_ident())

        def on_stop(self) -> None:
            diary.write(threading.get_ident())

    ref = Placed.start()
    ref.tell(lambda actor: diary.write(threading.get_ident()))
    ref.ask(lambda actor: diary.write(threading.get_ident()), timeout=WAIT_S)
    ref.stop(timeout=WAIT_S)
    assert len(diary.entries) == 4
    assert len(set(diary.entries)) == 1
    assert threading.get_ident() not in diary.entries


async def test_many_tasks_can_ask_at_once(subject: type[Any]) -> None:
    ref = subject.start()

    async def ask(number: int) -> int:
        reply: int = await ref.ask(number, block=False)
        return reply

    assert await asyncio.gather(*(ask(number) for number in range(50))) == list(range(50))
