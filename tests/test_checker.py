"""The checker of records: it finds each kind of violation where one was planted, and nothing in a clean history."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .checker.findings import Findings, Kind
from .checker.judge import judge
from .checker.records import RecordError

ROOM = "session:1"
REPOSITORY = Path(__file__).parents[1]


class Book:
    """Records as a run would write them. One service publishes to one room; event n has the id `e<n>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: list[dict[str, Any]] = []

    def write(self, type: str, **fields: Any) -> None:
        self.records.append({"type": type, "room": ROOM, **fields})

    def acknowledged(self, *offsets: int, event_id: str | None = None, epoch: str = "a", **receipt: Any) -> None:
        for offset in offsets:
            name = event_id or f"e{offset}"
            told = {"room": ROOM, "epoch": epoch, "offset": offset, "event_id": name, "duplicate": False, **receipt}
            self._attempt(name, outcome="acknowledged", receipt=told)

    def refused(self, event_id: str, code: str = "journal_unavailable") -> None:
        self._attempt(event_id, outcome="refused", code=code)

    def unknown(self, event_id: str) -> None:
        self._attempt(event_id, outcome="unknown")

    def _attempt(self, event_id: str, **fields: Any) -> None:
        self.write("attempt", service="shop", event_id=event_id, number=int(event_id[1:]), **fields)

    def subscriber(self, name: str = "ann", *, at: int = 0) -> Subscriber:
        """Let a new subscriber in, at an offset."""
        subscriber = Subscriber(self, name)
        subscriber.joins("fresh", at)
        return subscriber

    def findings(self, *, allow_none: bool = False, most: int = 1000) -> Findings:
        """Have the checker read what was written."""
        findings = Findings(allow_none=allow_none, most=most)
        judge([self.save()], findings)
        return findings

    def save(self) -> Path:
        path = self.folder / "records.jsonl"
        path.write_text("".join(f"{json.dumps(record)}\n" for record in self.records))
        return path

    def wrong(self) -> dict[str, int]:
        """Return how many violations of each kind the checker finds."""
        return {str(kind): count for kind, count in self.findings().found.items()}


class Subscriber:
    """A subscriber's part of the records."""

    def __init__(self, book: Book, name: str) -> None:
        self._book = book
        self._who = {"subscriber": name, "connection": 1}

    def joins(self, recovery: str, offset: int, *, replay: int = 0, epoch: str = "a", **fields: Any) -> None:
        answer = {"recovery": recovery, "epoch": epoch, "offset": offset, "replay": replay, **fields}
        self._book.write("subscribed", **self._who, **answer)

    def resumes(self, after: int, recovery: str, offset: int, *, after_epoch: str = "a", **fields: Any) -> None:
        """Connect again and ask to go on after an offset."""
        self._who["connection"] += 1  # type: ignore[operator]  # a number among names
        self.joins(recovery, offset, after={"epoch": after_epoch, "offset": after}, **fields)

    def gets(self, *offsets: int, **fields: Any) -> None:
        for offset in offsets:
            event = {"epoch": "a", "offset": offset, "prev": offset - 1, "event_id": f"e{offset}", "number": offset}
            self._book.write("event", **{**self._who, **event, "kind": "notification", **fields})

    def is_told(self, first: int, last: int, reason: str) -> None:
        """Get a marker."""
        self._book.write("skipped", **self._who, **{"from": first, "to": last}, reason=reason)

    def stays_to_the_end(self) -> None:
        self._book.write("end", subscriber=self._who["subscriber"])


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


# --- clean histories


def test_nothing_is_wrong_where_everyone_gets_everything_in_order(book: Book) -> None:
    for name in ("ann", "bob"):
        subscriber = book.subscriber(name)
        subscriber.gets(1, 2, 3)
        subscriber.stays_to_the_end()
    book.acknowledged(1, 2, 3)
    findings = book.findings()
    assert findings.violations == 0
    assert findings.counts["events, each counted once"] == 3
    assert findings.counts["subscriptions to the end"] == 2


def test_a_resume_with_replay_is_one_following(book: Book) -> None:
    book.acknowledged(1, 2, 3, 4)
    ann = book.subscriber()
    ann.gets(1)
    ann.resumes(1, "full", 3, replay=2)
    ann.gets(2, 3, 4)
    ann.stays_to_the_end()
    assert book.wrong() == {}


def test_who_resumes_from_before_its_position_gets_events_again_without_fault(book: Book) -> None:
    book.acknowledged(1, 2, 3)
    ann = book.subscriber()
    ann.gets(1, 2)
    ann.resumes(0, "full", 2, replay=2)
    ann.gets(1, 2, 3)
    ann.stays_to_the_end()
    assert book.wrong() == {}


def test_who_comes_with_a_position_for_the_first_time_follows_from_there(book: Book) -> None:
    book.acknowledged(1, 2, 3)
    ann = Subscriber(book, "ann")
    ann.resumes(0, "full", 2, replay=2)
    ann.gets(1, 2, 3)
    ann.stays_to_the_end()
    assert book.wrong() == {}


def test_what_a_partial_recovery_says_is_missing_is_not_lost(book: Book) -> None:
    book.acknowledged(*range(1, 7))
    ann = book.subscriber()
    ann.gets(1)
    ann.resumes(1, "partial", 5, replay=2, missing={"from": 2, "to": 3})
    ann.gets(4, 5, 6)
    ann.stays_to_the_end()
    findings = book.findings()
    assert findings.violations == 0
    assert findings.counts["offsets missing"] == 2
    assert findings.counts["acknowledged, and skipped by all"] == 2


@pytest.mark.parametrize("reason", ["filtered", "conflated", "expired"])
def test_what_a_marker_says_is_not_lost(book: Book, reason: str) -> None:
    book.acknowledged(*range(1, 6))
    ann = book.subscriber()
    ann.gets(1)
    ann.is_told(2, 3, reason)
    ann.gets(4)
    ann.is_told(5, 5, reason)
    ann.stays_to_the_end()
    findings = book.findings()
    assert findings.violations == 0
    assert findings.counts[f"markers {reason}"] == 2


def test_a_retry_may_get_the_receipt_of_the_first_time(book: Book) -> None:
    book.unknown("e1")
    book.acknowledged(1, duplicate=True)
    book.acknowledged(2)
    book.acknowledged(2, duplicate=True)
    ann = book.subscriber()
    ann.gets(1, 2)
    ann.stays_to_the_end()
    assert book.wrong() == {}


def test_what_is_unknown_may_appear_or_not(book: Book) -> None:
    book.unknown("e1")
    book.unknown("e2")
    book.refused("e3", "internal")
    ann = book.subscriber()
    ann.gets(1)
    ann.stays_to_the_end()
    findings = book.findings()
    assert findings.violations == 0
    assert findings.counts["unknown to the end, and appeared"] == 1
    assert findings.counts["unknown to the end, and did not appear"] == 2


def test_what_was_refused_first_may_be_taken_later(book: Book) -> None:
    book.refused("e1")
    book.acknowledged(1)
    ann = book.subscriber()
    ann.gets(1)
    ann.stays_to_the_end()
    assert book.wrong() == {}


def test_who_left_before_the_end_need_not_have_what_came_after(book: Book) -> None:
    book.acknowledged(1, 2)
    book.subscriber("bob").gets(1)
    ann = book.subscriber()
    ann.gets(1, 2)
    ann.stays_to_the_end()
    assert book.wrong() == {}


def test_what_nobody_was_there_for_is_counted(book: Book) -> None:
    book.acknowledged(1, 2)
    ann = book.subscriber(at=1)
    ann.gets(2)
    ann.stays_to_the_end()
    findings = book.findings()
    assert findings.violations == 0
    assert findings.counts["acknowledged, and nobody was there"] == 1


def test_old_events_that_were_asked_for_come_before_the_position_of_the_answer(book: Book) -> None:
    book.acknowledged(1, 2, 3, 4)
    ann = Subscriber(book, "ann")
    ann.joins("fresh", 3, replay=2)
    ann.gets(2, 3, 4)
    ann.stays_to_the_end()
    assert book.wrong() == {}


def test_offsets_that_grow_by_more_than_one_are_a_whole_chain(book: Book) -> None:
    book.acknowledged(4, 9)
    ann = book.subscriber()
    ann.gets(4, prev=0)
    ann.gets(9, prev=4)
    ann.stays_to_the_end()
    assert book.wrong() == {}


def test_markers_and_what_is_missing_cover_offsets_that_other_rooms_have(book: Book) -> None:
    """In a cluster all rooms share one row of offsets, and those in between are of no room that is judged here."""
    book.acknowledged(4, 9, 15, 21)
    for name in ("ann", "bob"):
        subscriber = book.subscriber(name)
        subscriber.gets(4, prev=0)
        subscriber.is_told(5, 9, "conflated")
        subscriber.gets(15, prev=9)
        subscriber.resumes(4, "partial", 21, replay=1, missing={"from": 5, "to": 15})
        subscriber.gets(21, prev=15)
        subscriber.resumes(21, "full", 21)
        subscriber.stays_to_the_end()
    findings = book.findings()
    assert findings.violations == 0
    assert findings.counts["acknowledged, and skipped by all"] == 1


def test_what_the_router_publishes_itself_is_no_phantom(book: Book) -> None:
    ann = book.subscriber()
    ann.gets(1, kind="alert.acknowledged", event_id="x/ack", number=None)
    ann.stays_to_the_end()
    assert book.wrong() == {}


def test_attempts_may_be_read_after_what_became_of_them(book: Book, tmp_path: Path) -> None:
    """The files of publishers and subscribers are read one after another, in any order."""
    ann = book.subscriber()
    ann.gets(1)
    ann.stays_to_the_end()
    book.save().rename(tmp_path / "a.jsonl")
    book.records.clear()
    book.acknowledged(1)
    book.save()
    findings = Findings()
    judge([tmp_path], findings)
    assert findings.violations == 0
    assert findings.counts["attempts acknowledged"] == 1


# --- planted violations


def test_acknowledged_events_after_the_position_of_one_who_stayed_are_lost(book: Book) -> None:
    book.acknowledged(1, 2, 3)
    for name in ("ann", "bob"):
        subscriber = book.subscriber(name)
        subscriber.gets(1)
        subscriber.stays_to_the_end()
    findings = book.findings()
    assert findings.found == {Kind.LOST: 2}
    assert findings.lines[0] == (
        "lost: session:1: offset 2 (e2) was acknowledged to shop, and ann (and 1 others), there to the end, came to 1"
    )


def test_an_acknowledged_event_that_the_chain_leaves_out_is_lost(book: Book) -> None:
    book.acknowledged(1, 2, 3)
    ann = book.subscriber()
    ann.gets(1)
    ann.gets(3, prev=1)
    ann.stays_to_the_end()
    assert book.wrong() == {"lost": 1}


def test_what_others_got_is_lost_to_one_who_stayed_and_did_not(book: Book) -> None:
    book.unknown("e1")
    book.subscriber("bob").gets(1)
    book.subscriber().stays_to_the_end()
    assert book.wrong() == {"lost": 1}


def test_what_nobody_published_is_a_phantom(book: Book) -> None:
    ann = book.subscriber()
    ann.gets(1)
    assert book.wrong() == {"phantom": 1}


def test_what_was_published_with_other_data_is_a_phantom(book: Book) -> None:
    book.acknowledged(1)
    book.subscriber().gets(1, number=77)
    assert book.wrong() == {"phantom": 1}


def test_an_offset_that_comes_again_is_there_twice(book: Book) -> None:
    book.acknowledged(1, 2)
    ann = book.subscriber()
    ann.gets(1, 2, 2)
    assert book.wrong() == {"twice": 1}


def test_events_from_before_the_resumed_position_are_there_twice(book: Book) -> None:
    book.acknowledged(1, 2)
    ann = book.subscriber()
    ann.gets(1, 2)
    ann.resumes(2, "full", 2)
    ann.gets(2)
    assert book.wrong() == {"twice": 1}


def test_an_event_with_two_offsets_is_there_twice(book: Book) -> None:
    book.unknown("e1")
    book.acknowledged(2, event_id="e1")
    ann = book.subscriber()
    ann.gets(1)
    ann.gets(2, event_id="e1", number=1)
    assert book.wrong() == {"twice": 1}


def test_an_event_that_comes_after_a_later_one_is_out_of_order(book: Book) -> None:
    book.acknowledged(1, 2, 3, 4)
    ann = book.subscriber()
    ann.gets(1, 3, 2, 4)
    ann.stays_to_the_end()
    assert book.wrong() == {"out of order": 1}


def test_an_event_before_the_answer_that_lets_in_is_out_of_order(book: Book) -> None:
    book.acknowledged(1)
    Subscriber(book, "ann").gets(1)
    assert book.wrong() == {"out of order": 1}


def test_an_event_on_a_new_connection_before_its_answer_is_out_of_order(book: Book) -> None:
    book.acknowledged(1, 2)
    ann = book.subscriber()
    ann.gets(1)
    ann.gets(2, connection=2)
    assert book.wrong() == {"out of order": 1}


def test_a_marker_for_what_has_come_is_out_of_order(book: Book) -> None:
    book.acknowledged(1, 2)
    ann = book.subscriber()
    ann.gets(1, 2)
    ann.is_told(2, 2, "conflated")
    assert book.wrong() == {"out of order": 1}


def test_two_subscribers_that_disagree_on_an_offset_are_divergent(book: Book) -> None:
    book.acknowledged(1)
    book.unknown("e2")
    book.subscriber("ann").gets(1)
    book.subscriber("bob").gets(1, event_id="e2", number=2)
    findings = book.findings()
    assert findings.found == {Kind.DIVERGENT: 1}
    assert findings.lines == [
        "divergent: session:1: at bob, connection 1: "
        "offset 1 of a is e2, number 2, after 0, and at ann it is e1, number 1, after 0"
    ]


def test_two_subscribers_that_disagree_on_what_comes_before_are_divergent(book: Book) -> None:
    book.acknowledged(3)
    book.subscriber("ann").gets(3, prev=0)
    book.subscriber("bob", at=2).gets(3, prev=2)
    assert book.wrong() == {"divergent": 1}


def test_a_receipt_that_names_another_events_offset_is_divergent(book: Book) -> None:
    book.unknown("e1")
    book.acknowledged(1, event_id="e9")
    book.subscriber().gets(1)
    assert book.wrong() == {"divergent": 1}


def test_an_event_at_another_offset_than_its_receipt_says_is_divergent(book: Book) -> None:
    book.acknowledged(7, event_id="e1")
    book.subscriber().gets(1)
    assert book.wrong() == {"divergent": 1}


def test_two_receipts_for_one_offset_are_divergent(book: Book) -> None:
    book.acknowledged(1)
    book.acknowledged(1, event_id="e2")
    book.subscriber().gets(1)
    assert book.wrong()["divergent"] >= 1


def test_a_receipt_for_something_else_than_was_published_is_divergent(book: Book) -> None:
    book.acknowledged(1, room="session:2")
    assert book.wrong() == {"divergent": 1}


def test_a_broken_chain_without_a_marker_is_a_silent_gap(book: Book) -> None:
    book.acknowledged(1, 2, 3, 4)
    for name, offsets in (("ann", (1, 2, 3, 4)), ("bob", (1, 4))):
        subscriber = book.subscriber(name)
        subscriber.gets(*offsets)
        subscriber.stays_to_the_end()
    findings = book.findings()
    assert findings.found == {Kind.SILENT_GAP: 1}
    assert findings.lines == [
        "silent gap: session:1: at bob, connection 1: "
        "offsets 2 to 3 did not come, and nothing says so: then came offset 4 (e4), which follows 3"
    ]


def test_what_is_passed_over_is_found_where_offsets_grow_by_more_than_one(book: Book) -> None:
    """The chain tells, and the receipts: an offset that is not there may be of another room."""
    book.acknowledged(4, 9, 15, 21)
    ann = book.subscriber()
    ann.gets(4, prev=0)
    ann.gets(15, prev=9)
    bob = book.subscriber("bob")
    bob.gets(4, prev=0)
    bob.gets(15, prev=4)
    bob.stays_to_the_end()
    findings = book.findings()
    assert findings.found == {Kind.SILENT_GAP: 1, Kind.DIVERGENT: 1, Kind.LOST: 1}


def test_who_resumes_where_a_router_is_behind_is_found(book: Book) -> None:
    """Another router of the cluster says `full`, and has not yet got what the client has."""
    book.acknowledged(4, 9)
    ann = book.subscriber()
    ann.gets(4, prev=0)
    ann.gets(9, prev=4)
    ann.resumes(9, "full", 4)
    ann.gets(9, prev=4)
    assert book.wrong() == {"fabricated full": 1, "twice": 1}


def test_a_marker_that_begins_too_late_leaves_a_silent_gap(book: Book) -> None:
    book.acknowledged(1, 2, 3)
    ann = book.subscriber()
    ann.gets(1)
    ann.is_told(3, 3, "conflated")
    assert book.wrong() == {"silent gap": 1}


def test_missing_that_begins_too_late_leaves_a_silent_gap(book: Book) -> None:
    book.acknowledged(1, 2, 3)
    ann = book.subscriber()
    ann.gets(1)
    ann.resumes(1, "partial", 3, missing={"from": 3, "to": 3})
    assert book.wrong() == {"silent gap": 1}


def test_a_fresh_beginning_for_one_who_asked_to_go_on_is_a_silent_gap(book: Book) -> None:
    book.acknowledged(1, 2, 3)
    ann = book.subscriber()
    ann.gets(1)
    ann.resumes(1, "fresh", 3)
    assert book.wrong() == {"silent gap": 1}


def test_old_events_that_were_promised_and_never_come_are_a_silent_gap(book: Book) -> None:
    ann = Subscriber(book, "ann")
    ann.joins("fresh", 3, replay=2)
    ann.stays_to_the_end()
    assert book.wrong() == {"silent gap": 1}


@pytest.mark.parametrize("came", [(4, 5), (2, 4, 5)], ids=["at the first event", "among the old events"])
def test_a_full_recovery_that_leaves_something_out_is_fabricated(book: Book, came: tuple[int, ...]) -> None:
    book.acknowledged(*range(1, 6))
    ann = book.subscriber("ann")
    ann.gets(*range(1, 6))
    bob = book.subscriber("bob")
    bob.gets(1)
    bob.resumes(1, "full", 4, replay=3)
    bob.gets(*came)
    bob.stays_to_the_end()
    assert book.wrong() == {"fabricated full": 1}


def test_a_full_recovery_where_the_room_is_behind_the_position_is_fabricated(book: Book) -> None:
    book.acknowledged(1, 2)
    ann = book.subscriber()
    ann.gets(1, 2)
    ann.resumes(2, "full", 1)
    assert book.wrong() == {"fabricated full": 1}


def test_a_full_recovery_under_another_epoch_is_fabricated(book: Book) -> None:
    book.acknowledged(1)
    ann = book.subscriber()
    ann.gets(1)
    ann.resumes(1, "full", 1, epoch="b")
    assert book.wrong() == {"fabricated full": 1}


def test_what_was_only_refused_and_yet_appears_is_found(book: Book) -> None:
    book.refused("e1")
    book.subscriber().gets(1)
    findings = book.findings()
    assert findings.found == {Kind.REFUSED_BUT_SEEN: 1}
    assert "every attempt of shop was refused: journal_unavailable" in findings.lines[0]


def test_a_duplicate_of_what_was_only_refused_is_found(book: Book) -> None:
    book.refused("e1")
    book.acknowledged(1, duplicate=True)
    book.subscriber().gets(1)
    assert book.wrong() == {"refused but seen": 1}


def test_two_receipts_that_disagree_are_found(book: Book) -> None:
    book.acknowledged(1)
    book.acknowledged(2, event_id="e1", duplicate=True)
    book.subscriber().gets(1)
    assert book.wrong() == {"receipts disagree": 1}


def test_a_position_that_is_not_good_any_more_is_found_unless_it_is_allowed(book: Book) -> None:
    book.acknowledged(1, 2)
    ann = book.subscriber()
    ann.gets(1)
    ann.resumes(1, "none", 5, epoch="b")
    ann.gets(6, epoch="b")
    ann.stays_to_the_end()
    book.acknowledged(6, epoch="b")
    assert book.wrong() == {"none": 1}
    allowed = book.findings(allow_none=True)
    assert (allowed.violations, allowed.lines) == (0, [])
    assert allowed.found == {Kind.NONE: 1}
    assert allowed.counts["acknowledged, and nobody was there"] == 1


# --- the program


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.checker", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False)


def test_the_program_ends_with_0_where_nothing_is_wrong(book: Book) -> None:
    book.acknowledged(1)
    ann = book.subscriber()
    ann.gets(1)
    ann.stays_to_the_end()
    ended = run(book.save())
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("0 violations\n")


def test_the_program_ends_with_1_and_names_every_violation(book: Book) -> None:
    book.acknowledged(1)
    book.subscriber().stays_to_the_end()
    ended = run(book.save())
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith("lost: session:1: offset 1 (e1) was acknowledged to shop")
    assert "\n1 violation\n" in ended.stdout


def test_violations_past_the_most_are_counted_and_not_written_out(book: Book) -> None:
    book.acknowledged(*range(1, 11))
    book.subscriber().stays_to_the_end()
    findings = book.findings(most=3)
    assert (len(findings.lines), findings.violations) == (3, 10)
    assert ".. and 7 more\n10 violations" in findings.render()


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"type": "end", "subscriber": "ann", "room": "session:1"}\n{"type": "event", "room": "a:1"}\n')
    ended = run(path)
    assert ended.returncode == 2
    assert f"{path}:2 is no record: Object missing required field" in ended.stderr


def test_two_records_on_one_line_are_none(book: Book) -> None:
    book.unknown("e1")
    path = book.save()
    path.write_text(path.read_text().strip() * 2)
    with pytest.raises(RecordError, match=r"jsonl:1 is no record: "):
        judge([path], Findings())


def test_an_acknowledgement_without_a_receipt_is_no_record(book: Book) -> None:
    book._attempt("e1", outcome="acknowledged")
    with pytest.raises(RecordError, match="a receipt goes with `acknowledged`"):
        book.findings()


def test_one_event_id_for_two_events_cannot_be_judged(book: Book) -> None:
    book.unknown("e1")
    book.write("attempt", service="shop", event_id="e1", number=2, outcome="unknown")
    with pytest.raises(RecordError, match="an event_id names one event of one service"):
        book.findings()


def test_no_records_at_all_are_no_clean_run(tmp_path: Path) -> None:
    ended = run(tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no records in" in ended.stderr


def test_an_empty_file_is_no_clean_run(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").touch()
    ended = run(tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there is nothing to judge" in ended.stderr


def test_a_reader_that_has_seen_enough_is_no_error(book: Book) -> None:
    book.unknown("e1")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tests.checker", str(book.save())]
    ended = subprocess.run(command, cwd=REPOSITORY, stdout=writing, stderr=subprocess.PIPE, timeout=30, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_the_help_says_what_is_read_and_what_is_found() -> None:
    shown = run("--help").stdout
    for word in ("attempt ", "subscribed ", "skipped ", *Kind):
        assert f"\n{word}" in shown
