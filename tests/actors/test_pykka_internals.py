"""What the loop actors stand on inside pykka, where its documentation promises nothing: a new version shows here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
from pykka import Actor, ActorDeadError, ActorRef, ActorRegistry
from pykka._envelope import Envelope
from pykka.messages import ProxyCall, _ActorStop

from actors.loop import LoopActor, LoopRef

pytestmark = pytest.mark.usefixtures("nothing_left")


class Echo(LoopActor):
    """Answers what it is told by the message itself."""

    def on_receive(self, message: Any) -> Any:
        return message


class Threaded(pykka.ThreadingActor):
    """One of pykka's own."""


class Inbox:
    """Keeps what is put into it."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope[Any]] = []

    def put(self, envelope: Envelope[Any], /) -> None:
        self.envelopes.append(envelope)


@pytest.fixture
def threaded() -> Iterator[ActorRef[Threaded]]:
    ref = Threaded.start()
    yield ref
    ref.stop()


def test_an_envelope_is_a_message_and_who_waits_for_the_reply() -> None:
    """The room makes one for all its subscribers; mailboxes read both fields of those that pykka makes."""
    assert Envelope.__slots__ == ["message", "reply_to"]
    told, future = Envelope("hello"), pykka.ThreadingFuture[str]()
    assert (told.message, told.reply_to) == ("hello", None)
    asked = Envelope("hello", reply_to=future)
    assert (asked.message, asked.reply_to) == ("hello", future)


def test_a_reference_hands_envelopes_to_the_inbox(
    threaded: ActorRef[Threaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tell` without a future, `ask` and `stop` with one."""
    inbox = Inbox()
    with monkeypatch.context() as patched:
        patched.setattr(threaded, "actor_inbox", inbox)
        threaded.tell("told")
        future = threaded.ask("asked", block=False)
        threaded.stop(block=False)
    told, asked, stop = inbox.envelopes
    assert (type(told), told.message, told.reply_to) == (Envelope, "told", None)
    assert (type(asked), asked.message, asked.reply_to) == (Envelope, "asked", future)
    assert isinstance(stop.message, _ActorStop)
    assert stop.reply_to is not None


def test_the_registry_is_a_list_in_the_order_of_starting() -> None:
    """A stopped actor is found in it by bisection."""
    assert ActorRegistry._actor_refs == []
    refs = [Threaded.start() for _ in range(5)]
    assert isinstance(ActorRegistry._actor_refs, list)
    assert ActorRegistry._actor_refs == refs
    refs.pop(2).stop()
    assert ActorRegistry._actor_refs == refs
    assert ActorRegistry.get_all() == refs
    ActorRegistry.stop_all()


async def test_the_references_of_loop_actors_are_in_the_order_of_their_birth() -> None:
    refs = [Echo.start() for _ in range(5)]
    assert ActorRegistry._actor_refs == refs
    assert all(type(ref) is LoopRef for ref in ActorRegistry._actor_refs)
    births = [ref.birth_number for ref in refs if isinstance(ref, LoopRef)]
    assert births == sorted(set(births))
    for ref in refs:
        await ref.stop(block=False)


def test_the_registrys_lock_may_be_taken_twice_by_one_thread() -> None:
    """Taking a reference out holds it, and may fall back to pykka's own way, which takes it again."""
    assert type(ActorRegistry._actor_refs_lock) is type(threading.RLock())
    with ActorRegistry._actor_refs_lock, ActorRegistry._actor_refs_lock:
        assert ActorRegistry.get_all() == []


def test_unregistering_what_is_not_registered_is_no_error() -> None:
    """Ours is done with it on a failure that came between."""
    ref = Threaded.start()
    ref.stop()
    ActorRegistry.unregister(ref)


async def test_the_teardown_answers_who_still_waits() -> None:
    """It empties the inbox through `empty` and `get`: a stop has succeeded, everything else has come too late."""
    actor = Echo()
    mailbox = actor.mailbox
    late = mailbox.ask("late")
    again = mailbox.ask(_ActorStop())
    mailbox.tell("told")
    actor._actor_loop_teardown()
    assert mailbox.empty()
    assert await again is None
    with pytest.raises(ActorDeadError):
        await late


async def test_a_message_without_a_handler_is_pykkas_to_receive() -> None:
    """`_handle_receive` knows the stop and the proxy's messages, and gives the rest to `on_receive`."""
    actor = Echo()
    ActorRegistry.register(actor.actor_ref)
    assert actor._handle_receive("message") == "message"
    assert actor._handle_receive(ProxyCall(("on_receive",), ("argument",), {})) == "argument"
    actor._handle_receive(_ActorStop())
    assert ActorRegistry.get_all() == []


def test_the_hooks_that_are_overridden_are_there() -> None:
    """An override of what pykka does not call any more would be dead code that looks alive."""
    for name in (
        "_create_actor_inbox",
        "_create_future",
        "_start_actor_loop",
        "_actor_loop_teardown",
        "_handle_receive",
        "_handle_failure",
        "_stop",
    ):
        assert callable(getattr(Actor, name)), name
