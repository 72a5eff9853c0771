"""Registry: which connections there are, and who is one too many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.identity import Identity
from actors.ledger import ConnectionState
from actors.mailbox import Dispatcher, Mailbox
from actors.outbox import Outbox
from server.protocols.native import NativeCodec
from server.registry import Registry
from tests.actors.fake_wire import FakeWire

ANN, BOB = Identity(user="ann"), Identity(user="bob")
Make = Callable[[str], ConnectionState]


@pytest.fixture(scope="module")
def connection() -> Iterator[Make]:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(Dispatcher(loop))

    def make(id: str) -> ConnectionState:
        return ConnectionState(
            id=id,
            mailbox=mailbox,
            wire=FakeWire(mailbox),
            outbox=Outbox(1, NativeCodec()),
            offered_token=None,
        )

    yield make
    loop.close()


def a_registry(*, most: int = 100, per_user: int = 100, per_address: int = 100) -> Registry:
    return Registry(most=most, per_user=per_user, per_address=per_address)


def test_it_knows_the_connections_there_are(connection: Make) -> None:
    registry, first, second = a_registry(), connection("1"), connection("2")
    registry.add(first, "10.0.0.1")
    registry.add(second, "10.0.0.1")
    assert (len(registry), registry.states) == (2, [first, second])
    registry.remove(first)
    assert (len(registry), registry.states) == (1, [second])


def test_the_process_has_a_cap(connection: Make) -> None:
    registry = a_registry(most=2)
    for id in "12":
        assert registry.refuse("10.0.0.1") is None
        registry.add(connection(id), "10.0.0.1")
    assert registry.refuse("10.0.0.9") == "this router has its 2 connections"


def test_an_address_has_a_cap_and_others_have_their_own(connection: Make) -> None:
    registry = a_registry(per_address=1)
    registry.add(connection("1"), "10.0.0.1")
    assert registry.refuse("10.0.0.1") == "your address has its 1 connections"
    assert registry.refuse("10.0.0.2") is None


def test_a_user_has_a_cap_and_others_have_their_own(connection: Make) -> None:
    registry = a_registry(per_user=1)
    assert registry.enter("1", ANN) is None
    assert registry.enter("2", ANN) == "user ann has 1 connections"
    assert registry.enter("3", BOB) is None


def test_a_refusal_does_not_repeat_a_long_name() -> None:
    registry = a_registry(per_user=1)
    long = Identity(user="x" * 200)
    registry.enter("1", long)
    assert len(str(registry.enter("2", long))) < 123, "a close reason has 123 bytes (RFC 6455, 5.5)"


def test_a_connection_counts_once_for_its_user() -> None:
    registry = a_registry(per_user=1)
    assert registry.enter("1", ANN) is None
    assert registry.enter("1", ANN) is None


def test_who_was_refused_does_not_count(connection: Make) -> None:
    registry = a_registry(per_user=1)
    first = connection("1")
    registry.add(first, "10.0.0.1")
    registry.enter("1", ANN)
    registry.enter("2", ANN)
    registry.remove(first)
    assert registry.enter("3", ANN) is None


def test_a_place_is_free_again_when_its_connection_is_gone(connection: Make) -> None:
    registry = a_registry(most=1, per_user=1, per_address=1)
    first = connection("1")
    registry.add(first, "10.0.0.1")
    registry.enter("1", ANN)
    registry.remove(first)
    assert registry.refuse("10.0.0.1") is None
    assert registry.enter("2", ANN) is None


def test_removing_what_is_not_there_changes_nothing(connection: Make) -> None:
    registry = a_registry(per_address=1)
    first = connection("1")
    registry.add(first, "10.0.0.1")
    registry.remove(first)
    registry.remove(first)
    registry.add(connection("2"), "10.0.0.1")
    assert registry.refuse("10.0.0.1") is not None


def test_zero_is_no_cap_for_users_and_addresses(connection: Make) -> None:
    registry = a_registry(most=1000, per_user=0, per_address=0)
    for number in range(500):
        assert registry.refuse("10.0.0.1") is None
        registry.add(connection(str(number)), "10.0.0.1")
        assert registry.enter(str(number), ANN) is None


@given(
    st.lists(st.tuples(st.sampled_from(["come", "go"]), st.integers(0, 9), st.sampled_from([ANN, BOB])), max_size=60)
)
def test_the_caps_hold_whoever_comes_and_goes(connection: Make, steps: list[tuple[str, int, Identity]]) -> None:
    registry = a_registry(most=5, per_user=3, per_address=4)
    here: dict[str, tuple[ConnectionState, str, str | None]] = {}
    for step, number, identity in steps:
        id, address = str(number), f"10.0.0.{number % 2}"
        if step == "go" and id in here:
            registry.remove(here.pop(id)[0])
        elif step == "come" and id not in here:
            at_address = sum(other == address for _, other, _ in here.values())
            refused = registry.refuse(address) is not None
            assert refused == (len(here) >= 5 or at_address >= 4)
            if not refused:
                state = connection(id)
                registry.add(state, address)
                of_user = sum(other == identity.user for _, _, other in here.values())
                entered = registry.enter(id, identity) is None
                assert entered == (of_user < 3)
                here[id] = (state, address, identity.user if entered else None)
        assert len(registry) == len(here)
