"""LoopActor: where it differs from pykka's actors, and what it adds: batches, fair turns, lives in one mailbox."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pykka
import pytest
from pykka import ActorDeadError, ActorRegistry
from pykka._envelope import Envelope

import actors.loop
from actors.future import LoopFuture
from actors.loop import LoopActor, LoopRef, handles
from actors.mailbox import Dispatcher, Exit, Mailbox

pytestmark = pytest.mark.usefixtures("nothing_left")

WAIT_S = 5.0


class Boom(Exception):
    """What the actors raise."""


class Scribe(LoopActor):
    """Writes its life into a list; a message that can be called is run, an exception is raised, the rest echoed."""

    def __init__(self, page: list[Any] | None = None, *, fail_in: str = "", mailbox: Mailbox | None = None) -> None:
        super().__init__(mailbox=mailbox)
        self.page: list[Any] = [] if page is None else page
        self.fail_in = fail_in

    def on_start(self) -> None:
        self.hook("on_start")

    def on_restart(self, failure: Exit) -> None:
        self.hook("on_restart")

    def on_batch_end(self) -> None:
        self.hook("on_batch_end")

    def on_stop(self) -> None:
        self.hook("on_stop")

    def on_failure(self, *_exc_info: object) -> None:
        self.hook("on_failure")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        if callable(message):
            return message(self)
        self.page.append(message)
        return message

    def hook(self, name: str) -> None:
        self.page.append(name)
        if self.fail_in == name:
            raise Boom(name)


class Quiet(Scribe):
    """Writes messages only."""

    def hook(self, name: str) -> None:
        if self.fail_in == name:
            raise Boom(name)


class Guard:
    """Monitors a mailbox: keeps every exit, and moves a successor in when told how to start one."""

    def __init__(self, restart: Callable[[Mailbox], object] | None = None) -> None:
        self.mailbox = Mailbox(name="guarded")
        self.mailbox.monitor = self._hear
        self.restart = restart
        self.exits: list[Exit] = []
        self._heard = asyncio.Queue[Exit]()

    async def next_exit(self) -> Exit:
        return await self._heard.get()

    def _hear(self, how: Exit) -> None:
        self.exits.append(how)
        self._heard.put_nowait(how)
        if self.restart is not None and how.cause is not None:
            self.restart(self.mailbox)


async def stop(*refs: pykka.ActorRef[Any]) -> None:
    for ref in refs:
        await ref.stop(block=False)


# --- waiting on the loop


async def test_ask_that_would_block_the_loop_raises() -> None:
    ref = Quiet.start()
    with pytest.raises(RuntimeError, match=r"await ref\.ask"):
        ref.ask("question", timeout=WAIT_S)
    await stop(ref)


async def test_ask_that_was_refused_sent_nothing() -> None:
    page: list[Any] = []
    ref = Quiet.start(page)
    with pytest.raises(RuntimeError):
        ref.ask("refused")
    await ref.ask("sent", block=False)
    assert page == ["sent"]
    await stop(ref)


async def test_stop_that_would_block_the_loop_raises_and_stops_nothing() -> None:
    ref = Quiet.start()
    with pytest.raises(RuntimeError, match=r"await ref\.stop"):
        ref.stop(timeout=WAIT_S)
    assert await ref.ask("alive", block=False) == "alive"
    await stop(ref)


async def test_get_that_would_block_the_loop_raises() -> None:
    ref = Quiet.start()
    future = ref.ask("question", block=False)
    with pytest.raises(RuntimeError, match="await"):
        future.get(timeout=WAIT_S)
    assert await future == "question"
    await stop(ref)


async def test_setting_an_attribute_through_a_proxy_would_block_the_loop_and_raises() -> None:
    ref = Quiet.start()
    proxy = ref.proxy()
    with pytest.raises(RuntimeError):
        proxy.fail_in = "on_stop"
    assert await proxy.fail_in == ""
    await stop(ref)


async def test_a_reply_is_awaited_on_the_loop() -> None:
    ref = Quiet.start()
    assert await ref.ask("echo", block=False) == "echo"
    await stop(ref)


async def test_an_exception_is_awaited_on_the_loop_and_does_not_kill() -> None:
    ref = Quiet.start()
    with pytest.raises(Boom):
        await ref.ask(Boom(), block=False)
    assert ref.is_alive()
    await stop(ref)


async def test_a_stop_is_awaited_on_the_loop() -> None:
    ref = Quiet.start()
    assert await ref.stop(block=False) is True
    assert await ref.stop(block=False) is False


async def test_another_thread_asks_and_stops_with_blocking() -> None:
    ref = Quiet.start()
    assert await asyncio.to_thread(ref.ask, "from a thread", timeout=WAIT_S) == "from a thread"
    assert await asyncio.to_thread(ref.stop, timeout=WAIT_S) is True


async def test_nothing_runs_inside_start() -> None:
    page: list[Any] = []
    ref = Scribe.start(page)
    assert page == []
    await ref.ask("first", block=False)
    assert page[:2] == ["on_start", "first"]
    await stop(ref)


# --- handlers


class Order:
    """A message."""


class Express(Order):
    """A message that is an Order to Python, but not to an actor."""


class Bill:
    """Another message."""


class Shop(LoopActor):
    @handles(Order)
    def take_order(self, message: Order) -> str:
        return "order"

    def on_receive(self, message: object) -> str:
        return "unknown"


class BigShop(Shop):
    @handles(Bill)
    def send_bill(self, message: Bill) -> str:
        return "bill"


class OtherShop(Shop):
    @handles(Order)
    def take_order_otherwise(self, message: Order) -> str:
        return "order taken otherwise"


class OverridingShop(Shop):
    def take_order(self, message: Order) -> str:
        return f"improved {super().take_order(message)}"


class Till(LoopActor):
    @handles(Bill)
    def take_money(self, message: Bill) -> str:
        return "money"


class ShopWithTill(Shop, Till):
    pass


class BillingMixin:
    @handles(Bill)  # type: ignore[arg-type]  # a mixin for actors
    def bill(self, message: Bill) -> str:
        return "bill by mixin"


class ShopWithMixin(BillingMixin, Shop):
    pass


class Kiosk(LoopActor):
    @handles(Order, Bill)
    def take(self, message: Order | Bill) -> str:
        return f"{type(message).__name__} at the kiosk"


@pytest.mark.parametrize(
    ("shop", "message", "reply"),
    [
        pytest.param(Shop, Order(), "order", id="the marked type"),
        pytest.param(Shop, Express(), "unknown", id="a subclass of it is another message"),
        pytest.param(Shop, Bill(), "unknown", id="the rest goes to on_receive"),
        pytest.param(BigShop, Order(), "order", id="inherited"),
        pytest.param(BigShop, Bill(), "bill", id="added in a subclass"),
        pytest.param(OtherShop, Order(), "order taken otherwise", id="replaced by another method"),
        pytest.param(OverridingShop, Order(), "improved order", id="overridden without a mark"),
        pytest.param(ShopWithTill, Order(), "order", id="from the first of two bases"),
        pytest.param(ShopWithTill, Bill(), "money", id="from the second of two bases"),
        pytest.param(ShopWithMixin, Bill(), "bill by mixin", id="from a mixin"),
        pytest.param(Kiosk, Order(), "Order at the kiosk", id="the first of two types"),
        pytest.param(Kiosk, Bill(), "Bill at the kiosk", id="the second of two types"),
    ],
)
async def test_a_message_goes_to_the_handler_of_its_exact_type(shop: Any, message: object, reply: str) -> None:
    ref = shop.start()
    assert await ref.ask(message, block=False) == reply
    await stop(ref)


async def test_a_subclass_does_not_change_the_handlers_of_its_base() -> None:
    ref = Shop.start()
    assert await ref.ask(Bill(), block=False) == "unknown"
    await stop(ref)


async def test_a_told_message_goes_to_its_handler_too() -> None:
    taken: list[object] = []

    class Listener(LoopActor):
        @handles(Order)
        def take(self, message: Order) -> None:
            taken.append(message)

    ref = Listener.start()
    order = Order()
    ref.tell(order)
    await stop(ref)
    assert taken == [order]


# --- batches


async def test_on_batch_end_runs_once_after_all_messages_of_a_batch() -> None:
    page: list[Any] = []
    ref = Scribe.start(page)
    for number in range(3):
        ref.tell(number)
    await ref.ask(3, block=False)
    assert page == ["on_start", 0, 1, 2, 3, "on_batch_end"]
    await stop(ref)


async def test_a_batch_takes_no_more_than_batch_size() -> None:
    class InTwos(Scribe):
        batch_size = 2

    page: list[Any] = []
    ref = InTwos.start(page)
    for number in range(4):
        ref.tell(number)
    await ref.ask(4, block=False)
    assert page == ["on_start", 0, 1, "on_batch_end", 2, 3, "on_batch_end", 4, "on_batch_end"]
    await stop(ref)


async def test_what_an_actor_tells_itself_comes_in_a_later_batch() -> None:
    page: list[Any] = []
    ref = Scribe.start(page)
    ref.tell(lambda actor: actor.actor_ref.tell("later"))
    await ref.ask("now", block=False)
    await ref.ask("last", block=False)
    assert page[:5] == ["on_start", "now", "on_batch_end", "later", "on_batch_end"]
    await stop(ref)


async def test_on_batch_end_does_not_run_after_a_failing_batch() -> None:
    guard = Guard()
    page: list[Any] = []
    ref = Scribe.start(page, mailbox=guard.mailbox)
    ref.tell("before")
    ref.tell(Boom())
    await guard.next_exit()
    assert page == ["on_start", "before", "on_failure"]


async def test_on_batch_end_runs_after_an_ask_that_was_answered_by_an_exception() -> None:
    page: list[Any] = []
    ref = Scribe.start(page)
    with pytest.raises(Boom):
        await ref.ask(Boom(), block=False)
    assert page == ["on_start", "on_batch_end"]
    await stop(ref)


async def test_on_batch_end_runs_for_what_came_before_a_stop_and_before_on_stop() -> None:
    page: list[Any] = []
    ref = Scribe.start(page)
    ref.tell("last")
    await stop(ref)
    assert page == ["on_start", "last", "on_batch_end", "on_stop"]


async def test_a_failing_on_batch_end_does_not_keep_an_actor_from_stopping(pykka_log: Any) -> None:
    page: list[Any] = []
    ref = Scribe.start(page, fail_in="on_batch_end")
    assert await ref.stop(block=False) is True
    assert page == ["on_start", "on_batch_end", "on_stop"]
    assert ("ERROR", f"Unhandled exception in {ref}:", "Boom('on_batch_end')") in pykka_log.entries


# --- turns


class Clock:
    """A monotonic clock that goes on by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_actors_get_their_turns_first_come_first_served() -> None:
    class InOnes(Quiet):
        batch_size = 1

    page: list[Any] = []
    refs = [InOnes.start(page) for _ in range(3)]
    for number in range(3):
        for name, ref in zip("abc", refs, strict=True):
            ref.tell(f"{name}{number}")
    await stop(*refs)
    assert page == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


