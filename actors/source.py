"""NotificationSource: what services publish in, checked and stamped drafts to the rooms out."""

from __future__ import annotations

import itertools
import secrets
from typing import Any, ClassVar

from .answers import NOBODY, Answers
from .clock import Clock
from .directory import RoomDirectory
from .errors import ErrorCode, Refusal
from .events import Draft, draft
from .identity import SUPERVISOR_ROOM, is_room_name
from .loop import LoopActor, handles
from .mailbox import Exit, Mailbox
from .messages import Append, Publish, Receipt, Refused
from .poison import of_publish
from .quarantine import Quarantine
from .report import Report, unreported
from .trace import valid_traceparent
from .tracing import Tracing

__all__ = ["NotificationSource"]


class NotificationSource(LoopActor):
    """Where every event enters: validates it, stamps it, and hands it to its rooms.

    Args:
        directory: Finds the rooms.
        clock: Stamps the events.
        quarantine: Where events go on which it fails twice.
        report: Is told of repairs.
        tracing: Is told of events that belong to a trace; None: nobody wants spans.
        mailbox: Where it lives.
    """

    retried: ClassVar[tuple[type, ...]] = (Publish,)

    def __init__(
        self,
        directory: RoomDirectory,
        clock: Clock,
        quarantine: Quarantine,
        report: Report = unreported,
        tracing: Tracing | None = None,
        *,
        mailbox: Mailbox,
    ) -> None:
        super().__init__(mailbox=mailbox)
        self._report = report
        self._directory = directory
        self._clock = clock
        self._quarantine = quarantine
        self._begun: Publish | None = None
        """The last event that a room or its publisher was told of."""
        self._tracing = tracing or Tracing(clock)
        self._prefix = secrets.token_hex(5)
        self._numbers = itertools.count(1)

    def on_restart(self, failure: Exit) -> None:
        """Answer who waits for the message on which the source failed."""
        message = failure.message
        self._report("repaired", incident=failure.incident, actor=self.mailbox.name, noticed=_noticed(failure))
        if not isinstance(message, Publish) or failure.then == "retry":
            return
        if failure.then == "quarantine":
            refusal = self._quarantine.add(self.mailbox.name, failure, of_publish(message, self.mailbox))
        else:
            refusal = Refusal(
                ErrorCode.INTERNAL,
                "the source failed on this event, which may have been taken: publish it again with the same event_id",
            )
        if message.reply_to is not None:
            message.reply_to.tell(Refused(message.tag, refusal))

    def can_retry(self, message: Any) -> bool:
        """Tell whether nobody has been told of an event yet."""
        return message is not self._begun

    def on_batch_end(self) -> None:
        """Hold on to no event."""
        self._begun = None

    @handles(Publish)
    def _publish(self, message: Publish) -> None:
        if self.asked:
            self._publish_asked(message)
            return
        reply_to = message.reply_to if message.reply_to is not None else NOBODY
        try:
            made = self._draft(message)
        except Refusal as refusal:
            self._begun = message
            reply_to.tell(Refused(message.tag, refusal))
            return
        append = Append(made, message.event_id is not None, reply_to, message.tag, message.at)
        for room in message.rooms:
            mailbox = self._directory.room(room)
            self._begun = message
            mailbox.tell(append)
        if made.traceparent is not None:
            self._tracing.taken(made, message.rooms, message.at)

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
        if made.traceparent is not None:
            self._tracing.taken(made, message.rooms, message.at)

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
        self._refuse_poison(message)
        return draft(
            message.kind,
            message.data,
            event_id=message.event_id if message.event_id is not None else f"{self._prefix}-{next(self._numbers):x}",
            time_ms=int(self._clock.time() * 1000),
            key=message.key,
            delivery=message.delivery,
            ack=message.ack,
            traceparent=None if message.traceparent is None else valid_traceparent(message.traceparent),
        )

    def _refuse_poison(self, message: Publish) -> None:
        """Raise `Refusal` for an event that is in quarantine: to check it may be what the source failed on."""
        if not len(self._quarantine) or not isinstance(message.event_id, str):
            return
        for room in message.rooms:
            refusal = self._quarantine.refuse(room, message.event_id, message.reply_to)
            if refusal is not None:
                raise refusal


def _noticed(failure: Exit) -> str:
    """Tell operators what the publisher noticed of a failure."""
    message = failure.message
    if not isinstance(message, Publish) or message.reply_to is None or failure.then == "retry":
        return "nothing"
    put_away = failure.then == "quarantine"
    return f"the publisher was told {'that the event is in quarantine' if put_away else 'to publish again'}"
