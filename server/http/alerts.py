"""Alerts that nobody has acknowledged: the ledger says which open rooms have some, and these say what they are."""

from __future__ import annotations

import asyncio
import heapq
from typing import Any

import msgspec

from actors import commands, replies
from actors.directory import RoomDirectory
from actors.errors import ErrorCode
from actors.identity import ANONYMOUS
from actors.ledger import Ledger
from server.asking import ask_room

from .calls import Asked, Call, Limit
from .spread import Everywhere, Outcomes

__all__ = ["AlertList", "Alerts", "AlertsQuery", "OpenAlert"]


class AlertsQuery(msgspec.Struct, frozen=True):
    """Parameters of the list of alerts."""

    limit: Limit = 100


class OpenAlert(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An alert that is to be acknowledged."""

    room: str
    event_id: str
    severity: str
    title: str
    time: str
    offset: int
    message: str | None = None
    escalated: bool = False
    """Whether it has gone to the admins, because nobody acknowledged it in time."""


class AlertList(msgspec.Struct, frozen=True, omit_defaults=True):
    """Alerts, the latest first."""

    alerts: list[OpenAlert]
    more: bool
    """Whether there are earlier ones."""
    unanswered: list[str] = []
    """Nodes of the cluster that did not answer in time: alerts of rooms that only they have open are not there."""


class Alerts:
    """Lists alerts.

    Args:
        directory: Finds rooms.
        ledger: Says which of them have alerts.
    """

    def __init__(self, directory: RoomDirectory, ledger: Ledger) -> None:
        self._directory = directory
        self._ledger = ledger

    def calls(self) -> list[Call]:
        """Return what it answers."""
        return [
            Call(
                "GET",
                "/v1/alerts",
                "List the alerts that nobody has acknowledged.",
                self._list,
                query=AlertsQuery,
                answer=AlertList,
                refusals=(ErrorCode.BUSY, ErrorCode.JOURNAL_UNAVAILABLE),
                spread=Everywhere(_merged),
            )
        ]

    async def _list(self, asked: Asked[AlertsQuery]) -> AlertList:
        limit = asked.query.limit
        alarmed = {room: note for room, note in self._ledger.notes().items() if note.alerts}
        count = sum(note.alerts for note in alarmed.values())
        rooms = heapq.nlargest(limit, alarmed, key=lambda room: alarmed[room].last_event_ms or 0)
        found = [alert for each in await asyncio.gather(*map(self._of, rooms)) for alert in each]
        latest = heapq.nlargest(limit, found, key=_when)
        return AlertList(latest, max(count, len(found)) > len(latest))

    async def _of(self, room: str) -> list[OpenAlert]:
        reply = await ask_room(self._directory.room(room), commands.State(room=room), ANONYMOUS)
        assert isinstance(reply, replies.State)
        return [_open_alert(room, alert) for alert in reply.state["alerts"]]


def _when(alert: OpenAlert) -> tuple[str, str, int]:
    return alert.time, alert.room, alert.offset


def _merged(query: AlertsQuery, outcomes: Outcomes) -> AlertList:
    """Have each alert once: several routers may have its room open."""
    lists: list[AlertList] = outcomes.answers()
    found = {(alert.room, alert.offset): alert for each in lists for alert in each.alerts}
    latest = heapq.nlargest(query.limit, found.values(), key=_when)
    more = len(found) > len(latest) or any(each.more for each in lists)
    return AlertList(latest, more, outcomes.missing)


def _open_alert(room: str, alert: dict[str, Any]) -> OpenAlert:
    return OpenAlert(
        room=room,
        event_id=alert["event_id"],
        severity=alert["severity"],
        title=alert["title"],
        time=alert["time"],
        offset=alert["offset"],
        message=alert.get("message"),
        escalated="escalated_at" in alert,
    )