async def test_a_flooded_actor_lets_others_have_their_turn_after_each_batch() -> None:
    class InHundreds(Quiet):
        batch_size = 100

    page: list[Any] = []
    flooded, other = InHundreds.start(page), Quiet.start(page)
    for number in range(1_000):
        flooded.tell(number)
    other.tell("other")
    await stop(flooded, other)
    assert page.index("other") == 100


async def test_the_loop_gets_its_turn_back_after_the_time_slice() -> None:
    clock = Clock()
    dispatcher = Dispatcher(asyncio.get_running_loop(), slice_s=0.005, monotonic=clock)
    page: list[Any] = []

    def spend(seconds: float) -> Callable[[Quiet], None]:
        def run(actor: Quiet) -> None:
            clock.now_s += seconds
            actor.page.append(clock.now_s)

        return run

    refs = [Quiet.start(page, mailbox=Mailbox(dispatcher)) for _ in range(5)]
    for ref in refs:
        ref.tell(spend(0.002))
    asyncio.get_running_loop().call_soon(page.append, "input and output")
    await stop(*refs)
    assert page.index("input and output") == 3


async def test_the_loop_is_not_given_back_within_the_time_slice() -> None:
    dispatcher = Dispatcher(asyncio.get_running_loop(), slice_s=0.005, monotonic=Clock())
    page: list[Any] = []
    refs = [Quiet.start(page, mailbox=Mailbox(dispatcher)) for _ in range(50)]
    for ref in refs:
        ref.tell("turn")
    asyncio.get_running_loop().call_soon(page.append, "input and output")
    await stop(*refs)
    assert page.index("input and output") == 50


