"""The chain check, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_client import Gap, Position
from postroom_client._chain import Chain, Verdict
from postroom_client._wire import JoinedRoom, MissingRange

EPOCH = "e1"


def at(offset: int, epoch: str = EPOCH) -> Position:
    return Position(epoch, offset)


def chain_at(offset: int) -> Chain:
    chain = Chain("session:1")
    chain.attach(JoinedRoom(EPOCH, offset), None)
    return chain


def test_a_fresh_room_goes_on_after_its_top():
    chain = chain_at(7)
    assert chain.position == at(7)
    assert chain.event(8, 7) is Verdict.NEXT
    assert chain.position == at(8)


def test_sparse_offsets_are_a_chain_all_the_same():
    chain = chain_at(7)
    assert [chain.event(12, 7), chain.event(40, 12)] == [Verdict.NEXT, Verdict.NEXT]


def test_an_event_at_or_below_the_position_is_a_duplicate():
    chain = chain_at(7)
    assert [chain.event(7, 6), chain.event(3, 2)] == [Verdict.DUPLICATE, Verdict.DUPLICATE]
    assert chain.position == at(7)


def test_an_event_whose_predecessor_never_came_breaks_the_chain_and_does_not_move_it():
    chain = chain_at(7)
    assert chain.event(9, 8) is Verdict.BROKEN
    assert chain.position == at(7)


def test_an_event_that_denies_the_one_before_it_breaks_the_chain():
    chain = chain_at(7)
    chain.event(8, 7)
    assert chain.event(9, 7) is Verdict.BROKEN


def test_a_marker_moves_the_position():
    chain = chain_at(7)
    assert chain.skip(10)
    assert chain.position == at(10)
    assert chain.event(11, 10) is Verdict.NEXT


def test_a_marker_that_ends_between_two_sparse_events_does_not_break_the_chain():
    chain = chain_at(7)
    chain.skip(10)
    assert chain.event(15, 9) is Verdict.NEXT


def test_a_marker_below_the_position_is_old():
    chain = chain_at(7)
    assert not chain.skip(6)
    assert chain.position == at(7)


def test_a_replay_asked_for_by_number_begins_where_its_first_event_says():
    chain = Chain("session:1")
    assert chain.attach(JoinedRoom(EPOCH, 9, "fresh", 2), None) is None
    assert chain.position is None
    assert [chain.event(8, 5), chain.event(9, 8)] == [Verdict.NEXT, Verdict.NEXT]


def test_full_recovery_goes_on_after_the_position_that_was_asked_for():
    chain = chain_at(0)
    assert chain.attach(JoinedRoom(EPOCH, 9, "full", 2), at(7)) is None
    assert chain.event(8, 7) is Verdict.NEXT


def test_partial_recovery_is_a_gap_of_what_the_router_says_is_missing():
    chain = chain_at(7)
    gap = chain.attach(JoinedRoom(EPOCH, 20, "partial", 5, MissingRange(8, 15)), at(7))
    assert gap == Gap(room="session:1", reason="expired", last=at(7), next=at(15), missing_from=8, missing_to=15)
    assert chain.event(16, 15) is Verdict.NEXT


def test_no_recovery_is_a_gap_without_numbers():
    chain = chain_at(7)
    gap = chain.attach(JoinedRoom("e2", 3, "none"), at(7))
    assert gap == Gap(room="session:1", reason="new_epoch", last=at(7), next=at(3, "e2"))
    assert chain.event(4, 3) is Verdict.NEXT
    assert chain.position == at(4, "e2")


def test_a_position_that_the_router_forgot_to_honour_is_a_gap_not_a_silence():
    chain = chain_at(7)
    assert chain.attach(JoinedRoom(EPOCH, 9, "fresh"), at(7)) is not None
    assert chain.attach(JoinedRoom(EPOCH, 9, "fresh"), at(9)) is None


def test_a_break_that_is_accepted_says_what_is_missing():
    chain = chain_at(7)
    assert chain.accept_break(10, 9) == Gap(
        room="session:1", reason="broken_chain", last=at(7), next=at(9), missing_from=8, missing_to=9
    )
    assert chain.event(11, 10) is Verdict.NEXT


@given(st.data())
def test_whatever_is_lost_repeated_or_skipped_every_event_is_handed_over_once_or_named(data: st.DataObject):
    """Against a plain model: events 1..n, some lost, some sent twice, some replaced by markers."""
    top = data.draw(st.integers(1, 30))
    chain = chain_at(0)
    handed, skipped, missing = [], set(), set()
    for offset in range(1, top + 1):
        fate = data.draw(st.sampled_from(["sent", "twice", "lost", "skipped"]))
        if fate == "skipped" and chain.position == at(offset - 1):
            assert chain.skip(offset)
            skipped.add(offset)
        for _ in range({"sent": 1, "twice": 2}.get(fate, 0)):
            verdict = chain.event(offset, offset - 1)
            if verdict is Verdict.BROKEN:
                gap = chain.accept_break(offset, offset - 1)
                assert gap.missing_from is not None
                assert gap.missing_to is not None
                missing |= set(range(gap.missing_from, gap.missing_to + 1))
            if verdict is not Verdict.DUPLICATE:
                handed.append(offset)
    assert handed == sorted(set(handed))
    assert chain.position is not None
    assert {*handed, *skipped, *missing} == set(range(1, chain.position.offset + 1))
    assert not missing & {*handed, *skipped}


@pytest.mark.parametrize("position", [at(1), at(5)])
def test_a_position_kept_from_an_earlier_run_is_where_the_chain_stands(position: Position):
    chain = Chain("broadcast")
    chain.start_at(position)
    assert chain.position == position
