"""One room: attempts, answers, events and markers in; when all are read, attempts are held against what was seen.

What is held grows with the events of a room, not with the subscribers that got them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from .findings import Findings, Kind
from .following import Following, Sight, Sights
from .records import Attempt, End, Event, Receipt, RecordError, Skipped, Subscribed

__all__ = ["Room"]

_AMBIGUOUS = frozenset({"internal"})
"""Codes after which nobody knows whether the event was taken."""
_OWN_KINDS = frozenset({"alert.acknowledged", "alert.escalated"})
"""What the router publishes by itself."""


class _Fate:
    """What is known of one event from those who published it."""

    __slots__ = ("code", "epoch", "may_be_taken", "number", "offset", "service")

    def __init__(self, attempt: Attempt) -> None:
        self.service = attempt.service
        self.number = attempt.number
        self.may_be_taken = False
        """Whether an attempt was acknowledged as new, or ended so that nobody knows."""
        self.code = ""
        self.epoch = ""
        self.offset = 0
        """Where it is by its first receipt; 0: it was never acknowledged."""

    def __str__(self) -> str:
        return f"number {self.number} of {self.service}"


class Room:
    """The records of one room.

    Args:
        name: Its name.
        findings: Where it goes if something is wrong.
    """

    def __init__(self, name: str, findings: Findings) -> None:
        self._name = name
        self._findings = findings
        self._fates: dict[str, _Fate] = {}
        self._sights: dict[str, Sights] = {}
        self._followings: dict[str, Following] = {}
        self._former: list[Following] = []
        """Followings that ended with a new beginning of the same subscriber."""

    # --- as the records come

    def attempt(self, attempt: Attempt) -> None:
        """Take an attempt to publish."""
        fate = self._fates.get(attempt.event_id)
        if fate is None:
            fate = self._fates[attempt.event_id] = _Fate(attempt)
        elif (fate.service, fate.number) != (attempt.service, attempt.number):
            message = f"{self._name}: {attempt.event_id} is {fate}, and number {attempt.number} of {attempt.service}"
            raise RecordError(f"{message}: an event_id names one event of one service")
        self._findings.counts[f"attempts {attempt.outcome}"] += 1
        if attempt.receipt is not None:
            self._receipt(attempt.event_id, fate, attempt.receipt)
        elif attempt.code is None or attempt.code in _AMBIGUOUS:
            fate.may_be_taken = True
        else:
            fate.code = attempt.code
        if attempt.code is not None:
            self._findings.counts[f"attempts refused: {attempt.code}"] += 1

    def _receipt(self, event_id: str, fate: _Fate, receipt: Receipt) -> None:
        if (receipt.room, receipt.event_id) != (self._name, event_id):
            what = f"{fate} ({event_id}) was acknowledged as {receipt.event_id} of {receipt.room}"
            self._findings.add(Kind.DIVERGENT, self._name, what)
            return
        if receipt.duplicate:
            self._findings.counts["attempts acknowledged: duplicate"] += 1
        else:
            fate.may_be_taken = True
        if not fate.offset:
            fate.epoch, fate.offset = receipt.epoch, receipt.offset
        elif (fate.epoch, fate.offset) != (receipt.epoch, receipt.offset):
            places = f"{fate.epoch}:{fate.offset} and at {receipt.epoch}:{receipt.offset}"
            self._findings.add(Kind.RECEIPTS_DISAGREE, self._name, f"{fate} ({event_id}) is at {places}")

    def subscribed(self, answer: Subscribed) -> None:
        """Take the answer that let a subscriber in."""
        before = self._followings.get(answer.subscriber)
        self._findings.counts[f"answers {answer.recovery}"] += 1
        after = answer.after
        start: int | None = answer.offset
        if answer.recovery == "none":
            position = "a position" if after is None else f"{after.epoch}:{after.offset}"
            what = f"{position} is not good any more, it goes on at {answer.epoch}:{answer.offset}"
            self._wrong(Kind.NONE, answer, what)
        elif answer.recovery == "fresh":
            start = None if answer.replay else answer.offset
            if after is not None:
                what = f"it asked to go on after {after.epoch}:{after.offset} and was told to begin at {answer.offset}"
                self._wrong(Kind.SILENT_GAP, answer, what)
        elif after is None or after.epoch != answer.epoch:
            asked = "without a position" if after is None else f"after {after.epoch}:{after.offset}"
            what = f"it asked to go on {asked} and was told {answer.recovery} under epoch {answer.epoch}"
            self._wrong(Kind.FABRICATED_FULL, answer, what)
        else:
            if answer.missing is not None:
                self._findings.counts["offsets missing"] += answer.missing.to - answer.missing.from_ + 1
            if before is None or before.epoch != answer.epoch:
                before = self._begin(answer, after.offset)
            before.go_on(answer)
            return
        self._begin(answer, start)

    def _begin(self, answer: Subscribed, start: int | None) -> Following:
        before = self._followings.get(answer.subscriber)
        if before is not None:
            before.close()
            self._former.append(before)
        sights = self._sights.setdefault(answer.epoch, {})
        following = self._followings[answer.subscriber] = Following(answer, start, sights, self._findings)
        return following

    def event(self, event: Event) -> None:
        """Take an event that reached a subscriber."""
        offset = event.offset
        following = self._followings.get(event.subscriber)
        if following is None or following.connection != event.connection or following.epoch != event.epoch:
            what = f"offset {offset} ({event.event_id}) of {event.epoch} came before the answer that let it in"
            self._wrong(Kind.OUT_OF_ORDER, event, what)
            return
        if event.prev == following.position and offset > event.prev:
            following.position = offset
            following.after_full = False
        else:
            following.out_of_chain(event)
        sight = following.sights.get(offset)
        if sight is None:
            own = event.kind in _OWN_KINDS
            following.sights[offset] = Sight(event.event_id, event.prev, event.number, own, following.subscriber)
        elif sight.event_id != event.event_id or sight.prev != event.prev or sight.number != event.number:
            theirs = _described(sight.event_id, sight.prev, sight.number)
            ours = _described(event.event_id, event.prev, event.number)
            what = f"offset {offset} of {event.epoch} is {ours}, and at {sight.witness} it is {theirs}"
            self._wrong(Kind.DIVERGENT, event, what)

    def skipped(self, marker: Skipped) -> None:
        """Take a marker."""
        self._findings.counts[f"markers {marker.reason}"] += 1
        following = self._followings.get(marker.subscriber)
        if following is None or following.connection != marker.connection:
            what = f"a marker up to offset {marker.to} came before the answer that let it in"
            self._wrong(Kind.OUT_OF_ORDER, marker, what)
        else:
            following.skip(marker)

    def end(self, end: End) -> None:
        """Take that a subscriber was there to the end."""
        following = self._followings.get(end.subscriber)
        if following is None:
            raise RecordError(f"{self._name}: {end.subscriber} was here to the end, and was never let in")
        following.ended = True
        self._findings.counts["subscriptions to the end"] += 1

    # --- when all is read

    def judge(self) -> None:
        """Hold what was published against what was seen."""
        for following in self._all_followings():
            following.close()
        acknowledged: dict[str, dict[int, str]] = {}
        for event_id, fate in self._fates.items():
            if fate.offset:
                there = acknowledged.setdefault(fate.epoch, {})
                other = there.setdefault(fate.offset, event_id)
                if other != event_id:
                    what = f"the receipts of {event_id} and {other} both say offset {fate.offset} of {fate.epoch}"
                    self._findings.add(Kind.DIVERGENT, self._name, what)
                if not fate.may_be_taken:
                    what = f"{fate} ({event_id}) was a duplicate at once, and no attempt before could have been taken"
                    self._findings.add(Kind.REFUSED_BUT_SEEN, self._name, what)
        self._count_unknown()
        for epoch in {**self._sights, **acknowledged}:
            self._judge_epoch(epoch, self._sights.get(epoch, {}), acknowledged.get(epoch, {}))

    def _all_followings(self) -> Iterator[Following]:
        yield from self._followings.values()
        yield from self._former

    def _judge_epoch(self, epoch: str, sights: Sights, acknowledged: dict[int, str]) -> None:
        seen = self._judge_sights(sights)
        followings = [following for following in self._all_followings() if following.epoch == epoch]
        in_order = sorted(sights)
        unseen: list[int] = []
        for offset, event_id in acknowledged.items():
            if offset in sights:
                if sights[offset].event_id != event_id:
                    at = sights[offset]
                    what = f"offset {offset} is {event_id} by its receipt, and {at.event_id} at {at.witness}"
                    self._findings.add(Kind.DIVERGENT, self._name, what)
            elif event_id in seen:
                other = seen[event_id]
                what = f"{event_id} is at offset {offset} by its receipt, and at {other} at {sights[other].witness}"
                self._findings.add(Kind.DIVERGENT, self._name, what)
            else:
                unseen.append(offset)
        late = self._judge_ends(followings, sights, acknowledged)
        for offset in unseen:
            if offset in late:
                continue
            place = bisect_left(in_order, offset)
            after = in_order[place] if place < len(in_order) else 0
            if after and sights[after].prev < offset:
                at = sights[after]
                what = f"{self._lost(offset, acknowledged)} at {at.witness} offset {after} follows {at.prev}"
                self._findings.add(Kind.LOST, self._name, what)
            elif any(following.start < offset <= following.position for following in followings):
                self._findings.counts["acknowledged, and skipped by all"] += 1
            else:
                self._findings.counts["acknowledged, and nobody was there"] += 1

    def _judge_sights(self, sights: Sights) -> dict[str, int]:
        """Hold every event that was seen against the attempts; return where each is."""
        seen: dict[str, int] = {}
        self._findings.counts["events, each counted once"] += len(sights)
        for offset, sight in sights.items():
            event_id = sight.event_id
            first = seen.setdefault(event_id, offset)
            if first != offset:
                what = f"{event_id} is at offset {first} and at offset {offset}"
                self._findings.add(Kind.TWICE, self._name, what)
            if sight.own:
                continue
            fate = self._fates.get(event_id)
            where = f"offset {offset} ({event_id}) came to {sight.witness}"
            if fate is None:
                self._findings.add(Kind.PHANTOM, self._name, f"{where}, and nobody published it")
            elif sight.number is not None and sight.number != fate.number:
                what = f"{where} with number {sight.number}, and was published as {fate}"
                self._findings.add(Kind.PHANTOM, self._name, what)
            elif not fate.may_be_taken and not fate.offset:
                what = f"{where}, and every attempt of {fate.service} was refused: {fate.code}"
                self._findings.add(Kind.REFUSED_BUT_SEEN, self._name, what)
        return seen

    def _judge_ends(self, followings: list[Following], sights: Sights, acknowledged: dict[int, str]) -> set[int]:
        """Find what comes after the position of somebody who was there to the end; return the offsets."""
        ended = [following for following in followings if following.ended and following.position >= 0]
        top = max(max(sights, default=0), max(acknowledged, default=0))
        short = [following for following in ended if following.position < top]
        if not short:
            return set()
        lowest = min(following.position for following in short)
        late = sorted(offset for offset in {*sights, *acknowledged} if offset > lowest)
        for offset in late:
            without = [following for following in short if following.position < offset]
            first = without[0]
            others = f" (and {len(without) - 1} others)" if len(without) > 1 else ""
            where = f"{first.subscriber}{others}, there to the end, came to {first.position}"
            self._findings.add(Kind.LOST, self._name, f"{self._lost(offset, acknowledged, sights)} {where}")
        return set(late)

    def _lost(self, offset: int, acknowledged: dict[int, str], sights: Sights | None = None) -> str:
        event_id = acknowledged.get(offset)
        if event_id is not None:
            return f"offset {offset} ({event_id}) was acknowledged to {self._fates[event_id].service}, and"
        assert sights is not None
        return f"offset {offset} ({sights[offset].event_id}) came to {sights[offset].witness}, and"

    def _count_unknown(self) -> None:
        seen = {sight.event_id for sights in self._sights.values() for sight in sights.values()}
        for event_id, fate in self._fates.items():
            if fate.may_be_taken and not fate.offset:
                appeared = "appeared" if event_id in seen else "did not appear"
                self._findings.counts[f"unknown to the end, and {appeared}"] += 1

    def _wrong(self, kind: Kind, record: Subscribed | Event | Skipped, what: str) -> None:
        self._findings.add(kind, self._name, f"at {record.subscriber}, connection {record.connection}: {what}")


def _described(event_id: str, prev: int, number: int | None) -> str:
    return f"{event_id}, number {number}, after {prev}"