async def test_two_actors_that_tell_each_other_for_ever_do_not_starve_the_loop() -> None:
    clock = Clock()
    dispatcher = Dispatcher(asyncio.get_running_loop(), slice_s=0.005, monotonic=clock)
    over = False

    class Player(LoopActor):
        other: LoopRef[Any]

        def on_receive(self, message: object) -> None:
            clock.now_s += 0.001
            assert clock.now_s < 10, "the loop never got its turn"
            if not over:
                self.other.tell(message)

    refs = [Player.start(mailbox=Mailbox(dispatcher)) for _ in range(2)]
    for ref, other in (refs, reversed(refs)):
        actor = ref._actor_weakref()
        assert actor is not None
        actor.other = other
    refs[0].tell("ball")
    for _ in range(3):
        await asyncio.sleep(0)
    over = True
    assert 0 < clock.now_s < 1
    await stop(*refs)


async def test_calls_from_outside_that_never_pause_do_not_starve_the_loop() -> None:
    dispatcher = Dispatcher.current()
    over = asyncio.Event()
    calls = 0

    def call_again() -> None:
        nonlocal calls
        calls += 1
        assert calls < 10_000, "the loop never got its turn"
        if not over.is_set():
            dispatcher.call(call_again)

    dispatcher.call(call_again)
    asyncio.get_running_loop().call_later(0, over.set)
    await over.wait()
    assert calls > 0


async def test_a_monitor_that_raises_does_not_keep_others_from_their_turns() -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    error = Boom("in the monitor")

    def monitor(_how: Exit) -> None:
        raise error

    mailbox = Mailbox()
    mailbox.monitor = monitor
    failing, other = Quiet.start(mailbox=mailbox), Quiet.start()
    failing.tell(Boom())
    assert await other.ask("alive", block=False) == "alive"
    assert reported == [error]
    await stop(other)


# --- one actor's failure is its own


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
async def test_a_base_exception_is_only_that_actors_failure(error: BaseException) -> None:
    guard = Guard()
    failing, other = Quiet.start(mailbox=guard.mailbox), Quiet.start()
    failing.tell(error)
    assert (await guard.next_exit()).cause is error
    assert not failing.is_alive()
    assert await other.ask("alive", block=False) == "alive"
    await stop(other)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt()])
