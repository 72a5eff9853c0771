"""Judge: holds what clients believe against what the log committed, as docs/reference/protocol.md promises.

Every method raises `AssertionError` where a promise was broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from actors import replies
from actors.events import Event, decode_data
from actors.messages import Receipt

from .believer import Believer, Stream, fold, no_state
from .late_log import LateLog

__all__ = ["Judge"]


class Judge:
    """Knows what happened.

    Args:
        log: What was committed, and what was trimmed.
    """

    def __init__(self, log: LateLog) -> None:
        self._log = log

    def state_in_log(self, room: str, offset: int | None = None) -> dict[str, Any]:
        """Fold what was committed, up to an offset."""
        state = no_state()
        committed = self._log.committed.get(room, {})
        for each in sorted(committed):
            if offset is None or each <= offset:
                fold(state, on_the_wire(committed[each]))
        return state

    def top(self, room: str) -> int:
        """Return the offset of the last event that was committed."""
        return max(self._log.committed.get(room) or (0,))

    def check_room(self, answer: replies.State, believers: Iterable[Believer]) -> None:
        """The room's state, and that of everybody in it, is what was committed."""
        room = answer.room
        assert answer.offset == self.top(room), f"{room} is at {answer.offset}, its log at {self.top(room)}"
        self.check_state(room, answer.offset, answer.state)
        for believer in believers:
            stream = believer.rooms.get(room)
            if stream is not None:
                self.check_position(room, stream)
                self.check_fold(room, stream, answer.state)

    def check_believer(self, believer: Believer) -> None:
        """Every answer that a client got holds, and so does everything that came or did not."""
        assert not believer.asked, "a subscription was not answered"
        for room, offset, state in believer.states:
            self.check_state(room, offset, state)
        for room, stream in [*believer.rooms.items(), *believer.over]:
            self.check_coverage(room, stream)

    def check_state(self, room: str, offset: int, state: dict[str, Any]) -> None:
        """A state is what the events up to its position make."""
        made = self.state_in_log(room, offset)
        assert comparable(state) == comparable(made), (
            f"the state of {room} at {offset} is {state}, its events make {made}"
        )

    def check_position(self, room: str, stream: Stream) -> None:
        """Everyone is at the top, but for what a filter keeps back."""
        top = self.top(room)
        position = stream.state_offset if stream.position is None else stream.position
        if stream.kinds is None:
            assert position == top, f"a client is at {position} of {room}, which is at {top}"
        committed = self._log.committed.get(room, {})
        late = [committed[offset].draft.kind for offset in range(position + 1, top + 1)]
        assert not set(late) & set(stream.kinds or ()), f"{late} after {position} of {room} did not come"

    def check_fold(self, room: str, stream: Stream, state: dict[str, Any]) -> None:
        """What a client folds by itself is the room's state, as far as nothing was kept from it."""
        since = [each for each in stream.skipped if each[1] > stream.state_offset]
        if stream.state is None or stream.kinds is not None or any(self._lost(room, each) for each in since):
            return
        theirs, own = comparable(state), comparable(stream.state)
        if since:
            theirs.pop("counts"), own.pop("counts")
        assert own == theirs, f"{room}: a client made {own}, the room {theirs}"

    def _lost(self, room: str, skipped: tuple[int, int, str]) -> bool:
        """Return whether something that counts for the state was skipped, beyond what gave way to a newer value."""
        first, last, reason = skipped
        if reason == "conflated":
            return False
        return any(self._log.committed[room][each].draft.delivery != "ephemeral" for each in range(first, last + 1))

    def check_coverage(self, room: str, stream: Stream) -> None:
        """Everything between the first position and the last one came, or did not for a reason that holds."""
        if stream.begin is None or stream.position is None:
            return
        committed = self._log.committed.get(room, {})
        for offset in range(stream.begin + 1, stream.position + 1):
            event, got = committed[offset], stream.events.get(offset)
            if got is not None:
                assert got.items() >= on_the_wire(event).items(), f"{got} came, {_named(event)} was committed"
                assert stream.kinds is None or event.draft.kind in stream.kinds, f"{_named(event)} was not asked for"
                continue
            (reason,) = [reason for first, last, reason in stream.skipped if first <= offset <= last]
            if event.draft.delivery == "ephemeral":
                continue
            if stream.kinds is not None and event.draft.kind not in stream.kinds:
                continue
            assert reason != "filtered", f"{_named(event)} was filtered, and was asked for"
            if offset <= self._log.lost.get(room, 0):
                continue
            assert event.draft.delivery == "latest", f"{_named(event)} was kept from a subscriber as {reason}"
            assert self._gave_way(committed, event, stream.kinds), f"{_named(event)} gave way to nothing"

    def _gave_way(self, committed: dict[int, Event], event: Event, kinds: list[str] | None) -> bool:
        for offset in range(event.offset + 1, max(committed) + 1):
            newer = committed[offset].draft
            if newer.kind == "session" and (kinds is None or "session" in kinds):
                return False
            if (newer.kind, newer.key, newer.delivery) == (event.draft.kind, event.draft.key, "latest"):
                return True
        return False

    def check_committed(self) -> None:
        """Nothing was taken twice."""
        for committed in self._log.committed.values():
            ids = [event.draft.id for event in committed.values() if event.draft.delivery != "ephemeral"]
            twice = [event_id for event_id, count in Counter(ids).items() if count > 1]
            assert not twice, f"taken twice: {twice}"

    def check_receipt(self, receipt: Receipt) -> None:
        """What was acknowledged is where the receipt says."""
        event = self._log.committed[receipt.room][receipt.offset]
        assert event.draft.id == receipt.event_id, f"{receipt}, and there is {_named(event)}"

    def check_escalations(self) -> None:
        """Every alert that nobody acknowledged went to the admins, once."""
        sent = [decode_data(event.draft.data) for event in self._log.committed.get("role:admin", {}).values()]
        origins = [(each["escalated_from"]["room"], each["escalated_from"]["offset"]) for each in sent]
        assert len(origins) == len(set(origins)), "an alert went to the admins twice"
        for room in self._log.committed:
            for alert in self.state_in_log(room)["alerts"]:
                if "escalated_from" not in alert:
                    assert "escalated_at" in alert, f"{alert} was not escalated"
                    assert (room, alert["offset"]) in origins, f"{alert} did not reach the admins"


def _named(event: Event) -> str:
    return f"offset {event.offset} ({event.draft.id}, {event.draft.kind})"


def on_the_wire(event: Event) -> dict[str, Any]:
    """Write an event as docs/reference/protocol.md does."""
    draft = event.draft
    seconds, ms = divmod(draft.time_ms, 1000)
    message = {
        "offset": event.offset,
        "prev": event.prev,
        "id": draft.id,
        "kind": draft.kind,
        "time": f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z",
        "data": decode_data(draft.data),
    }
    if draft.key is not None:
        message["key"] = draft.key
    if draft.delivery != "keep":
        message["delivery"] = draft.delivery
    return {**message, "ack": "required"} if draft.ack else message


def comparable(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state whose alerts stand in an order that does not matter."""
    return {**state, "alerts": sorted(state["alerts"], key=lambda alert: str(alert["event_id"]))}
