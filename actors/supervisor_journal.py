"""The supervisor journal: facts of supervisors and operators in; events of a room of its own, in their order, out.

The room is like any other: its log, offsets, history and live subscribers are what makes the record last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from .clock import Clock
from .errors import Refusal
from .events import Draft, draft
from .identity import SUPERVISOR_ROOM
from .mailbox import Target
from .messages import Append, Published, Refused
from .report import Report, unreported
from .rooms import RoomLimits

__all__ = ["KINDS", "SUPERVISOR_LIMITS", "SupervisorJournal"]

log = structlog.get_logger("postroom.supervisor")

KINDS = "supervisor."
"""What the kinds of its events begin with."""

SUPERVISOR_LIMITS = RoomLimits(
    history_events=5000,
    history_s=30 * 24 * 3600.0,
    idle_s=float("inf"),  # it never retires: what nobody has open may be dropped for want of space
    escalate_after_s=0.0,
)
"""What its room holds: as much as an operator may want to look back upon."""

_SEEN_BY_ALL = ("node_joined", "node_left")
"""What every router of a cluster tells: where several do within `_ONCE_S` the room takes it once, by its id."""
_ONCE_S = 30.0
_MOST_WAITING = 5000
_MOST_HANDED = 500
"""So many are with the room at once: a flood of failures waits here, where it has a bound."""
_AGAIN_S = 1.0
_WHOLE = "event"
"""The field that is JSON and bounded already: an event in quarantine, which has to come back as it was."""
_MOST_TEXT = 8000
"""Characters of one text: of a longer one, a traceback mostly, the end says more than the beginning."""


class SupervisorJournal:
    """Keeps a record in the room `system:supervisor`. It is a `Report`, used on the loop's thread only.

    What the log does not take, because its disk is full for example, waits and is handed in again; of more than 5,000
    facts that wait the oldest are dropped, and counted in the journal. A failure of the room that keeps the record is
    not recorded in it, as that could fail in the same way without an end; it is in the log file all the same.

    Args:
        clock: Stamps the facts.
        prefix: Sets their ids apart from those of other processes.
        clean: Takes out what nobody may read, such as tokens.
        count: Is told each fact, those too of which no record is kept.
        node: The router that tells the facts, which every entry names; None: there is one router only.
    """

    def __init__(
        self,
        clock: Clock,
        prefix: str,
        clean: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda fields: fields,
        count: Report = unreported,
        node: str | None = None,
    ) -> None:
        self._clock = clock
        self._prefix = prefix
        self._clean = clean
        self._count = count
        self._node = node
        self._room: Callable[[], Target] | None = None
        self._number = 0
        self._waiting: deque[tuple[int, Draft]] = deque()
        """What was not handed to the room, or has to be again."""
        self._mixed = False
        """Whether what came back stands behind what is younger."""
        self._handed: dict[int, Draft] = {}
        """What the room has not answered."""
        self._dropped = 0
        self._timer_set = False
        self._done: list[Callable[[], object]] = []

    def open(self, room: Callable[[], Target]) -> None:
        """Begin to hand in: `room` gives the mailbox of the room `system:supervisor`."""
        self._room = room
        self._hand_in()

    def __call__(self, kind: str, /, **fields: object) -> None:
        """Keep a fact; fields that are None are left out."""
        self._count(kind, **fields)
        if fields.get("actor") == f"room:{SUPERVISOR_ROOM}" and kind != "ordered":
            return  # its failures could breed failures; an order comes from a person
        self._number += 1
        data = {
            name: value if name == _WHOLE else _cut(value)
            for name, value in self._clean(fields).items()
            if value is not None
        }
        if self._node is not None:
            data["node"] = self._node
        now_s = self._clock.time()
        event_id = f"{self._prefix}-{self._number}"
        if kind in _SEEN_BY_ALL:
            event_id = f"{kind}-{fields.get('life')}-{int(now_s / _ONCE_S)}"
        try:
            made = draft(KINDS + kind, data, event_id=event_id, time_ms=int(now_s * 1000))
        except Refusal as refusal:
            _lost(kind, refusal)
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._oldest_first()
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append((self._number, made))
        if not self._timer_set:
            self._hand_in()

    def tell(self, message: Published | Refused) -> None:
        """Take the room's answer to one of them."""
        made = self._handed.pop(message.tag, None)
        if made is None:
            return
        if isinstance(message, Refused):
            if message.refusal.code.temporary:
                self._waiting.append((message.tag, made))
                self._mixed = True
                if not self._timer_set:
                    self._timer_set = True
                    self._clock.call_later(_AGAIN_S, self._try_again)
            else:
                _lost(made.kind.removeprefix(KINDS), message.refusal)
        else:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self("dropped", entries=dropped)
            if not self._timer_set:
                self._hand_in()
        if not self._handed and not self._waiting:
            done, self._done = self._done, []
            for call in done:
                call()

    def when_kept(self, call: Callable[[], object]) -> None:
        """Call `call` once everything so far is in the log."""
        if self._handed or self._waiting:
            self._done.append(call)
        else:
            call()

    def _try_again(self) -> None:
        self._timer_set = False
        self._oldest_first()
        self._hand_in()

    def _oldest_first(self) -> None:
        """Bring what waits into its order: once for all that came back, as a full disk sends 500 back in one turn."""
        if self._mixed:
            self._mixed = False
            self._waiting = deque(sorted(self._waiting, key=lambda each: each[0]))

    def _hand_in(self) -> None:
        if self._room is None:
            return
        while self._waiting and len(self._handed) < _MOST_HANDED:
            number, made = self._waiting.popleft()
            self._handed[number] = made
            self._room().tell(Append(made, named=True, reply_to=self, tag=number))


def _lost(kind: str, refusal: Refusal) -> None:
    log.error("supervisor_entry_lost", kind=kind, reason=refusal.message)


def _cut(value: Any) -> Any:
    """Return a value as JSON can hold it, and not more of it than is of use."""
    if isinstance(value, str):
        text = value if len(value) <= _MOST_TEXT else "[..]" + value[-_MOST_TEXT:]
        return text.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_cut(str(name)): _cut(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(each) for each in value]
    return value