async def test_a_base_exception_in_an_ask_reaches_the_caller_as_actor_dead_error(error: BaseException) -> None:
    guard = Guard()
    failing = Quiet.start(mailbox=guard.mailbox)
    with pytest.raises(ActorDeadError) as caught:
        await failing.ask(error, block=False)
    assert caught.value.__cause__ is error
    how = await guard.next_exit()
    assert (how.cause, how.message) == (error, error)


@pytest.mark.parametrize("hook", ["on_start", "on_batch_end", "on_failure", "on_stop"])
async def test_a_base_exception_in_a_hook_is_only_that_actors_failure(hook: str) -> None:
    class Hooked(Quiet):
        def hook(self, name: str) -> None:
            if name == hook:
                raise SystemExit(3)

    guard = Guard()
    failing, other = Hooked.start(mailbox=guard.mailbox), Quiet.start()
    failing.tell(Boom() if hook == "on_failure" else "message")
    failing.stop(block=False)
    await guard.next_exit()
    assert not failing.is_alive()
    assert await other.ask("alive", block=False) == "alive"
    await stop(other)


# --- what a monitor hears


async def test_the_monitor_hears_of_a_failing_message() -> None:
    guard = Guard()
    error = Boom()
    ref = Quiet.start(mailbox=guard.mailbox)
    ref.tell(error)
    ref.tell("waits")
    assert await guard.next_exit() == Exit("Quiet", error, error, 1)


@pytest.mark.parametrize("hook", ["on_start", "on_batch_end"])
async def test_the_monitor_hears_of_a_failing_hook(hook: str) -> None:
    guard = Guard()
    Quiet.start(fail_in=hook, mailbox=guard.mailbox).tell("message")
    how = await guard.next_exit()
    assert isinstance(how.cause, Boom)
    assert str(how.cause) == hook
    assert how.message is None


async def test_the_monitor_hears_of_a_failing_on_restart() -> None:
    guard = Guard()
    Quiet.start(mailbox=guard.mailbox).tell(Boom("first"))
    await guard.next_exit()
    Quiet.start(fail_in="on_restart", mailbox=guard.mailbox)
    assert str((await guard.next_exit()).cause) == "on_restart"


async def test_the_monitor_hears_of_an_orderly_stop() -> None:
    guard = Guard()
    await stop(Quiet.start(mailbox=guard.mailbox))
    assert guard.exits == [Exit("Quiet", None, None, 0)]


async def test_the_monitor_hears_of_a_failing_on_stop_as_an_orderly_stop() -> None:
    guard = Guard()
    await stop(Quiet.start(fail_in="on_stop", mailbox=guard.mailbox))
    assert guard.exits == [Exit("Quiet", None, None, 0)]


async def test_a_monitored_mailbox_is_left_open_after_an_orderly_stop() -> None:
    guard = Guard()
    await stop(Quiet.start(mailbox=guard.mailbox))
    assert not guard.mailbox.closed
    assert not guard.mailbox.occupied
    ref = Quiet.start(mailbox=guard.mailbox)
    assert await guard.mailbox.ask("second life") == "second life"
    await stop(ref)


async def test_a_successor_of_an_orderly_stop_is_not_told_of_a_failure() -> None:
    guard = Guard()
    await stop(Quiet.start(mailbox=guard.mailbox))
    page: list[Any] = []
    ref = Scribe.start(page, mailbox=guard.mailbox)
    await ref.ask("first", block=False)
    assert page == ["on_start", "first", "on_batch_end"]
    await stop(ref)


@pytest.mark.parametrize("hook", ["on_stop", "on_failure"])
async def test_a_failure_that_the_monitor_does_not_hear_of_is_logged(hook: str, pykka_log: Any) -> None:
    guard = Guard()
    ref = Quiet.start(fail_in=hook, mailbox=guard.mailbox)
    if hook == "on_failure":
        ref.tell(Boom("heard"))
    else:
        ref.stop(block=False)
    await guard.next_exit()
    errors = [error for level, _, error in pykka_log.entries if level == "ERROR"]
    assert errors == [f"Boom({hook!r})"]


async def test_the_monitor_hears_of_each_end_once() -> None:
    guard = Guard()
    ref = Quiet.start(fail_in="on_failure", mailbox=guard.mailbox)
    ref.tell(Boom())
    ref.tell(Boom())
    other = Quiet.start()
    await other.ask("a turn later", block=False)
    assert len(guard.exits) == 1
    await stop(other)


async def test_on_failure_runs_before_the_monitor_hears() -> None:
    page: list[Any] = []
    mailbox = Mailbox()
    heard = asyncio.Event()

    def monitor(_how: Exit) -> None:
        page.append("monitor")
        heard.set()

    mailbox.monitor = monitor
    Scribe.start(page, mailbox=mailbox).tell(Boom())
    await heard.wait()
    assert page == ["on_start", "on_failure", "monitor"]


