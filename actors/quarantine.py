"""Quarantine: poison in; kept, listed, handed in again or dropped by an operator, and reported, to outlive the process.

Used on the loop's thread. Policy when it is full, by number or by bytes: the oldest goes, and is counted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import structlog

from .answers import Answers
from .clock import Clock
from .errors import ErrorCode, Refusal
from .mailbox import Exit, Mailbox, Target
from .messages import Receipt
from .places import places_hash
from .poison import Poison, digest, rebuilt
from .quarantine_entry import Entry
from .report import Report, unreported
from .rooms import Directory

__all__ = ["Outcome", "Quarantine"]

log = structlog.get_logger("postroom.quarantine")

_MOST = 1000
_MOST_BYTES = 64 * 1024 * 1024
_ERROR_CHARACTERS = 1000

Outcome: TypeAlias = tuple[Receipt | Refusal, ...]
"""What became of a message that was handed in again, for each room; nothing for one that is no event."""


class _Retry(Answers):
    """Takes the answers to an entry that was handed in again."""

    def __init__(self, entry: Entry, done: Callable[[Outcome], object]) -> None:
        super().__init__(len(entry.poison.rooms), done)
        self.entry = entry


class Quarantine:
    """Keeps messages that made their actors fail twice.

    Args:
        clock: Stamps them.
        report: Is told `quarantined` and `released`, with everything that `restore` needs.
        most: How many are kept.
        most_bytes: How many bytes of data they may have together.
    """

    def __init__(
        self, clock: Clock, report: Report = unreported, *, most: int = _MOST, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._clock = clock
        self._report = report
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._entries: dict[str, Entry] = {}
        self._named: dict[tuple[str, str], Entry] = {}
        """Events by room and id, where the id is the publisher's."""
        self.dropped = 0
        """How many had to go for newer ones."""
        self.added = 0
        """How many were put away, in all."""

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[Entry]:
        """Return them, the newest first."""
        return list(reversed(self._entries.values()))

    def add(self, actor: str, failure: Exit, poison: Poison) -> Refusal:
        """Put a message away on which `actor` failed; return what its publisher is to be told."""
        asker = poison.reply_to
        entry = asker.entry if isinstance(asker, _Retry) else Entry(f"q-{secrets.token_hex(4)}", actor, poison)
        entry.at_ms = int(self._clock.time() * 1000)
        entry.exception_type = type(failure.cause).__name__
        entry.error = str(failure.cause)[:_ERROR_CHARACTERS]
        entry.traceback_hash = places_hash(failure.cause)
        entry.deaths += failure.deaths
        self.added += 1
        self._put(entry)
        event = poison.event
        about: dict[str, object] = {
            "quarantine": entry.id,
            "actor": actor,
            "message_type": poison.message_type,
            "room": ", ".join(poison.rooms) or None,
            "event_id": event.event_id if event is not None else None,
            "event_kind": event.kind if event is not None else None,
            "exception_type": entry.exception_type,
            "error": entry.error,
            "traceback_hash": entry.traceback_hash,
            "deaths": entry.deaths,
            "retries": entry.retries,
            "incident": failure.incident or None,
        }
        log.error("message_quarantined", **about)
        kept = entry.kept()
        self._report(
            "quarantined",
            **about,
            at_ms=entry.at_ms,
            rooms=list(entry.poison.rooms),
            event=kept,
            digest=None if kept is None else digest(kept),
        )
        return entry.refusal()

    def refuse(self, room: str, event_id: str, asker: Target | None) -> Refusal | None:
        """Return why an event is not taken: it is here; None: it is not, or is just handed in by an operator."""
        entry = self._named.get((room, event_id))
        if entry is None or (isinstance(asker, _Retry) and asker.entry is entry):
            return None
        return entry.refusal()

    def retry(self, id: str, by: str, done: Callable[[Outcome], object]) -> None:
        """Hand a message in again. It leaves when it was taken, and stays when it was refused or is poison still.

        Args:
            id: Which.
            by: Who wants it.
            done: Gets what became of it, once.

        Raises:
            Refusal: `not_found`, or `busy` where it is being tried.
        """
        entry = self._find(id)
        if entry.poison.send is None:
            raise Refusal(
                ErrorCode.NOT_FOUND,
                f"{id} is of an earlier life of the router, and what it was has not been kept; it can be dropped",
            )
        if entry.trying:
            raise Refusal(ErrorCode.BUSY, f"{id} is being tried already")
        entry.trying = True
        entry.retries += 1

        def finish(outcome: Outcome) -> None:
            entry.trying = False
            refusals = [each for each in outcome if isinstance(each, Refusal)]
            if not refusals and self._entries.get(id) is entry:
                self._remove(entry)
                self._released(entry, "retried", by, ", ".join(map(_words, outcome)) or "handed over")
            done(outcome)

        if entry.poison.rooms:
            entry.poison.send(_Retry(entry, finish))
        else:
            finish(())
            entry.poison.send(_Retry(entry, _unheard))

    def drop(self, id: str, by: str) -> None:
        """Let a message go for good; raises `Refusal` as `retry` does where there is none."""
        entry = self._find(id)
        self._remove(entry)
        self._released(entry, "dropped", by, None)

    def restore(self, facts: Iterable[tuple[str, Mapping[str, Any]]], directory: Directory, source: Mailbox) -> None:
        """Take what was reported in earlier lives of the process: kinds and fields, in their order.

        Other kinds may be among them, and what cannot be read is left out. Call it once, before anything is added.
        """
        for kind, fields in facts:
            former = self._entries.get(str(fields.get("quarantine")))
            if kind in ("quarantined", "released") and former is not None:
                self._remove(former)
            if kind != "quarantined":
                continue
            try:
                self._put(self._rebuilt(fields, directory, source))
            except (LookupError, TypeError, ValueError) as error:
                log.warning("quarantine_entry_unreadable", quarantine=fields.get("quarantine"), reason=repr(error))

    def _rebuilt(self, fields: Mapping[str, Any], directory: Directory, source: Mailbox) -> Entry:
        poison = rebuilt(fields, directory, source, self._clock)
        entry = Entry(str(fields["quarantine"]), str(fields["actor"]), poison)
        entry.at_ms = int(fields["at_ms"])
        entry.exception_type, entry.error = str(fields["exception_type"]), str(fields["error"])
        entry.traceback_hash = str(fields["traceback_hash"])
        entry.deaths, entry.retries = int(fields["deaths"]), int(fields["retries"])
        return entry

    def _find(self, id: str) -> Entry:
        entry = self._entries.get(id)
        if entry is None:
            raise Refusal(ErrorCode.NOT_FOUND, f"{id[:80]!r} is not in quarantine")
        return entry

    def _put(self, entry: Entry) -> None:
        """Put an entry in as the newest, and let the oldest go where there are too many."""
        if self._entries.get(entry.id) is entry:
            self._remove(entry)
        self._entries[entry.id] = entry
        self._bytes += entry.size
        self._named.update(dict.fromkeys(entry.names(), entry))
        while len(self._entries) > self._most or (self._bytes > self._most_bytes and len(self._entries) > 1):
            self._remove(next(iter(self._entries.values())))
            self.dropped += 1

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.id]
        self._bytes -= entry.size
        for name in entry.names():
            if self._named.get(name) is entry:
                del self._named[name]

    def _released(self, entry: Entry, how: str, by: str, outcome: str | None) -> None:
        log.info("message_released", quarantine=entry.id, actor=entry.actor, how=how, by=by, outcome=outcome)
        self._report("released", quarantine=entry.id, actor=entry.actor, how=how, by=by, outcome=outcome)


def _unheard(_outcome: Outcome) -> None:
    """Nobody is told what comes of a message that is no event."""


def _words(result: Receipt | Refusal) -> str:
    return f"{result.room} #{result.offset}" if isinstance(result, Receipt) else str(result)
