"""State: what a room's events amount to for a client that joins."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.events import Event
from actors.state import RoomState
from actors.times import time_text

from .making import TIME_MS, an_event


def folded(*events: Event) -> RoomState:
    """Return the state after these events."""
    state = RoomState()
    for event in events:
        state.fold(event)
    return state


def session(offset: int, status: str, **data: Any) -> Event:
    return an_event(offset, "session", {"status": status, **data}, time_ms=TIME_MS + offset * 1000)


def progress(offset: int, current: int, key: str | None = None) -> Event:
    return an_event(offset, "progress", {"current": current}, key=key, time_ms=TIME_MS + offset * 1000)


def alert(offset: int, /, **data: Any) -> Event:
    return an_event(offset, "alert", {"severity": "critical", "title": "disk full", **data})


def acknowledged(offset: int, event_id: str, user: str = "ann") -> Event:
    return of_the_router(offset, "alert.acknowledged", event_id=event_id, user=user)


def escalated(offset: int, event_id: str) -> Event:
    return of_the_router(offset, "alert.escalated", event_id=event_id, to="role:admin")


def of_the_router(offset: int, kind: str, **data: str) -> Event:
    made = an_event(offset, "app.thing", data, time_ms=TIME_MS + offset * 1000)
    return msgspec.structs.replace(made, draft=msgspec.structs.replace(made.draft, kind=kind))


def test_a_room_without_events_has_an_empty_state() -> None:
    assert RoomState().view() == {"status": None, "alerts": [], "last_event_at": None, "counts": {}}


def test_every_kind_is_counted() -> None:
    assert folded(an_event(1), an_event(2), progress(3, 1)).view()["counts"] == {"app.thing": 2, "progress": 1}


def test_the_time_of_the_last_event_is_told_to_the_millisecond() -> None:
    assert folded(an_event(1, time_ms=1_700_000_000_007)).view()["last_event_at"] == "2023-11-14T22:13:20.007Z"


def test_the_last_progress_of_each_key_is_kept() -> None:
    state = folded(progress(1, 1), progress(2, 5, "copy"), progress(3, 2), progress(4, 6, "copy"))
    assert state.view()["progress"] == {"default": {"current": 2}, "copy": {"current": 6}}


def test_a_started_session_has_its_owner_and_start() -> None:
    view = folded(session(1, "started", owner="ann")).view()
    assert (view["status"], view["owner"]) == ("started", "ann")
    assert view["started_at"] == time_text(TIME_MS + 1000)
    assert "ended_at" not in view


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_session_that_ended_says_when_and_keeps_its_progress(status: str) -> None:
    state = folded(session(1, "started"), progress(2, 3), session(3, status))
    view = state.view()
    assert state.ended
    assert view["status"] == status
    assert view["ended_at"] == time_text(TIME_MS + 3000)
    assert view["progress"] == {"default": {"current": 3}}


def test_a_session_that_was_never_started_can_end() -> None:
    view = folded(session(1, "failed")).view()
    assert view["ended_at"]
    assert "started_at" not in view


@pytest.mark.parametrize("status", [None, "started"])
def test_a_session_that_runs_or_is_unknown_has_not_ended(status: str | None) -> None:
    assert not RoomState(status=status).ended


def test_a_new_run_begins_without_the_progress_and_end_of_the_last() -> None:
    state = folded(session(1, "started"), progress(2, 9), session(3, "completed"), session(4, "started"))
    assert not state.ended
    assert not {"progress", "ended_at"} & state.view().keys()
    assert state.view()["started_at"] == time_text(TIME_MS + 4000)


def test_a_new_run_keeps_the_owner_unless_another_is_named() -> None:
    first = folded(session(1, "started", owner="ann"), session(2, "completed"), session(3, "started"))
    assert first.owner == "ann"
    first.fold(session(4, "started", owner="bob"))
    assert first.owner == "bob"


def test_alerts_of_a_run_outlive_it() -> None:
    assert len(folded(alert(1), session(2, "completed"), session(3, "started")).view()["alerts"]) == 1


def test_an_alert_stands_in_the_state_until_it_is_acknowledged() -> None:
    state = folded(alert(1), alert(2))
    assert [each["event_id"] for each in state.view()["alerts"]] == ["e1", "e2"]
    state.fold(acknowledged(3, "e1"))
    assert [each["event_id"] for each in state.view()["alerts"]] == ["e2"]


def test_an_alert_in_the_state_has_its_data_place_and_time() -> None:
    (only,) = folded(an_event(7, "alert", {"severity": "critical", "title": "t", "host": "db1"})).view()["alerts"]
    assert only == {
        "event_id": "e7",
        "offset": 7,
        "time": time_text(TIME_MS),
        "severity": "critical",
        "title": "t",
        "host": "db1",
    }


def test_an_alert_is_listed_under_its_own_id_whatever_its_data_says() -> None:
    """A publisher's field `event_id` must not hide the id that acknowledges the alert."""
    (only,) = folded(alert(1, event_id="mine", offset=99, time="noon")).view()["alerts"]
    assert (only["event_id"], only["offset"], only["time"]) == ("e1", 1, time_text(TIME_MS))


def test_an_alert_that_needs_no_acknowledgement_does_not_stand_in_the_state() -> None:
    assert folded(an_event(1, "alert", {"severity": "low", "title": "t"})).view()["alerts"] == []