async def test_a_failing_on_start_does_not_call_on_failure() -> None:
    guard = Guard()
    page: list[Any] = []
    Scribe.start(page, fail_in="on_start", mailbox=guard.mailbox)
    await guard.next_exit()
    assert page == ["on_start"]


async def test_without_a_monitor_a_failure_closes_the_mailbox() -> None:
    mailbox = Mailbox()
    ref = Quiet.start(mailbox=mailbox)
    ref.tell(Boom())
    left = ref.ask("left", block=False)
    with pytest.raises(ActorDeadError):
        await left
    assert mailbox.closed


# --- the mailbox outlives the actor


async def test_messages_told_while_nobody_lives_there_are_handled_by_the_successor_in_order() -> None:
    guard = Guard()
    first: list[Any] = []
    second: list[Any] = []
    for message in (1, Boom(), 2, 3):
        guard.mailbox.tell(message)
    Quiet.start(first, mailbox=guard.mailbox)
    await guard.next_exit()
    guard.mailbox.tell(4)
    ref = Quiet.start(second, mailbox=guard.mailbox)
    guard.mailbox.tell(5)
    await stop(ref)
    assert first == [1]
    assert second == [2, 3, 4, 5]


async def test_an_ask_that_waits_over_a_failure_is_answered_by_the_successor() -> None:
    guard = Guard(restart=lambda mailbox: Quiet.start(mailbox=mailbox))
    Quiet.start(mailbox=guard.mailbox).tell(Boom())
    assert await guard.mailbox.ask("question") == "question"
    await stop(*ActorRegistry.get_all())


async def test_a_stop_that_waits_over_a_failure_stops_the_successor() -> None:
    guard = Guard(restart=lambda mailbox: Quiet.start(mailbox=mailbox))
    ref = Quiet.start(mailbox=guard.mailbox)
    ref.tell(Boom())
    assert await ref.stop(block=False) is True
    assert ActorRegistry.get_all() == []
    assert [how.cause is None for how in guard.exits] == [False, True]


async def test_on_restart_gets_the_failing_message_and_the_cause() -> None:
    failures: list[Exit] = []

    class Successor(Quiet):
        def on_restart(self, failure: Exit) -> None:
            failures.append(failure)

    guard = Guard(restart=lambda mailbox: Successor.start(mailbox=mailbox))
    poison = Boom("poison")
    Quiet.start(mailbox=guard.mailbox)
    guard.mailbox.tell(poison)
    assert await guard.mailbox.ask("next") == "next"
    assert failures == [Exit("Quiet", poison, poison, 1)]
    await stop(*ActorRegistry.get_all())


async def test_on_restart_runs_after_on_start_and_before_the_messages() -> None:
    page: list[Any] = []
    guard = Guard(restart=lambda mailbox: Scribe.start(page, mailbox=mailbox))
    Quiet.start(mailbox=guard.mailbox).tell(Boom())
    await guard.mailbox.ask("next")
    assert page == ["on_start", "on_restart", "next", "on_batch_end"]
    await stop(*ActorRegistry.get_all())


async def test_on_restart_is_not_called_for_the_first_actor() -> None:
    page: list[Any] = []
    ref = Scribe.start(page)
    await ref.ask("first", block=False)
    assert "on_restart" not in page
    await stop(ref)


async def test_a_failing_on_start_keeps_the_messages_for_the_next_successor() -> None:
    page: list[Any] = []
    guard = Guard()
    guard.mailbox.tell("kept")
    Quiet.start(fail_in="on_start", mailbox=guard.mailbox)
    await guard.next_exit()
    await stop(Quiet.start(page, mailbox=guard.mailbox))
    assert page == ["kept"]


async def test_a_message_on_which_on_restart_fails_is_not_tried_again() -> None:
    """Else one message that cannot be repaired would fail every successor, until the supervisor gives the actor up."""
    repaired: list[Any] = []

    class Repairer(Quiet):
        def on_restart(self, failure: Exit) -> None:
            repaired.append(failure.message)
            if failure.message is not None:
                raise Boom("cannot repair that")

    guard = Guard(restart=lambda mailbox: Repairer.start(mailbox=mailbox))
    poison = Boom("poison")
    Quiet.start(mailbox=guard.mailbox)
    guard.mailbox.tell(poison)
    assert await guard.mailbox.ask("next") == "next"
    assert repaired == [poison, None]
    assert [(str(how.cause), how.message) for how in guard.exits] == [("poison", poison), ("cannot repair that", None)]
    await stop(*ActorRegistry.get_all())


async def test_a_message_is_kept_for_the_repair_while_on_start_fails() -> None:
    """Who waits for an answer to it is not forgotten because the next actor did not come up at once."""
    repaired: list[Any] = []

    class Repairer(Quiet):
        lives = 0

        def on_start(self) -> None:
            Repairer.lives += 1
            if Repairer.lives < 3:
                raise Boom("not yet")

        def on_restart(self, failure: Exit) -> None:
            repaired.append(failure.message)

    guard = Guard(restart=lambda mailbox: Repairer.start(mailbox=mailbox))
    poison = Boom("poison")
    Quiet.start(mailbox=guard.mailbox)
    guard.mailbox.tell(poison)
    assert await guard.mailbox.ask("next") == "next"
    assert repaired == [poison]
    await stop(*ActorRegistry.get_all())


