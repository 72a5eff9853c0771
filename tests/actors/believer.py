"""A client that keeps only what docs/reference/protocol.md says: per room a position, and a state folded from events.

It knows nothing of the router's own code: what it makes of the messages is held against what the router says.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Believer", "Stream", "fold", "no_state"]

Message = dict[str, Any]


def no_state() -> dict[str, Any]:
    """Make the state of a room in which nothing happened."""
    return {"status": None, "alerts": [], "last_event_at": None, "counts": {}}


def fold(state: dict[str, Any], event: Message) -> None:
    """Take one event, as it is on the wire, into a state, as it is on the wire."""
    if event.get("delivery") == "ephemeral":
        return
    kind, data, time = event["kind"], event["data"], event["time"]
    state["last_event_at"] = time
    state["counts"][kind] = state["counts"].get(kind, 0) + 1
    if kind == "progress":
        state.setdefault("progress", {})[event.get("key") or "default"] = data
    elif kind == "session":
        _fold_session(state, data, time)
    elif kind == "alert" and event.get("ack") == "required":
        _forget_alert(state, event["id"])
        place = {"event_id": event["id"], "offset": event["offset"], "time": time}
        state["alerts"].append({**data, **place})
    elif kind == "alert.acknowledged":
        for alert in _forget_alert(state, data["event_id"]):
            whom = {"event_id": data["event_id"], "title": alert["title"], "user": data["user"], "time": time}
            state["acknowledged"] = [*state.get("acknowledged", []), whom][-10:]
    elif kind == "alert.escalated":
        for alert in state["alerts"]:
            if alert["event_id"] == data["event_id"]:
                alert["escalated_at"] = time


def _fold_session(state: dict[str, Any], data: dict[str, Any], time: str) -> None:
    state["status"] = data["status"]
    if data.get("owner"):
        state["owner"] = data["owner"]
    if data["status"] == "started":
        state["started_at"] = time
        state.pop("ended_at", None)
        state.pop("progress", None)
    else:
        state["ended_at"] = time


def _forget_alert(state: dict[str, Any], event_id: str) -> list[dict[str, Any]]:
    found = [alert for alert in state["alerts"] if alert["event_id"] == event_id]
    state["alerts"] = [alert for alert in state["alerts"] if alert["event_id"] != event_id]
    return found


class Stream:
    """One room as the client has it."""

    def __init__(self, kinds: list[str] | None) -> None:
        self.kinds = kinds
        self.epoch = ""
        self.begin: int | None = None
        """The position at which it came in; None: where the first old event says."""
        self.position: int | None = None
        self.state: dict[str, Any] | None = None
        self.state_offset = 0
        """The position that the state was given for: events up to it are in it."""
        self.events: dict[int, Message] = {}
        self.skipped: list[tuple[int, int, str]] = []
        self.joins: list[Message] = []
        """What the router said each time the client came into the room."""

    def join(self, answer: Message, after: int | None) -> None:
        """Come in, for the first time or again; `after` is the position that was given."""
        self.joins.append(answer)
        recovery = answer["recovery"]
        assert (recovery == "fresh") == (after is None), answer
        if recovery in ("fresh", "none"):
            assert recovery == "fresh" or answer["epoch"] != self.epoch, "a position that the router gave is unknown"
            self.position = None if answer["replay"] else answer["offset"]
            self.begin = self.position
        else:
            assert after == self.position or self.position is None
            assert answer["epoch"] == self.epoch
            self.position = after
            if recovery == "partial":
                missing = answer["missing"]
                assert missing["from"] == self.position + 1, f"{answer} after {self.position}"
                self.skip(missing["from"], missing["to"], "missing")
        self.epoch = answer["epoch"]
        self.state, self.state_offset = answer["state"], answer["offset"]

    def take(self, event: Message) -> None:
        """Take an event in: the check of the chain, and the fold."""
        if self.position is None:
            self.position = self.begin = event["prev"]
        assert event["prev"] == self.position, f"{event} after {self.position}"
        self.position = event["offset"]
        self.events[self.position] = event
        if self.position > self.state_offset and self.state is not None:
            fold(self.state, event)

    def skip(self, first: int, last: int, reason: str) -> None:
        """Move the position to the end of what will not come."""
        if self.position is None:
            self.position = self.begin = first - 1
        assert first == self.position + 1 <= last, f"{reason} {first} to {last} after {self.position}"
        self.position = last
        self.skipped.append((first, last, reason))


class Believer:
    """All rooms of one client, over as many connections as it takes."""

    def __init__(self) -> None:
        self.rooms: dict[str, Stream] = {}
        self.over: list[tuple[str, Stream]] = []
        """Rooms that it has left."""
        self.asked: dict[object, Stream] = {}
        """Subscriptions that are not answered, by the command's id."""
        self.states: list[tuple[str, int, dict[str, Any]]] = []
        """Every state that the router told it, with its room and position."""
        self.connected = False

    def resume(self) -> dict[str, dict[str, Any]]:
        """Return the positions for a new connection; rooms without one, or with a filter, it leaves."""
        self.connected = False
        self.asked.clear()
        for room, stream in list(self.rooms.items()):
            if stream.position is None or stream.kinds is not None:
                self.over.append((room, self.rooms.pop(room)))
        return {room: {"epoch": each.epoch, "offset": each.position} for room, each in self.rooms.items()}

    def take(self, message: Message) -> None:
        """Take one message of the router."""
        kind = message["type"]
        if kind == "welcome":
            self.connected = True
            for room, answer in message["rooms"].items():
                stream = self.rooms.get(room)
                if stream is None:
                    self._join(room, Stream(None), answer, None)
                else:
                    self._join(room, stream, answer, stream.position)
            return
        assert self.connected or kind == "error", f"{message} before the welcome"
        if kind == "subscribed":
            self._join(message["room"], self.asked.pop(message["id"]), message, None)
        elif kind == "error":
            self.asked.pop(message.get("id"), None)
        elif kind == "unsubscribed" or (kind == "revoked" and message["room"] in self.rooms):
            self.over.append((message["room"], self.rooms.pop(message["room"])))
        elif kind == "event":
            self.rooms[message["room"]].take(message)
        elif kind == "skipped":
            self.rooms[message["room"]].skip(message["from"], message["to"], message["reason"])

    def _join(self, room: str, stream: Stream, answer: Message, after: int | None) -> None:
        self.rooms[room] = stream
        self.states.append((room, answer["offset"], _copied(answer["state"])))
        stream.join({**answer, "state": _copied(answer["state"])}, after)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