def test_acknowledging_what_is_not_there_changes_nothing() -> None:
    assert folded(acknowledged(1, "who")).view()["alerts"] == []


def test_who_acknowledged_what_and_when_stands_in_the_state() -> None:
    state = folded(alert(1), acknowledged(2, "e1", "bob"))
    assert state.view()["acknowledged"] == [
        {"event_id": "e1", "title": "disk full", "user": "bob", "time": time_text(TIME_MS + 2000)}
    ]


def test_the_last_ten_acknowledgements_are_told_oldest_first() -> None:
    state = RoomState()
    for offset in range(1, 31, 2):
        state.fold(alert(offset))
        state.fold(acknowledged(offset + 1, f"e{offset}"))
    assert [each["event_id"] for each in state.view()["acknowledged"]] == [f"e{n}" for n in range(11, 31, 2)]


def test_of_a_long_title_the_beginning_is_told_when_it_is_acknowledged() -> None:
    """What is acknowledged takes no room from what is not."""
    (only,) = folded(alert(1, title="x" * 5000), acknowledged(2, "e1")).view()["acknowledged"]
    assert only["title"] == "x" * 200


def test_a_second_acknowledgement_of_an_alert_changes_nothing() -> None:
    once = folded(alert(1), acknowledged(2, "e1", "ann"))
    twice = folded(alert(1), acknowledged(2, "e1", "ann"), acknowledged(3, "e1", "bob"))
    assert twice.acknowledged == once.acknowledged


def test_an_escalated_alert_stays_and_says_since_when() -> None:
    (only,) = folded(alert(1), escalated(2, "e1")).view()["alerts"]
    assert (only["event_id"], only["escalated_at"]) == ("e1", time_text(TIME_MS + 2000))


def test_an_alert_cannot_say_that_it_was_escalated() -> None:
    """A publisher that does would keep it from the admins."""
    (only,) = folded(alert(1, escalated_at="noon")).view()["alerts"]
    assert "escalated_at" not in only


def test_escalating_what_was_acknowledged_meanwhile_changes_nothing() -> None:
    assert folded(alert(1), acknowledged(2, "e1"), escalated(3, "e1")).view()["alerts"] == []


def test_an_alert_that_comes_again_under_its_id_takes_the_place_of_the_first() -> None:
    state = folded(alert(1), escalated(2, "e1"), alert(3, event_id="x"))
    again = an_event(4, "alert", {"severity": "critical", "title": "again"}, event_id="e1")
    state.fold(again)
    assert [(each["event_id"], each["offset"], "escalated_at" in each) for each in state.view()["alerts"]] == [
        ("e1", 4, False),
        ("e3", 3, False),
    ]


@pytest.mark.parametrize("kind", ["progress", "system", "notification", "app.thing"])
def test_an_ephemeral_event_changes_nothing(kind: str) -> None:
    """It is not stored: after a restart nobody could know of it."""
    before = folded(an_event(1), progress(2, 5))
    after = folded(an_event(1), progress(2, 5), an_event(3, kind, delivery="ephemeral", time_ms=TIME_MS + 9000))
    assert after == before


def test_a_view_does_not_change_with_the_state() -> None:
    state = folded(progress(1, 1), alert(2))
    view = state.view()
    before = msgspec.json.encode(view)
    for event in (progress(3, 2), alert(4), session(5, "completed")):
        state.fold(event)
    assert msgspec.json.encode(view) == before


def test_two_states_share_nothing() -> None:
    folded(progress(1, 1), alert(2))
    assert RoomState().view()["counts"] == {}


def test_time_text_is_rfc_3339_in_utc_with_milliseconds() -> None:
    assert time_text(0) == "1970-01-01T00:00:00.000Z"
    assert time_text(1_709_210_096_789) == "2024-02-29T12:34:56.789Z"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("session"), st.sampled_from(["started", "completed", "failed", "cancelled"])),
        st.tuples(st.just("progress"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("alert"), st.just("")),
        st.tuples(st.just("ack"), st.integers(1, 12).map(lambda n: f"e{n}")),
        st.tuples(st.just("escalated"), st.integers(1, 12).map(lambda n: f"e{n}")),
        st.tuples(st.just("app.thing"), st.just("")),
    ),
    max_size=12,
)


def step(offset: int, kind: str, detail: str) -> Event:
    if kind == "session":
        return session(offset, detail)
    if kind == "progress":
        return progress(offset, offset, detail)
    if kind == "alert":
        return alert(offset)
    if kind == "escalated":
        return escalated(offset, detail)
    return acknowledged(offset, detail) if kind == "ack" else an_event(offset)


@given(STEPS, st.integers(0, 12))
def test_a_state_that_was_stored_in_between_goes_on_as_if_it_had_not_been(
    steps: list[tuple[str, str]], stored_after: int
) -> None:
    straight, stored = RoomState(), RoomState()
    for offset, (kind, detail) in enumerate(steps, 1):
        straight.fold(step(offset, kind, detail))
        stored.fold(step(offset, kind, detail))
        if offset == stored_after:
            stored = msgspec.json.decode(msgspec.json.encode(stored), type=RoomState)
    assert stored == straight
    assert stored.view() == straight.view()
