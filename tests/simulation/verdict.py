"""Verdict: what publishers and subscribers know at the end, held against the disk, and given to the checker."""

from __future__ import annotations

from collections.abc import Sequence

from actors import replies
from actors.events import decode_data

from ..actors.judge import Judge
from ..checker.findings import Findings
from ..checker.judge import judge_records
from ..checker.records import Attempt as AttemptRecord
from ..checker.records import Record
from .attempts import Attempt
from .disk import Disk
from .link import Link
from .peer import Peer
from .router import Router

__all__ = ["Verdict"]


class Verdict:
    """Judges a history in which nothing more happens.

    Args:
        disk: What was committed.
        attempts: Every event that anybody tried to publish.
        peers: The clients, all of them connected.
    """

    def __init__(self, disk: Disk, attempts: Sequence[Attempt], peers: Sequence[Peer]) -> None:
        self._disk = disk
        self._attempts = attempts
        self._peers = peers
        self._judge = Judge(disk)

    def check_connections(self, router: Router, links: Sequence[Link]) -> None:
        """Nobody is left of whom the client is gone, and nobody is where he may not be; raises `AssertionError`."""
        there = {link.mailbox for link in links}
        for name, state in router.connected.items():
            assert state.mailbox.closed == (state.mailbox not in there), f"connection {name} outlived its client"
            for room in state.subscriptions:
                owner = self._judge.state_in_log(room).get("owner")
                assert state.identity is not None
                assert state.identity.may_subscribe(room, owner), f"{name} is in {room}, which it may not read"
        subscriptions = sum(len(state.subscriptions) for state in router.connected.values())
        assert len(router.ledger) == subscriptions, "the rooms count others than the connections"
        assert all(not link.under_way for link in links), "something is under way for ever"

    def check_rooms(self, states: Sequence[replies.State], *, escalated: bool) -> None:
        """Hold rooms and clients against the disk; raises `AssertionError`.

        Args:
            states: What the rooms say.
            escalated: Whether alerts that nobody acknowledged had to go to the admins.
        """
        for state in states:
            self._judge.check_room(state, [peer.believer for peer in self._peers])
        for peer in self._peers:
            assert peer.welcome, f"{peer.name} was not let in again"
            assert not peer.waits, f"{peer.name} got no answer to {peer.waits}"
            self._judge.check_believer(peer.believer)
        self._judge.check_committed()
        if escalated:
            self._judge.check_escalations()

    def check_publishers(self, life: int) -> None:
        """Hold receipts against the disk; raises `AssertionError`.

        Args:
            life: The router's last one: who published to it has an answer.
        """
        for attempt in self._attempts:
            for receipt in attempt.receipts:
                self._judge.check_receipt(receipt)
            if attempt.in_process:
                assert attempt.answered or attempt.life < life, f"number {attempt.number} got no answer"

    def check_records(self) -> list[str]:
        """Give the checker everything that was seen; return its violations."""
        findings = Findings()
        judge_records(self._records(), findings)
        return findings.lines

    def _records(self) -> list[Record]:
        names = self._names()
        records: list[Record] = []
        for attempt in self._attempts:
            event_id = attempt.event_id or names.get((attempt.room, attempt.number))
            if event_id is not None:
                records += attempt.records(event_id)
        records += self._escalations()
        for peer in self._peers:
            peer.finish()
            records += peer.records
        return records

    def _escalations(self) -> list[Record]:
        """Count the router among the publishers: alerts that nobody acknowledged it takes to the admins."""
        drafts = [event.draft for event in self._disk.committed.get("role:admin", {}).values()]
        return [
            AttemptRecord("router", "role:admin", draft.id, decode_data(draft.data)["number"], "unknown")
            for draft in drafts
        ]

    def _names(self) -> dict[tuple[str, int], str]:
        """Find the names that the router gave to events which had none, by their rooms and numbers."""
        return {
            (name, decode_data(event.draft.data).get("number", 0)): event.draft.id
            for name, events in self._disk.committed.items()
            for event in events.values()
        }
