"""Store: all that is written to a journal's file and read from it. Operations in, in one transaction; results out.

Every method blocks, and is called on the thread that made the connection. The `sqlite3` module lets go of the
interpreter at each step of a statement, and an event loop that is busy takes up to 5 ms to give it back: so there are
few statements, each for many rows, and what is read comes in one row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from actors.errors import ErrorCode, LogUnavailable, Refusal
from actors.events import Event
from actors.log import epoch_of
from actors.record import RoomRecord

from . import schema
from .epochs import rename_histories, renewed
from .faults import DamagedError, is_trouble, reason_of
from .operations import Add, Forget, Open, Operation, Release, Result, Snapshot, Trim
from .reader import WRONG_ROW, check_tables, is_sound, read_room, read_text
from .retention import Retention
from .rows import RoomRow, alerts_of, row_of, seal_of_state
from .statements import insert, write_trims
from .turn import Report, Turn

__all__ = ["Store", "connect"]

_BUSY_S = 1.0
"""How long another process may hold the file before that is trouble."""
_PAGE_BYTES = 4096
_WAL_BYTES = 16 * 1024 * 1024
"""What the write-ahead log's file is cut back to; it is written into the journal long before."""
_CHECKPOINT_BYTES = 4 * 1024 * 1024
_PROBE_BYTES = 64 * 1024
_MOST_PROBE_BYTES = 16 * 1024 * 1024
_SET_ASIDE = " damaged "
"""Stands in the names of damaged rooms; no room's name has a space."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a database file that is there."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None, cached_statements=256
    )


class Store:
    """A journal's file.

    Args:
        connection: To a journal, or to an empty file that becomes one.
        opened: Rooms that are open, by name, with their epochs.
        most_bytes: See `Retention`.

    Raises:
        JournalError: A newer version wrote it, or it could not be migrated.
        DamagedError: It lacks something that every journal has.
        sqlite3.Error: It cannot be read, or written where it has to be.
    """

    def __init__(
        self, connection: sqlite3.Connection, opened: Mapping[str, str] | None = None, *, most_bytes: int = 0
    ) -> None:
        self._db = connection
        self._db.text_factory = read_text
        self._unwritten = _CHECKPOINT_BYTES  # whoever had the file before may have left much
        """About how many bytes wait in the write-ahead log to be written into the journal."""
        schema.prepare(connection)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise DamagedError(f"it cannot be written ahead, only in mode {mode}")
        for pragma in (
            "synchronous = FULL",
            f"journal_size_limit = {_WAL_BYTES}",
            "temp_store = MEMORY",
            "wal_autocheckpoint = 8000",
            "secure_delete = FAST",
            "foreign_keys = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        self._rooms: dict[str, RoomRow] = {}
        """The open rooms."""
        self._failed_bytes = 0
        """About how many bytes the transaction had that failed last."""
        self._last = Turn(0)
        self._retention = Retention(most_bytes)
        self.names: set[str] = set()
        """Rooms that have a row."""
        self.watched: set[str] = set()
        self._next_id = 1
        self.damaged: list[tuple[str, str, str]] = []
        self.ident = ""
        """Names the file for good."""
        self._epochs = ""
        """What the epochs of rooms without a row are made of."""
        self.life: str = ""
        """The file's token, see `life`; empty: nothing was ever kept in it."""
        try:
            self._load(opened or {})
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:  # a table or column is not there
                raise DamagedError(str(error)) from error
            raise

    def run(self, operations: Sequence[Operation], now_ms: int, before_commit: Callable[[Report], None]) -> Report:
        """Do all operations in one transaction; when this returns they are on the disk.

        Args:
            operations: Done in their order.
            now_ms: Unix time in milliseconds.
            before_commit: Called with what will be true if the commit succeeds.

        Raises:
            sqlite3.Error: Nothing was done; but after a failure in the commit itself ask `holds`.
        """
        turn = Turn(now_ms)
        reads_only = all(isinstance(operation, Open | Release) for operation in operations)
        self._db.execute("BEGIN" if reads_only else "BEGIN IMMEDIATE")
        try:
            for operation in operations:
                turn.report.results.append(_DO[type(operation)](self, turn, operation))
            self._flush(turn)
            if not reads_only:
                self._retain(turn)
            before_commit(turn.report)
            self._db.execute("COMMIT")
        except BaseException:
            self._failed_bytes = min(turn.bytes, _MOST_PROBE_BYTES)
            self._roll_back()
            raise
        self._keep(turn)
        return turn.report

    def holds(self, mark: tuple[str, str, int] | None) -> bool:
        """Tell whether a transaction with this mark was committed; only for the last one."""
        if mark is None:
            return False
        room, epoch, offset = mark
        row = self._db.execute("SELECT top FROM rooms WHERE name = ? AND epoch = ?", (room, epoch)).fetchone()
        return row is not None and row[0] >= offset

    def probe(self) -> None:
        """Find out whether the file works: write something to the disk and remove it again, and read what all need.

        It is as large as what failed last: there may be room for less.
        """
        size = max(_PROBE_BYTES, self._failed_bytes)
        try:
            self._db.execute("INSERT OR REPLACE INTO probe VALUES (1, zeroblob(?))", (size,))
            self._db.execute("DELETE FROM probe")
            self._db.execute("PRAGMA shrink_memory")  # else it is read from there
            self._db.execute("SELECT max(id) FROM rooms").fetchall()
        except BaseException:
            self._roll_back()
            raise
        self._failed_bytes = 0
        self._unwritten += 2 * size

    def checkpoint(self) -> None:
        """Write what stands in the write-ahead log into the journal, when it is much."""
        if self._unwritten >= _CHECKPOINT_BYTES:
            self._unwritten = 0
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def undo(self) -> None:
        """Take back the events of the last transaction: they were committed into a file that is no more."""
        turn = Turn(self._last.now_ms)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for name, before in self._last.before.items():
                room = msgspec.structs.replace(self._last.changed[name], top=before.top, last=before.last)
                self._db.execute("DELETE FROM events WHERE room = ? AND offset > ?", (room.id, room.top))
                if before.id:
                    turn.dirty[name] = room
                else:
                    self._db.execute("DELETE FROM rooms WHERE id = ?", (room.id,))
                    room.id = 0
                if name in self._rooms:
                    turn.rooms[name] = room
            self._flush(turn)
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._keep(turn)

    def reaches(self, epoch: str, offset: int) -> bool:
        """Tell whether a room under this epoch, or one that was set aside, has come as far as this offset."""
        found = "SELECT count(*) FROM rooms WHERE epoch = ? AND typeof(top) = 'integer' AND top >= ?"
        return bool(self._db.execute(found, (epoch, offset)).fetchone()[0])

    def sign(self, life: str, *, renew_epochs: bool = False) -> None:
        """Give the file another token; on request with another epoch for every room, and none that is open."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            epochs = renewed(self._db) if renew_epochs else None
            if epochs is not None:
                rename_histories(self._db, epochs)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('life', ?)", (life,))
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self.life = life
        if epochs is not None:
            self._epochs = epochs
            self.forget_opened()

    def opened(self) -> dict[str, str]:
        """Return the open rooms with their epochs."""
        return {name: room.epoch for name, room in self._rooms.items()}

    def forget_opened(self) -> None:
        """Take no room for open any more."""
        self._rooms.clear()

    def back_up(self, target: sqlite3.Connection) -> None:
        """Copy all that was committed into another database."""
        self._db.backup(target)

    def close(self) -> None:
        """Close the file; the last to close it writes the write-ahead log into it."""
        self._db.close()

    # --- operations

    def _open(self, turn: Turn, operation: Open) -> Result:
        self._flush(turn)
        name = operation.room
        stored = self._db.execute("SELECT id FROM rooms WHERE name = ?", (name,)).fetchone()
        if stored is not None:
            try:
                room, record = read_room(self._db, name, stored[0])
            except DamagedError as error:
                self._set_room_aside(turn, name, stored[0], str(error))
            except sqlite3.Error as error:
                if not is_trouble(error) or not self._db.in_transaction:
                    raise
                turn.report.unreadable = True
                return LogUnavailable(reason_of(error))  # what else is in the transaction need not fail with it
            else:
                turn.rooms[name] = room
                return record
        known = self._room(turn, name)
        if known is None or known.id:
            known = RoomRow(name, epoch_of(turn.epochs or self._epochs, name))
        turn.rooms[name] = known
        return RoomRecord(known.epoch, 0, (), 0, 0, None, 0, ())

    def _forget(self, turn: Turn, operation: Forget) -> Result:
        name = operation.room
        stored = self._db.execute("SELECT id FROM rooms WHERE name = ?", (name,)).fetchone()
        if stored is not None:
            self._delete(stored)
            turn.report.forgotten.add(name)
            turn.report.watched[name] = False
        self._renew_epochs(turn)
        assert turn.epochs is not None
        begun = turn.rooms[name] = RoomRow(name, epoch_of(turn.epochs, name))
        return RoomRecord(begun.epoch, 0, (), 0, 0, None, 0, ())

    def _add(self, turn: Turn, operation: Add) -> Result:
        room = self._to_change(turn, operation.room, operation.epoch)
        if room is None:
            return _history_lost(operation.room)
        if room.name not in turn.before:
            turn.before[room.name] = msgspec.structs.replace(room)
            turn.changed[room.name] = room
        draft = operation.append.draft
        offset = room.top + 1
        event = Event(offset=offset, prev=room.top, draft=draft)
        room_id = room.id or self._next_id
        if draft.delivery != "ephemeral":
            try:
                row = row_of(room_id, room.last, event, named=operation.append.named)
            except (TypeError, ValueError) as error:
                return Refusal(ErrorCode.INTERNAL, f"the journal cannot keep event {draft.id!r}: {error}")
            turn.events.append(row)
            turn.bytes += len(row[10])
            room.last = offset
            if draft.ack:
                room.watched = True
                room.alert_offset = offset
        if not room.id:
            room.id = room_id
            self._next_id += 1  # it may go up for nothing
            turn.report.stored.add(room.name)
        room.top = offset
        if turn.report.mark is None:
            turn.report.mark = room.name, room.epoch, offset
        return event

    def _snapshot(self, turn: Turn, operation: Snapshot) -> None:
        room = self._to_change(turn, operation.room, operation.epoch)
        if room is None or not room.id or not room.gone <= operation.offset <= room.top:
            return
        state = operation.state
        alerts = alerts_of(state)
        seal = seal_of_state(room.id, operation.offset, state, alerts)
        turn.states[room.id] = room.id, operation.offset, alerts, seal, state
        turn.bytes += len(state)
        room.state_offset = operation.offset
        # The snapshot may not know of an alert that was under way when it was made.
        room.watched = operation.watched or room.alert_offset > operation.offset

    def _trim(self, turn: Turn, operation: Trim) -> None:
        room = self._to_change(turn, operation.room, operation.epoch)
        if room is not None and room.id:
            before = min(operation.before, room.state_offset + 1)
            self._trim_room(turn, room, before, operation.lost, operation.keep, operation.ids_since_ms)

    def _trim_room(
        self, turn: Turn, room: RoomRow, before: int, lost: int, keep: tuple[int, ...], ids_since_ms: int
    ) -> None:
        if room.id in turn.trims:
            self._flush(turn)
        turn.dirty[room.name] = room
        turn.trims[room.id] = room.id, before, ids_since_ms, keep
        room.gone = max(room.gone, before - 1)
        room.lost = max(room.lost, min(lost, before - 1))

    def _release(self, turn: Turn, operation: Release) -> None:
        turn.rooms[operation.room] = None

    # --- rooms in memory

    def _room(self, turn: Turn, name: str) -> RoomRow | None:
        if name in turn.rooms:
            return turn.rooms[name]
        return self._rooms.get(name)

    def _to_change(self, turn: Turn, name: str, epoch: str) -> RoomRow | None:
        room = self._room(turn, name)
        if room is None or room.epoch != epoch:
            return None
        if name not in turn.rooms:
            room = turn.rooms[name] = msgspec.structs.replace(room)
        room.used_ms = turn.now_ms
        turn.dirty[name] = room
        return room

    def _keep(self, turn: Turn) -> None:
        for name, room in turn.rooms.items():
            if room is None:
                self._rooms.pop(name, None)
            else:
                self._rooms[name] = room
        if turn.epochs is not None:
            self._epochs = turn.epochs
        self._last = turn
        self._unwritten += turn.bytes * 2 + _PAGE_BYTES * len(turn.rooms)

    # --- writing

    def _flush(self, turn: Turn) -> None:
        if turn.events:
            insert(self._db, "INSERT INTO events", turn.events)
            turn.events = []
        if turn.states:
            insert(self._db, "INSERT OR REPLACE INTO states", list(turn.states.values()))
            turn.states = {}
        if turn.trims:
            write_trims(self._db, list(turn.trims.values()))
            turn.trims = {}
        if turn.dirty:
            rooms = [room for room in turn.dirty.values() if room.id]
            turn.dirty = {}
            for room in rooms:
                turn.report.watched[room.name] = room.watched
            insert(
                self._db,
                "INSERT INTO rooms",
                [
                    (
                        each.id,
                        each.name,
                        each.epoch,
                        each.top,
                        each.last,
                        each.gone,
                        each.lost,
                        int(each.watched),
                        each.seal,
                        each.used_ms,
                    )
                    for each in rooms
                ],
                " ON CONFLICT (id) DO UPDATE SET top = excluded.top, last = excluded.last, gone = excluded.gone,"
                " lost = excluded.lost,"
                " watched = excluded.watched, crc = excluded.crc, used_ms = excluded.used_ms",
            )

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # SQLite has done it already after some failures
            self._db.execute("ROLLBACK")

    # --- keeping within the bound

    def _retain(self, turn: Turn) -> None:
        turn.report.trimmed = self._retention.look(self._db, turn.now_ms)
        if not self._retention.active:
            return
        opened = {room.id for name in (*self._rooms, *turn.rooms) if (room := self._room(turn, name)) is not None}
        excess = self._retention.excess(self._db, opened)
        if excess is None:
            turn.report.trimmed = self._retention.give_up(turn.now_ms)
            return
        for room, before, keep in excess.trim:
            self._trim_room(turn, room, before, before - 1, keep, 0)
        self._flush(turn)
        for room in excess.damaged:
            self._set_room_aside(turn, room.name, room.id, WRONG_ROW)
        if excess.forget:
            self._delete([room.id for room in excess.forget])
            turn.report.forgotten.update(room.name for room in excess.forget)
            self._renew_epochs(turn)
        if excess.aside is not None:
            room_id, name = excess.aside
            self._delete([room_id])
            turn.report.dropped.append(name)

    def _delete(self, rooms: Sequence[int]) -> None:
        which = (msgspec.json.encode(rooms).decode(),)
        for table, column in (("events", "room"), ("states", "room"), ("past_ids", "room"), ("rooms", "id")):
            self._db.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", which)

    # --- reading

    def _load(self, opened: Mapping[str, str]) -> None:
        check_tables(self._db)
        meta = dict(self._db.execute("SELECT name, value FROM meta"))
        try:
            self.ident, self._epochs = meta["journal"], meta["epochs"]
        except KeyError as error:
            raise DamagedError(f"its {error} is missing") from None
        self.life = meta.get("life", "lost")
        self._rooms = {name: RoomRow(name, epoch) for name, epoch in opened.items()}
        damaged = []
        largest = 0
        rows = self._db.execute(
            "SELECT r.id, name, epoch, top, last, gone, lost, watched, r.crc, s.offset "
            "FROM rooms r LEFT JOIN states s ON s.room = r.id"
        )
        for room_id, name, epoch, top, last, gone, lost, watched, crc, offset in rows:
            largest = max(largest, room_id)
            if isinstance(name, str) and _SET_ASIDE in name:
                continue
            room = RoomRow(name, epoch, room_id, top, last, gone, lost, bool(watched), offset or 0)
            if not is_sound(room, crc):
                damaged.append((name, room_id))
                continue
            self.names.add(name)
            if watched:
                self.watched.add(name)
            if opened.get(name) == epoch:
                room.alert_offset = top if watched else 0
                self._rooms[name] = room
        self._next_id = largest + 1
        if damaged:
            self._set_rooms_aside(damaged)

    def _set_rooms_aside(self, damaged: Iterable[tuple[str, int]]) -> None:
        turn = Turn(0)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for name, room_id in damaged:
                self._set_room_aside(turn, name, room_id, WRONG_ROW)
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._keep(turn)
        self.damaged = turn.report.damaged

    def _set_room_aside(self, turn: Turn, name: str, room_id: int, reason: str) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = f"{name}{_SET_ASIDE}{stamp}"
        self._db.execute("UPDATE rooms SET name = ?, watched = 0 WHERE id = ?", (aside, room_id))
        self._renew_epochs(turn)
        turn.rooms[name] = None
        turn.report.forgotten.add(name)
        turn.report.watched[name] = False
        turn.report.damaged.append((name, aside, reason))

    def _renew_epochs(self, turn: Turn) -> None:
        """See to it that no room that begins anew comes back under the epoch that it had."""
        turn.epochs = renewed(self._db)


def _history_lost(room: str) -> Refusal:
    """Refuse an event whose room is not what it was when the event was appended."""
    return Refusal(
        ErrorCode.JOURNAL_UNAVAILABLE,
        f"the history of {room} was lost and begins anew; nothing was published, try again",
        retry_after_ms=1000,
    )


_DO: Mapping[type, Callable[[Store, Turn, Any], Result]] = {
    Open: Store._open,
    Add: Store._add,
    Snapshot: Store._snapshot,
    Trim: Store._trim,
    Forget: Store._forget,
    Release: Store._release,
}
