"""Journal and Writer fail, at every message and at the worst moments: nothing is told twice, nothing is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.errors import ErrorCode, LogUnavailable, Refusal
from actors.events import Event
from actors.messages import Append
from actors.record import RoomRecord
from server.journals import backlog
from server.journals.backlog import Backlog
from server.journals.batch import Batch
from server.journals.journal import Journal, Pending, ProbeDue
from server.journals.operations import Add
from server.journals.store import Store
from server.journals.writer import Writer, WriterEnded, Written
from tests.actors.fake_clock import settled
from tests.actors.making import a_draft

from .keeping import Ear, Keeper, keeper, until

Logged = list[dict[str, Any]]


def once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool = False, nth: int = 1) -> list[Any]:
    """Let a method fail at its nth call, before or after it has done its work; return the failures."""
    method = getattr(owner, name)
    failures: list[Any] = []
    calls: list[Any] = []

    def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) != nth:
            return method(self, *args, **kwargs)
        if after:
            method(self, *args, **kwargs)
        failures.append(args)
        raise RuntimeError(f"{name} fails")

    monkeypatch.setattr(owner, name, failing)
    return failures


async def events_after(kept: Keeper, *ids: str) -> list[int]:
    """Append events one by one, and return the offsets that were told."""
    ear = Ear()
    for each in ids:
        kept.tell(ear, a_draft(event_id=each))
        await settled()
    await until(lambda: len(ear.heard) == len(ids))
    assert ear.tags == list(ids)
    return [each.offset for each in ear.heard if isinstance(each, Event)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["_pending", "_written", "on_batch_end"])
async def test_a_journal_that_fails_at_a_message_goes_on_where_it_was(
    path: Path, name: str, after: bool, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    handlers = dict(Journal._handlers)
    async with keeper(path) as kept:
        await kept.record()
        failures = once(monkeypatch, Journal, name, after=after)
        monkeypatch.setattr(
            Journal, "_handlers", {message: getattr(Journal, each.__name__, each) for message, each in handlers.items()}
        )
        assert await events_after(kept, "a", "b", "c", "d") == [1, 2, 3, 4]
        assert len(failures) == 1
        assert await kept.ids() == ["a", "b", "c", "d"]
    assert [line["event"] for line in logged if line["event"].startswith("actor_")] == [
        "actor_failed",
        "actor_restarted",
    ]


@pytest.mark.parametrize("nth", range(1, 6))
async def test_a_journal_that_fails_while_it_tells_results_tells_each_of_them_once(
    kept: Keeper, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure may be anywhere among the results of a batch."""
    await kept.record()
    once(monkeypatch, Backlog, "_tell", after=True, nth=nth)
    ear = Ear()
    kept.tell(ear, *(a_draft(event_id=str(each)) for each in range(5)))
    await until(lambda: len(ear.heard) == 5)
    assert ear.tags == [str(each) for each in range(5)]
    assert await events_after(kept, "more") == [6]