async def test_a_reference_names_one_life() -> None:
    guard = Guard(restart=lambda mailbox: Quiet.start(mailbox=mailbox))
    ref = Quiet.start(mailbox=guard.mailbox)
    ref.tell(Boom())
    await guard.next_exit()
    with pytest.raises(ActorDeadError):
        ref.tell("to the first life")
    await stop(*ActorRegistry.get_all())


async def test_two_hundred_crashes_lose_nothing_and_keep_the_order() -> None:
    page: list[Any] = []
    guard = Guard(restart=lambda mailbox: Quiet.start(page, mailbox=mailbox))
    Quiet.start(page, mailbox=guard.mailbox)
    expected = []
    for number in range(2_000):
        if number % 10 == 7:
            guard.mailbox.tell(Boom(number))
        else:
            guard.mailbox.tell(number)
            expected.append(number)
    await guard.mailbox.ask("end")
    assert page == [*expected, "end"]
    assert [how.cause.args[0] for how in guard.exits if how.cause] == list(range(7, 2_000, 10))
    await stop(*ActorRegistry.get_all())


# --- replies for later


async def test_a_handler_can_tell_whether_somebody_waits_for_its_answer() -> None:
    asked: list[bool] = []

    def look(actor: Quiet) -> bool:
        asked.append(actor.asked)
        return actor.asked

    ref = Quiet.start()
    ref.tell(look)
    assert await ref.ask(look, block=False) is True
    ref.tell(look)
    await stop(ref)
    assert asked == [False, True, False]


async def test_a_deferred_reply_is_set_by_whoever_holds_it() -> None:
    held: list[LoopFuture[Any]] = []
    ref = Quiet.start()
    reply = ref.ask(lambda actor: held.append(actor.defer_reply()), block=False)
    assert await ref.ask("meanwhile", block=False) == "meanwhile"
    held[0].set("at last")
    assert await reply == "at last"
    await stop(ref)


async def test_the_return_value_of_a_handler_that_deferred_its_reply_is_not_the_reply() -> None:
    held: list[LoopFuture[Any]] = []

    def defer(actor: Quiet) -> str:
        held.append(actor.defer_reply())
        return "not this"

    ref = Quiet.start()
    reply = ref.ask(defer, block=False)
    await ref.ask("handled", block=False)
    held[0].set_exception((Boom, Boom("this"), None))
    with pytest.raises(Boom, match="this"):
        await reply
    await stop(ref)


async def test_a_deferred_reply_can_be_told_by_another_actor() -> None:
    worker, front = Quiet.start(), Quiet.start()
    reply = front.ask(lambda actor: worker.tell(actor.defer_reply().tell), block=False)
    assert isinstance(await reply, Quiet)
    await stop(front, worker)


async def test_the_message_after_a_deferred_one_is_answered_as_usual() -> None:
    ref = Quiet.start()
    ref.ask(lambda actor: actor.defer_reply(), block=False)
    assert await ref.ask("echo", block=False) == "echo"
    await stop(ref)


async def test_deferring_the_reply_to_a_told_message_gives_a_future_that_nobody_waits_for() -> None:
    ref = Quiet.start()
    ref.tell(lambda actor: actor.defer_reply().set("unheard"))
    assert await ref.ask("alive", block=False) == "alive"
    await stop(ref)


# --- threads and the end of the loop


def test_tells_from_several_threads_keep_each_threads_order(
    dispatcher: Dispatcher, thread_pool: ThreadPoolExecutor
) -> None:
    page: list[Any] = []
    ref = Quiet.start(page, mailbox=Mailbox(dispatcher))
    barrier = threading.Barrier(4)

    def tell_all(thread: int) -> None:
        barrier.wait(WAIT_S)
        for number in range(1_000):
            ref.tell((thread, number))

    for done in [thread_pool.submit(tell_all, thread) for thread in range(4)]:
        done.result(WAIT_S)
    assert ref.stop(timeout=WAIT_S)
    for thread in range(4):
        assert [number for teller, number in page if teller == thread] == list(range(1_000))


def test_actors_start_from_several_threads_at_once(dispatcher: Dispatcher, thread_pool: ThreadPoolExecutor) -> None:
    barrier = threading.Barrier(4)

    def start_many() -> list[pykka.ActorRef[Any]]:
        barrier.wait(WAIT_S)
        return [Quiet.start(mailbox=Mailbox(dispatcher)) for _ in range(100)]

    started = [done.result(WAIT_S) for done in [thread_pool.submit(start_many) for _ in range(4)]]
    refs = [ref for refs in started for ref in refs]
    assert len({ref.actor_urn for ref in refs}) == 400
    assert all(pykka.get_all([ref.stop(block=False) for ref in refs], timeout=WAIT_S))
    assert ActorRegistry.get_all() == []


