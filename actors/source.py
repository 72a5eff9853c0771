"""NotificationSource: what services publish in, checked and stamped drafts to the rooms out."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable

from .clock import Clock
from .directory import RoomDirectory
from .errors import ErrorCode, Refusal
from .events import Draft, draft
from .identity import SUPERVISOR_ROOM, is_room_name
from .loop import LoopActor, handles
from .mailbox import Exit, Mailbox
from .messages import Append, Publish, Published, Receipt, Refused
from .report import Report, unreported

__all__ = ["Answers", "NotificationSource"]


class Answers:
    """Collects the answers to several publishes.

    Args:
        count: How many answers will come; each is tagged with its place, from 0 on.
        done: Gets receipts and refusals in the order of their places when the last one is there.
    """

    def __init__(self, count: int, done: Callable[[tuple[Receipt | Refusal, ...]], object]) -> None:
        self._results: dict[int, Receipt | Refusal] = {}
        self._count = count
        self._done = done

    def tell(self, message: Published | Refused) -> None:
        """Take one answer. What a failure makes come twice counts once: the first."""
        if message.tag in self._results:
            return
        self._results[message.tag] = message.receipt if isinstance(message, Published) else message.refusal
        if len(self._results) == self._count:
            self._done(tuple(self._results[place] for place in range(self._count)))


class _Nobody:
    def tell(self, message: object) -> None:
        """Drop an answer that nobody waits for."""


_NOBODY = _Nobody()


class NotificationSource(LoopActor):
    """Where every event enters: validates it, stamps it, and hands it to its rooms.

    Args:
        directory: Finds the rooms.
        clock: Stamps the events.
        report: Is told of repairs.
        mailbox: Where it lives.
    """

    def __init__(
        self, directory: RoomDirectory, clock: Clock, report: Report = unreported, *, mailbox: Mailbox
    ) -> None:
        super().__init__(mailbox=mailbox)
        self._report = report
        self._directory = directory
        self._clock = clock
        self._prefix = secrets.token_hex(5)
        self._numbers = itertools.count(1)

    def on_restart(self, failure: Exit) -> None:
        """Answer who waits for the message on which the source failed."""
        message = failure.message
        waits = isinstance(message, Publish) and message.reply_to is not None
        self._report(
            "repaired",
            incident=failure.incident,
            actor=self.mailbox.name,
            noticed="the publisher was told to publish again" if waits else "nothing",
        )
        if isinstance(message, Publish) and message.reply_to is not None:
            refusal = Refusal(
                ErrorCode.INTERNAL,
                "the source failed on this event, which may have been taken: publish it again with the same event_id",
            )
            message.reply_to.tell(Refused(message.tag, refusal))

    @handles(Publish)
    def _publish(self, message: Publish) -> None:
        if self.asked:
            self._publish_asked(message)
            return
        reply_to = message.reply_to if message.reply_to is not None else _NOBODY
        try:
            made = self._draft(message)
        except Refusal as refusal:
            reply_to.tell(Refused(message.tag, refusal))
            return
        append = Append(made, message.event_id is not None, reply_to, message.tag, message.at)
        for room in message.rooms:
            self._directory.room(room).tell(append)

    def _publish_asked(self, message: Publish) -> None:
        made = self._draft(message)
        reply = self.defer_reply()

        def answer(results: tuple[Receipt | Refusal, ...]) -> None:
            refusals = [result for result in results if isinstance(result, Refusal)]
            if refusals:
                reply.tell_error(refusals[0])
            else:
                reply.tell(results)

        answers = Answers(len(message.rooms), answer)
        for place, room in enumerate(message.rooms):
            self._directory.room(room).tell(Append(made, message.event_id is not None, answers, place))

    def _draft(self, message: Publish) -> Draft:
        """Check and stamp an event; raises `Refusal`."""
        if not message.rooms:
            raise Refusal(ErrorCode.INVALID_EVENT, "an event needs a room: name one, like 'session:42'")
        for room in message.rooms:
            if not is_room_name(room):
                raise Refusal(
                    ErrorCode.INVALID_EVENT,
                    f"room {room[:80]!r} is no room name: use 'session:ID', 'user:ID', 'broadcast' or 'word:ID'",
                )
            if room == SUPERVISOR_ROOM:
                raise Refusal(ErrorCode.FORBIDDEN, f"{room} is the router's own record; nobody else may publish to it")
        return draft(
            message.kind,
            message.data,
            event_id=message.event_id if message.event_id is not None else f"{self._prefix}-{next(self._numbers):x}",
            time_ms=int(self._clock.time() * 1000),
            key=message.key,
            delivery=message.delivery,
            ack=message.ack,
        )
