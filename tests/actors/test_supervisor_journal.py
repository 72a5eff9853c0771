"""The supervisor journal: facts go to the room in their order, wait while the log takes nothing, and never go round."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import ErrorCode, Refusal
from actors.events import decode_data
from actors.messages import Append, Published, Receipt, Refused
from actors.supervisor_journal import SupervisorJournal

from .fake_clock import FakeClock
from .house import Ear

BUSY = Refusal(ErrorCode.JOURNAL_UNAVAILABLE, "the disk is full")


class Desk:
    """A journal, and the room that it writes to."""

    def __init__(self, node: str | None = None) -> None:
        self.clock = FakeClock()
        self.room = Ear()
        self.journal = SupervisorJournal(self.clock, "p", node=node)

    def open(self) -> Desk:
        self.journal.open(lambda: self.room)
        return self

    @property
    def appends(self) -> list[Append]:
        return self.room.of(Append)

    @property
    def facts(self) -> list[dict[str, Any]]:
        return [decode_data(append.draft.data) for append in self.appends]

    def keep(self, append: Append) -> None:
        self.journal.tell(Published(append.tag, Receipt("system:supervisor", "e", 1, append.draft.id, False)))

    def refuse(self, append: Append, refusal: Refusal = BUSY) -> None:
        self.journal.tell(Refused(append.tag, refusal))


def test_a_fact_becomes_an_event_with_its_time_and_without_what_is_unknown() -> None:
    desk = Desk().open()
    desk.journal("failed", actor="source", error="it broke", user=None)
    (append,) = desk.appends
    assert (append.draft.kind, append.draft.time_ms) == ("supervisor.failed", int(desk.clock.time() * 1000))
    assert desk.facts == [{"actor": "source", "error": "it broke"}]


def test_what_happens_before_there_is_a_room_is_kept_for_it() -> None:
    desk = Desk()
    desk.journal("failed", actor="journal")
    assert desk.appends == []
    desk.open()
    assert desk.facts == [{"actor": "journal"}]


async def test_what_the_log_refuses_is_handed_in_again_before_what_came_later() -> None:
    desk = Desk().open()
    for number in (1, 2):
        desk.journal("failed", number=number)
    first, second = desk.appends
    desk.refuse(first)
    desk.refuse(second)
    desk.journal("failed", number=3)
    assert len(desk.appends) == 2
    await desk.clock.advance(1.0)
    assert [fact["number"] for fact in desk.facts] == [1, 2, 1, 2, 3]
    assert desk.appends[2].draft == first.draft  # under the same id: what was kept after all is not kept twice


def test_of_too_many_facts_that_wait_the_oldest_are_dropped_and_counted() -> None:
    desk = Desk()
    for number in range(5003):
        desk.journal("failed", number=number)
    desk.open()
    assert desk.facts[0]["number"] == 3
    for place in range(5001):
        desk.keep(desk.appends[place])
    assert [fact.get("number") for fact in desk.facts[:-1]] == list(range(3, 5003))
    assert (desk.appends[-1].draft.kind, desk.facts[-1]) == ("supervisor.dropped", {"entries": 3})


async def test_of_too_many_facts_the_oldest_is_dropped_also_where_it_came_back() -> None:
    desk = Desk().open()
    for number in range(5500):
        desk.journal("failed", number=number)
    for append in list(desk.appends):
        desk.refuse(append)
    desk.journal("failed", number=5500)
    await desk.clock.advance(1.0)
    assert [fact["number"] for fact in desk.facts[500:]] == list(range(1, 501))


def test_a_flood_of_facts_waits_for_the_room() -> None:
    desk = Desk().open()
    for number in range(2000):
        desk.journal("failed", number=number)
    assert len(desk.facts) == 500
    desk.keep(desk.appends[0])
    assert desk.facts[-1]["number"] == 500


def test_a_failure_of_the_room_that_keeps_the_record_is_not_put_into_it() -> None:
    desk = Desk().open()
    desk.journal("failed", actor="room:system:supervisor")
    assert desk.appends == []


def test_an_order_to_restart_the_room_that_keeps_the_record_is_in_it() -> None:
    desk = Desk().open()
    desk.journal("ordered", order="restart", actor="room:system:supervisor", by="ops")
    assert desk.facts == [{"order": "restart", "actor": "room:system:supervisor", "by": "ops"}]


def test_what_the_room_will_never_take_is_logged_and_not_tried_again(logged: list[dict[str, Any]]) -> None:
    desk = Desk().open()
    desk.journal("failed", actor="source")
    desk.refuse(desk.appends[0], Refusal(ErrorCode.INVALID_EVENT, "poison"))
    assert desk.clock.due == []
    assert [(line["event"], line["reason"]) for line in logged] == [("supervisor_entry_lost", "poison")]


@pytest.mark.parametrize(("text", "kept"), [("a\ud800b", "a\\ud800b"), ("x" * 9000, "[..]" + "x" * 8000)])
def test_text_is_kept_as_json_can_hold_it_and_its_end_where_it_is_long(text: str, kept: str) -> None:
    desk = Desk().open()
    desk.journal("failed", error=text, rooms={"r": [text]})
    assert desk.facts == [{"error": kept, "rooms": {"r": [kept]}}]


def test_who_waits_for_everything_to_be_kept_is_called_then() -> None:
    desk = Desk().open()
    called: list[str] = []
    desk.journal.when_kept(lambda: called.append("nothing to wait for"))
    desk.journal("stopped")
    desk.journal.when_kept(lambda: called.append("kept"))
    assert called == ["nothing to wait for"]
    desk.keep(desk.appends[0])
    assert called == ["nothing to wait for", "kept"]


def test_in_a_cluster_every_entry_names_its_node() -> None:
    desk = Desk("a").open()
    desk.journal("failed", actor="source")
    assert desk.facts == [{"actor": "source", "node": "a"}]


async def test_what_every_node_sees_has_the_same_id_wherever_it_is_told() -> None:
    """So that the room takes it once; when it happens again later it is another entry."""
    first, second = Desk("a").open(), Desk("b").open()
    for desk in (first, second):
        desk.journal("node_left", peer="c", life="1f", reason="silent")
        desk.journal("node_joined", peer="c", life="1f")
    ids = [[append.draft.id for append in desk.appends] for desk in (first, second)]
    assert ids[0] == ids[1]
    assert len({*ids[0]}) == 2
    await first.clock.advance(60.0)
    first.journal("node_left", peer="c", life="1f", reason="silent")
    assert first.appends[-1].draft.id not in ids[0]