async def test_an_ask_that_loses_the_race_with_a_stop_is_answered() -> None:
    ref = Quiet.start()
    await stop(ref)
    reply = LoopFuture[Any]()
    ref.actor_inbox.put(Envelope("alive when last seen", reply_to=reply))
    with pytest.raises(ActorDeadError):
        await reply


@pytest.fixture
def orphan() -> Any:
    """The reference of an actor whose loop was closed, with a message still on its way."""

    async def live() -> pykka.ActorRef[Any]:
        ref = Quiet.start()
        await ref.ask("work", block=False)
        ref.tell("under way")
        return ref

    ref = asyncio.run(live())
    yield ref
    ActorRegistry.unregister(ref)


@pytest.mark.parametrize("where", ["the thread of the loop", "another thread"])
def test_telling_an_actor_of_a_closed_loop_raises_each_time(
    orphan: pykka.ActorRef[Any], thread_pool: ThreadPoolExecutor, where: str
) -> None:
    def tell() -> None:
        for _ in range(3):
            with pytest.raises(ActorDeadError):
                orphan.tell("anybody?")

    if where == "another thread":
        thread_pool.submit(tell).result(WAIT_S)
    else:
        tell()


@pytest.mark.parametrize("where", ["the thread of the loop", "another thread"])
def test_asking_an_actor_of_a_closed_loop_raises_each_time(
    orphan: pykka.ActorRef[Any], thread_pool: ThreadPoolExecutor, where: str
) -> None:
    def ask_thrice() -> None:
        for _ in range(3):
            with pytest.raises(ActorDeadError):
                orphan.ask("anybody?", timeout=WAIT_S)

    if where == "another thread":
        thread_pool.submit(ask_thrice).result(WAIT_S)
    else:
        ask_thrice()


def test_stopping_an_actor_of_a_closed_loop_returns_false(orphan: pykka.ActorRef[Any]) -> None:
    assert orphan.stop(timeout=WAIT_S) is False


def test_starting_an_actor_on_a_closed_loop_raises_and_registers_nothing() -> None:
    loop = asyncio.new_event_loop()
    dispatcher = Dispatcher(loop)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        Quiet.start(mailbox=Mailbox(dispatcher))
    assert ActorRegistry.get_all() == []


def test_starting_an_actor_without_a_loop_raises_and_registers_nothing() -> None:
    with pytest.raises(RuntimeError, match=r"mailbox=Mailbox\(dispatcher\)"):
        Quiet.start()
    assert ActorRegistry.get_all() == []


# --- nothing is left


def trace_of(ref: pykka.ActorRef[Any]) -> weakref.ref[Any]:
    return ref._actor_weakref


async def test_a_stopped_actor_is_garbage() -> None:
    ref = Quiet.start()
    await ref.ask("work", block=False)
    await stop(ref)
    gc.collect()
    assert trace_of(ref)() is None


async def test_a_failed_actor_is_garbage_once_its_successor_has_begun() -> None:
    mailbox = Mailbox()
    mailbox.monitor = lambda how: Quiet.start(mailbox=mailbox) if how.cause else None
    ref = Quiet.start(mailbox=mailbox)
    ref.tell(lambda actor: actor.no_such_thing)
    await mailbox.ask("work")
    gc.collect()
    assert trace_of(ref)() is None
    await stop(*ActorRegistry.get_all())


async def test_an_actor_that_failed_in_on_start_is_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest keeps each record, the record the traceback, and that the actor.
    monkeypatch.setattr(logging.getLogger("pykka"), "disabled", True)
    ref = Quiet.start(fail_in="on_start")
    other = Quiet.start()
    await other.ask("a turn later", block=False)
    gc.collect()
    assert trace_of(ref)() is None
    await stop(other)


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count in its only entry how often the registry looks at an actor's birth number."""
    calls = [0]
    original = actors.loop._birth_number

    def counted(ref: pykka.ActorRef[Any]) -> int:
        calls[0] += 1
        return original(ref)

    monkeypatch.setattr(actors.loop, "_birth_number", counted)
    return calls


async def stop_scattered(count: int) -> None:
    """Start `count` actors, and stop them in an order that has nothing to do with that of their start."""
    refs = [Quiet.start() for _ in range(count)]
    stride = 7_919  # a prime: every index comes once
    for step in range(count):
        refs[step * stride % count].tell(lambda actor: actor.stop())
    last = Quiet.start()
    while ActorRegistry.get_all() != [last]:
        await last.ask("a turn later", block=False)
    await stop(last)