@pytest.mark.parametrize("nth", range(1, 10))
async def test_a_journal_that_fails_while_it_refuses_tells_each_event_once_and_in_order(
    kept: Keeper, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were under way first, then those that waited; wherever among them the failure is."""
    await kept.record()
    monkeypatch.setattr(backlog, "_MOST_IN_BATCH", 3)
    monkeypatch.setattr(Store, "run", _full)
    once(monkeypatch, Backlog, "_tell", after=True, nth=nth)
    ear = Ear()
    kept.tell(ear, *(a_draft(event_id=str(each)) for each in range(9)))
    await until(lambda: len(ear.heard) == 9)
    await settled()
    assert ear.tags == [str(each) for each in range(9)]
    assert {type(each) for each in ear.heard} == {Refusal}
    assert (len(kept.log._backlog), kept.log._backlog.bytes, kept.log._backlog.appends) == (0, 0, 0)


@pytest.mark.parametrize("after", [False, True])
async def test_a_journal_that_fails_at_a_probe_probes_again(
    path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeper(path) as kept:
        await kept.record()
        once(monkeypatch, Journal, "_probe_due", after=after)
        monkeypatch.setitem(Journal._handlers, ProbeDue, Journal._probe_due)
        monkeypatch.setattr(Store, "run", _full)
        assert isinstance((await kept.append("a"))[0], Refusal)
        monkeypatch.undo()
        await until(lambda: kept.log._desk.probe_set)
        await kept.clock.advance(0.5)
        await until(lambda: kept.log.trouble is None)
        assert await events_after(kept, "b") == [1]


def _full(self: Store, *args: Any) -> Any:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


async def test_a_journal_that_is_down_takes_what_comes_in_meanwhile(kept: Keeper) -> None:
    await kept.record()
    kept.log._mailbox.tell(Poison())
    ear = Ear()
    kept.tell(ear, a_draft(event_id="a"))
    await until(lambda: ear.heard)
    assert isinstance(ear.heard[0], Event)


class Poison:
    """A message that the journal cannot take."""

    def __repr__(self) -> str:
        raise RuntimeError("poison")


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("_flush", False),
        ("_flush", True),
        ("_keep", False),  # it comes after the commit
        ("_keep", True),
    ],
)
async def test_a_writer_that_fails_around_a_commit_finds_out_what_was_committed(
    path: Path, name: str, after: bool, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """Either way each event is there once, and was told once."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.record("team:2")
        await kept.append("a")
        failures = once(monkeypatch, Store, name, after=after)
        assert await events_after(kept, "b", "c") == [2, 3]
        assert len(failures) == 1
        assert await kept.append("x", room="team:2", delivery="ephemeral") != []
        assert await kept.ids() == ["a", "b", "c"]
        assert (await kept.record("team:2")).top == 1
    assert not [line for line in logged if line["log_level"] == "error"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_writer_that_fails_around_a_forgotten_rooms_commit_forgets_it_once(
    path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What other rooms were told in the same moment is there once."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.record("team:2")
        await kept.append("a")
        once(monkeypatch, Store, "run", after=after)
        answers: list[RoomRecord | LogUnavailable] = []
        ear = Ear()
        kept.log.append("team:2", Append(a_draft(event_id="x"), True, ear, "x"), ear)
        kept.log.forget("team:1", answers.append)
        kept.log.append("team:2", Append(a_draft(event_id="y"), True, ear, "y"), ear)
        await until(lambda: len(ear.heard) == 2)
        (record,) = answers
        assert isinstance(record, RoomRecord)
        assert record.top == 0
        assert await kept.ids("team:2") == ["x", "y"]
        assert await kept.append("b") != []
        assert (await kept.record()).epoch == record.epoch


async def test_a_batch_that_always_fails_is_refused_and_the_next_one_is_not(
    kept: Keeper, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    await kept.record()
    await kept.append("a")
    flush = Store._flush

    def failing(self: Store, turn: Any) -> None:
        if any(row[3] == "poison" for row in turn.events):
            raise RuntimeError("poison")
        flush(self, turn)

    monkeypatch.setattr(Store, "_flush", failing)
    (refusal,) = await kept.append("poison")
    assert isinstance(refusal, Refusal)
    assert refusal.code is ErrorCode.INTERNAL
    assert await events_after(kept, "b") == [2]
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["journal_batch_failed"]


async def test_a_room_is_unavailable_when_a_batch_always_fails(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Store, turn: Any, operation: Any) -> Any:
        raise SystemExit(1)

    monkeypatch.setattr("server.journals.store._DO", {each: failing for each in _operations()})
    record = await kept.read()
    assert isinstance(record, LogUnavailable)
    monkeypatch.undo()
    await kept.record()


def _operations() -> list[type]:
    from server.journals.store import _DO

    return list(_DO)


@pytest.mark.parametrize("moment", ["before", "between", "after"])
async def test_a_writer_whose_thread_ends_is_followed_by_one_that_finds_out_what_was_done(
    path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends before the batch, with the batch committed and no outcome, or with the outcome untold."""
    async with keeper(path) as kept:
        await kept.record()
        await kept.append("a")
        receive = Writer.on_receive
        ended: list[Batch] = []

        def ending(self: Writer, batch: Batch) -> Batch:
            if ended:
                return receive(self, batch)
            ended.append(batch)
            if moment == "between":
                self._do(batch)
            elif moment == "after":
                batch.outcome = self._do(batch)
            raise RuntimeError("the thread ends")

        monkeypatch.setattr(Writer, "on_receive", ending)
        ear = Ear()
        kept.tell(ear, a_draft(event_id="b"), a_draft(event_id="c"))
        await until(lambda: len(ear.heard) == 2)
        monkeypatch.setattr(Writer, "on_receive", receive)
        assert [each.offset for each in ear.heard if isinstance(each, Event)] == [2, 3]
        assert await kept.ids() == ["a", "b", "c"]
        assert len(ended) == 1


async def test_rooms_that_were_opened_in_a_batch_whose_writer_ended_are_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeper(path) as kept:
        await kept.record()
        receive = Writer.on_receive
        ended: list[Batch] = []

        def ending(self: Writer, batch: Batch) -> Batch:
            if ended or not any(isinstance(each, Add) for each in batch.operations):
                return receive(self, batch)
            self._do(batch)
            ended.append(batch)
            raise RuntimeError("the thread ends")

        monkeypatch.setattr(Writer, "on_receive", ending)
        ear = Ear()
        kept.tell(ear, a_draft(event_id="a"))
        await kept.record("team:2")
        assert len(ended) == 1
        assert isinstance((await kept.append("b", room="team:2"))[0], Event)


async def test_messages_that_come_late_change_nothing(kept: Keeper) -> None:
    await kept.record()
    for message in (Written(Batch((), 0)), WriterEnded(), ProbeDue(), Pending()):
        kept.log._mailbox.tell(message)
    assert await events_after(kept, "a") == [1]


async def test_what_comes_in_while_the_writer_is_busy_goes_in_one_transaction(
    kept: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept.record()
    sizes: list[int] = []
    run: Callable[..., Any] = Store.run

    def counting(self: Store, operations: Any, *args: Any) -> Any:
        sizes.append(len(operations))
        return run(self, operations, *args)

    monkeypatch.setattr(Store, "run", counting)
    ear = Ear()
    kept.tell(ear, a_draft(event_id="first"))
    await settled()
    kept.tell(ear, *(a_draft(event_id=str(each)) for each in range(100)))
    await until(lambda: len(ear.heard) == 101)
    assert sizes == [1, 100]