async def test_stopping_actors_takes_comparisons_that_grow_like_n_log_n(
    comparisons: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unregister(_ref: object) -> None:
        raise AssertionError("pykka's linear search was used")

    monkeypatch.setattr(ActorRegistry, "unregister", unregister)
    await stop_scattered(5_000)
    few = comparisons[0]
    comparisons[0] = 0
    await stop_scattered(20_000)
    assert 20_000 <= comparisons[0] < 5 * few


async def test_actors_of_other_types_between_are_stepped_over() -> None:
    class Thread(pykka.ThreadingActor):
        use_daemon_thread = True

    kinds = "LLTTTLTLLT"
    refs = [Quiet.start() if kind == "L" else Thread.start() for kind in kinds]
    for index in (5, 0, 8, 1, 7):
        await stop(refs[index])
    assert ActorRegistry.get_all() == [ref for ref, kind in zip(refs, kinds, strict=True) if kind == "T"]
    await asyncio.to_thread(ActorRegistry.stop_all, timeout=WAIT_S)


async def test_an_actor_that_is_out_of_place_in_the_registry_is_found_all_the_same() -> None:
    refs = [Quiet.start() for _ in range(5)]
    with ActorRegistry._actor_refs_lock:
        ActorRegistry._actor_refs.reverse()
    await stop(*refs)
    assert ActorRegistry.get_all() == []


async def test_actor_stopped_cannot_be_cleared() -> None:
    ref = Quiet.start()
    with pytest.raises(RuntimeError):
        ref.actor_stopped.clear()
    await stop(ref)


async def test_an_actor_that_is_not_finished_goes_on_after_io_and_after_everybody_else() -> None:
    """And before its next message: what it began is whole by then."""
    page: list[str] = []
    dispatcher = Dispatcher.current()

    class Long(LoopActor):
        left = 0

        def on_receive(self, message: Any) -> None:
            page.append(f"long {message}")
            self.left = 3

        def on_batch_end(self) -> bool:
            if self.left:
                self.left -= 1
                page.append(f"slice {3 - self.left}")
                asyncio.get_running_loop().call_soon(page.append, "io")
            return self.left > 0

    class Short(LoopActor):
        def on_receive(self, message: Any) -> None:
            page.append(f"short {message}")
            if message < 3:
                self.actor_ref.tell(message + 1)

    long, short = Long.start(mailbox=Mailbox(dispatcher)), Short.start(mailbox=Mailbox(dispatcher))
    long.tell("a")
    short.tell(1)
    long.tell("b")
    for _ in range(50):  # many more runs of the loop than it takes
        await asyncio.sleep(0)
    await long.stop(block=False)
    await short.stop(block=False)
    assert [each for each in page if each.startswith(("long", "slice"))] == [
        "long a",
        "long b",
        "slice 1",
        "slice 2",
        "slice 3",
    ]
    assert page.index("short 3") < page.index("slice 2")
    assert "io" in page[page.index("slice 1") : page.index("slice 2")]
    assert "io" in page[page.index("slice 2") : page.index("slice 3")]


# --- messages that are tried again


class Retrying(Quiet):
    """Tries again what it was told, unless it was touched."""

    retried = (Boom,)
    touched: ClassVar[set[int]] = set()

    def can_retry(self, message: Any) -> bool:
        return id(message) not in self.touched


def verdicts(guard: Guard) -> list[tuple[Any, str, int]]:
    return [(how.message, how.then, how.deaths) for how in guard.exits if how.cause is not None]


async def test_a_message_is_tried_again_once_before_those_after_it() -> None:
    """The second failure makes it poison; the successor is told, and goes on."""
    page: list[Any] = []
    guard = Guard(restart=lambda mailbox: Retrying.start(page, mailbox=mailbox))
    Retrying.start(page, mailbox=guard.mailbox)
    first, second = Boom("first"), Boom("second")
    for message in ("a", first, "b", second, "c"):
        guard.mailbox.tell(message)
    await guard.mailbox.ask("d")
    assert page == ["a", "b", "c", "d"]
    assert verdicts(guard) == [
        (first, "retry", 1),
        (first, "quarantine", 2),
        (second, "retry", 1),
        (second, "quarantine", 2),
    ]
    await stop(*ActorRegistry.get_all())


async def test_what_something_came_of_is_not_tried_again() -> None:
    guard = Guard(restart=lambda mailbox: Retrying.start(mailbox=mailbox))
    Retrying.start(mailbox=guard.mailbox)
    touched = Boom("touched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Retrying, "touched", {id(touched)})
        guard.mailbox.tell(touched)
        await guard.mailbox.ask("next")
    assert verdicts(guard) == [(touched, "answer", 1)]
    await stop(*ActorRegistry.get_all())


async def test_a_message_waits_to_be_tried_again_until_somebody_has_started() -> None:
    """A failure of `on_start` is no second failure of the message."""

    class Late(Retrying):
        lives = 0

        def on_start(self) -> None:
            Late.lives += 1
            if Late.lives == 2:
                raise Boom("not yet")

    guard = Guard(restart=lambda mailbox: Late.start(mailbox=mailbox))
    Late.start(mailbox=guard.mailbox)
    poison = Boom("poison")
    guard.mailbox.tell(poison)
    await guard.mailbox.ask("next")
    assert verdicts(guard) == [(poison, "retry", 1), (None, "answer", 1), (poison, "quarantine", 2)]
    await stop(*ActorRegistry.get_all())
