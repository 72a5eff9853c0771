"""Connection: one client's commands in, its rooms' events out through the outbox and one write a batch.

What it works on (wire, outbox, cursors) outlives it, in the ledger: when it fails, its successor goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from . import commands, replies
from .attendance import Comings
from .batch import Batch
from .codec import BadMessage, Codec
from .deadlines import Deadlines
from .desk import Desk
from .errors import CloseCode, ErrorCode, Refusal
from .greeting import Greeting, HelloRoom, expiry
from .identity import Identity
from .ledger import ConnectionState
from .loop import LoopActor, handles
from .mailbox import Exit, Mailbox
from .messages import (
    Attached,
    Authenticated,
    Close,
    Detach,
    Drain,
    Exclude,
    Frame,
    Include,
    Included,
    Joined,
    LineFailed,
    Overdue,
    Published,
    Recheck,
    Refused,
    Request,
    Revoke,
    WireClosed,
    Writable,
)
from .old_events import ANSWER_BYTES, old_events
from .ports import ConnectionPorts
from .replies import OldEvents
from .share import Share
from .streams import Streams, leave_all
from .throttle import BadMessageCount
from .times import seconds_text
from .unanswered import FAILED, ORDERS, UNREAD, unanswered

__all__ = ["Connection"]

log = structlog.get_logger("postroom.connection")

_EXCLUDED = "an operator has this user leave it"


class Connection(LoopActor):
    """One client.

    Args:
        state: What it goes on from.
        ports: What every connection works with.
        mailbox: Where it lives; `state.mailbox`.
    """

    def __init__(self, state: ConnectionState, ports: ConnectionPorts, *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._state = state
        self._ports = ports
        self._wire = state.wire
        self._outbox = state.outbox
        self._desk = Desk(state, ports)
        self._deadlines = Deadlines(mailbox, ports.clock, ports.limits)
        self._bad_messages = BadMessageCount()
        self._greeting: Greeting | None = None
        """While hello is being answered."""
        self._streams = Streams(state)
        self._share = Share(state)
        self._incident: str | None = None
        """The failure that this actor repairs, until it has."""
        self._lost: list[str] = []
        """Commands of the actor before that were answered `internal`."""

    # --- life

    def on_start(self) -> None:
        """Set the timer that is due next."""
        state = self._state
        if state.welcomed and state.identity is not None:
            self._deadlines.token(state.identity)
        else:
            self._deadlines.hello()

    def on_restart(self, failure: Exit) -> None:
        """Answer the command that failed, and go on in every room from where the client is."""
        self._incident = failure.incident
        self._state.restarts += 1
        if isinstance(failure.message, ORDERS):  # nobody gives them twice
            self._handlers[type(failure.message)](self, failure.message)
        self._answer_failed(failure.message)
        state = self._state
        if state.welcomed and state.identity is not None:
            self._check_rights(state.identity)  # what failed may have been a refresh
            self._streams.repair()
            self._say_if_repaired()
            self._obey_waiting()
        else:
            self._report_repair({}, "nothing")
            if state.hello is not None and state.identity is not None:
                self._greet(state.hello, state.identity)

    def _answer_failed(self, message: Any) -> None:
        for command in unanswered(message, self._state):
            if isinstance(command, commands.Subscribe):
                self._state.room_answered(command.room, command)
            if isinstance(command, commands.Hello) and not self._state.welcomed:
                self._state.hello = self._state.identity = None
                self._obey_waiting()
            self._say_failed(command)
            self._state.settle(command)

    def _say_failed(self, command: commands.Command) -> None:
        """Answer a command on which an actor failed, unless that was after the answer."""
        if command.id is None or command.id != self._state.answered:
            self._lost.append(f"{type(command).__name__.lower()} {getattr(command, 'room', '')}".rstrip())
            self._send_error(command.id, FAILED)

    def on_failure(self, *_exc_info: object) -> None:
        """Leave no timer behind: the successor sets its own."""
        self._deadlines.cancel()

    def on_stop(self) -> None:
        """Leave the rooms."""
        self._deadlines.cancel()
        leave_all(self._state)

    @handles(WireClosed)
    def _wire_closed(self, message: WireClosed) -> None:
        self.stop()

    @handles(Close)
    def _close_on_request(self, message: Close) -> None:
        self._close(message.code, message.reason)

    @handles(Drain)
    def _drain(self, message: Drain) -> None:
        self._send(replies.Notice(code="draining", reconnect_in_ms=message.reconnect_in_ms))
        leave_all(self._state)
        self._state.draining = True

    @handles(Overdue)
    def _overdue(self, message: Overdue) -> None:
        state = self._state
        if message.what == "hello":
            if not state.welcomed and state.hello is None:  # one that was said waits for its key or its rooms
                self._close(CloseCode.NO_HELLO, f"no hello within {self._ports.limits.hello_s:g} s")
        elif state.identity is None or state.identity.expires_at != message.about:
            return  # the token was refreshed meanwhile
        elif message.what == "token_expiring":
            self._send(replies.Notice(code="token_expiring", expires_at=seconds_text(message.about)))
            self._deadlines.grace(message.about)
        else:
            self._close(CloseCode.TOKEN_EXPIRED, "token_expired")

    def _close(self, code: int, reason: str) -> None:
        if self._outbox.size and not self._wire.paused:
            self._outbox.flush(self._wire.write)
        self._outbox.clear()
        leave_all(self._state)
        self._state.closed = True
        self._wire.close(code, reason)

    # --- what the client says

    @property
    def _codec(self) -> Codec:
        return self._wire.codec

    @handles(Frame)
    def _frame(self, message: Frame) -> None:
        state = self._state
        state.obeying = message, UNREAD
        try:
            said = () if state.closed else self._codec.decode(message.text)
            for place, command in enumerate(said):
                state.obeying = message, said[place:]
                self._obey(command)
            state.obeying = message, ()
        except BadMessage as refusal:
            state.obeying = message, ()
            self._bad(refusal.id, refusal, fatal=refusal.fatal)
        finally:
            self._wire.done()

    @handles(Request)
    def _request(self, message: Request) -> None:
        if not self._state.closed:
            self._obey(message.command)

    def _obey(self, command: commands.Command) -> None:
        identity = self._state.identity
        self._state.answered = None
        if isinstance(command, commands.Hello):
            self._hello(command)
            return
        if isinstance(command, commands.Speak):
            self._speak(command.codec)
            return
        if isinstance(command, commands.Bye):
            self._close(CloseCode.NORMAL, "the client took leave")
            return
        if self._state.hello is not None:
            self._wire.begin()  # it counts as under way: a client cannot pile up commands before its welcome
            self._state.waiting.append(command)
            return
        if not self._state.welcomed or identity is None:
            self._bad(command.id, Refusal(ErrorCode.UNAUTHENTICATED, self._codec.first_words))
            return
        try:
            if not identity.trusted:
                self._desk.throttle()
            if isinstance(command, commands.Unsubscribe):
                self._unsubscribe(command)
            elif isinstance(command, commands.Refresh):
                self._authenticate(command, command.token)
            elif isinstance(command, commands.Ping):
                self._send(replies.Pong(id=command.id, time=seconds_text(self._ports.clock.time())))
            elif isinstance(command, commands.Unfit):
                raise Refusal(command.code, command.message)
            else:
                self._desk.take(command, identity)
        except Refusal as refusal:
            self._send_error(command.id, refusal)

    def _bad(self, id: replies.CommandId, refusal: Refusal, *, fatal: bool = False) -> None:
        self._send_error(id, refusal)
        if fatal:
            self._close(CloseCode.BAD_MESSAGES, "bad message")
        elif self._bad_messages.add(self._ports.clock.monotonic()):
            self._close(CloseCode.BAD_MESSAGES, "too many bad messages")

    def _unsubscribe(self, command: commands.Unsubscribe) -> None:
        room, state = command.room, self._state
        if room in state.subscriptions:
            self._leave(room)
        elif room in state.pending:
            mailbox, tag = state.pending.pop(room)
            mailbox.tell(Detach(state.id))  # it lets the connection in first, and then go
            state.leaving.discard(room)
            if state.late.pop(room, None) is not None:  # it has, and nothing more comes of it
                self._send_unsubscribed_since(room, tag)
        else:
            raise Refusal(ErrorCode.NOT_SUBSCRIBED, f"this connection is not in {room}")
        if command.id is not None:
            self._send(replies.Unsubscribed(id=command.id, room=command.room))

    @handles(Revoke)
    def _revoked(self, message: Revoke) -> None:
        room, reason = message
        if room not in self._state.subscriptions:
            return
        if self._greeting is not None:
            self._greeting.take(room, Refused(None, Refusal(ErrorCode.FORBIDDEN, reason)))
        revoked = self._codec.encode(replies.Revoked(room=room, reason=reason))  # may fail: then it is not left
        self._leave(room)
        if self._state.welcomed:  # else the welcome says it, or a room that is asked anew
            self._put(revoked)
        if room == self._state.only_room:
            self._close(CloseCode.NORMAL, f"{room}: {reason}")

    @handles(Include)
    def _include(self, message: Include) -> None:
        room, state = message.room, self._state
        assert state.identity is not None  # operators see connections that were welcomed
        granted = state.granted if room in state.granted else (*state.granted, room)
        identity = state.identity.granting(state.granted, granted)
        try:
            if state.closed or state.draining:
                raise Refusal(ErrorCode.NOT_FOUND, "the connection is about to be closed")
            if state.only_room in (None, room):
                self._desk.include(room, identity)
        except Refusal as refusal:
            message.reply_to.tell(Refused(None, refusal))
            return
        state.identity, state.granted = identity, granted
        state.leaving.discard(room)
        message.reply_to.tell(Included())

    @handles(Exclude)
    def _exclude(self, message: Exclude) -> None:
        room, state = message.room, self._state
        assert state.identity is not None
        granted = tuple(each for each in state.granted if each != room)
        state.identity, state.granted = state.identity.granting(state.granted, granted), granted
        if room in state.pending:
            state.leaving.add(room)
        self._revoked(Revoke(room, _EXCLUDED))
        message.reply_to.tell(Included())

    def _leave(self, room: str) -> None:
        if self._streams.leave(room):
            self._say_if_repaired()

    # --- hello and tokens

    def _speak(self, codec: Codec) -> None:
        if self._state.hello is None and not self._state.welcomed:
            self._state.speak(codec)

    def _hello(self, command: commands.Hello) -> None:
        state = self._state
        if state.welcomed or state.hello is not None:
            self._bad(command.id, Refusal(ErrorCode.BAD_MESSAGE, "hello was said already; `refresh` takes a new token"))
            return
        state.hello = command
        if command.client is not None:
            state.client = f"{command.client.name} {command.client.version}".strip()[:100]
        token = command.token if command.token is not None else state.offered_token
        if token is not None:
            self._authenticate(command, token)
        elif self._ports.anonymous is not None:
            self._admit(command, self._ports.anonymous)
        else:
            message = "a token is needed here; `postroom token` makes one"
            self._admit(command, Refusal(ErrorCode.UNAUTHENTICATED, message))

    def _authenticate(self, command: commands.Command, token: str) -> None:
        own = self.mailbox
        self._ports.authenticator.check(token, lambda outcome: own.tell(Authenticated(command, outcome)))

    @handles(Authenticated)
    def _authenticated(self, message: Authenticated) -> None:
        if isinstance(message.command, commands.Hello):
            self._admit(message.command, message.outcome)
        else:
            self._refreshed(message.command, message.outcome)

    def _admit(self, hello: commands.Hello, outcome: Identity | Refusal) -> None:
        if isinstance(outcome, Refusal):
            self._send_error(hello.id, outcome)
            if outcome.code.temporary:
                self._state.hello = None  # it may say hello again, in time
                self._deadlines.hello()
                self._obey_waiting()
            else:
                expired = outcome.code is ErrorCode.TOKEN_EXPIRED
                self._close(CloseCode.TOKEN_EXPIRED if expired else CloseCode.UNAUTHENTICATED, outcome.code)
            return
        reason = self._ports.admission.enter(self._state.id, outcome)
        if reason is not None:
            self._count_refusal("too_many_connections")
            self._close(CloseCode.TOO_MANY_CONNECTIONS, reason)
            return
        if outcome.trusted:
            self._wire.trust()
        self._greet(hello, outcome)

    def _obey_waiting(self) -> None:
        waiting = self._state.waiting
        while waiting and self._state.hello is None:
            command = waiting.pop(0)
            self._wire.done()
            try:
                self._obey(command)
            except BaseException:  # the message that failed is another one: the successor could not tell
                self._say_failed(command)
                raise

    def _greet(self, hello: commands.Hello, identity: Identity) -> None:
        self._state.identity = identity
        own = identity.own_rooms if self._state.only_room is None else ()
        self._greeting = Greeting(hello, identity, own, self._desk, self._ports.limits.rooms)
        if self._greeting.complete:
            self._greeted(self._greeting)

    def _room_answered_hello(self, room: str, answer: Joined | Refused) -> None:
        if self._greeting is not None and self._greeting.take(room, answer):
            self._greeted(self._greeting)

    def _greeted(self, greeting: Greeting) -> None:
        self._greeting = None
        self._welcome(greeting)

    def _welcome(self, greeting: Greeting) -> None:
        state = self._state
        assert state.identity is not None
        old = self._old_events(greeting.joined) if self._codec.tells_old_events else {}
        welcome = greeting.welcome(state, self._ports, old)
        refused = [replies.Revoked(room=room, reason=refusal.code) for room, refusal in greeting.refused.items()]
        frames = b"".join(map(self._codec.encode, (welcome, *refused)))
        # Before the write, which may fail: what was said once is said, and as a whole.
        state.welcomed = True
        state.hello = None
        self._put(frames)
        for room, joined in greeting.joined.items():
            self._streams.begin(joined, old.get(room))
        for room in greeting.joined:
            if room in greeting.behind:
                self._streams.catch_up(room)
        self._obey_waiting()
        self._deadlines.token(state.identity)
        log.info(
            "connection_opened",
            connection=state.id,
            user=state.identity.user,
            role=state.identity.role,
            protocol=state.protocol,
            client=state.client,
            resumed=len(greeting.joined.keys() - state.identity.own_rooms),
        )

    def _old_events(self, rooms: Mapping[str, Joined]) -> dict[str, OldEvents]:
        told, left = {}, ANSWER_BYTES
        for room, joined in rooms.items():
            told[room], size = old_events(joined, left)
            left -= size
        return told

    def _refreshed(self, command: commands.Command, outcome: Identity | Refusal) -> None:
        before = self._state.identity
        if before is not None and isinstance(outcome, Identity):
            outcome = before.refresh(outcome)
        if isinstance(outcome, Refusal):
            self._send_error(command.id, outcome)
            return
        outcome = outcome.granting((), self._state.granted)
        self._state.identity = outcome
        self._check_rights(outcome)
        expires_at, expires_in_s = expiry(outcome, self._ports.clock)
        self._send(replies.Refreshed(id=command.id, expires_at=expires_at, expires_in_s=expires_in_s))
        self._deadlines.token(outcome)

    def _check_rights(self, identity: Identity) -> None:
        """Leave the rooms that may not be read any more."""
        for room, subscription in list(self._state.subscriptions.items()):
            if room.startswith("session:"):  # who owns it only the room knows
                subscription.room_mailbox.tell(Recheck(self._state.id, identity))
            elif not identity.may_subscribe(room):
                self._revoked(Revoke(room, "the new token does not allow it"))

    # --- what rooms and the source answer

    @handles(Joined)
    def _joined(self, message: Joined) -> None:
        tag, subscription = message.tag, message.subscription
        room, state = subscription.room, self._state
        if isinstance(tag, HelloRoom) and tag.greeting is not self._greeting:
            return  # asked by an actor that failed; this one has asked again
        if not isinstance(tag, HelloRoom) and not state.asked(room, tag):
            self._send_unsubscribed_since(room, tag)
            return
        if isinstance(tag, HelloRoom):
            state.room_answered(room, tag)
            state.subscriptions[room] = subscription
            subscription.own = state.identity is not None and room in state.identity.own_rooms
            self._room_answered_hello(room, message)
            return
        self._take_place(message)

    def _send_unsubscribed_since(self, room: str, command: Any) -> None:
        if command.id is not None:
            self._send_error(command.id, Refusal(ErrorCode.NOT_SUBSCRIBED, f"you have unsubscribed from {room} since"))

    def _take_place(self, message: Joined) -> None:
        """Tell the client that it is in the room, or let go of a place that it may not have any more.

        Until one of these is done the room counts as asked, so that after a failure the place is let go of. Where the
        old events are too many for this turn it goes on to do so, and is asked once more in a later one (`Share`).
        """
        tag, subscription, where = message.tag, message.subscription, message.where
        room, state = subscription.room, self._state
        excluded = room in state.leaving
        # A refresh with fewer rights may have come between.
        allowed = subscription.by_owner or (state.identity is not None and state.identity.may_subscribe(room))
        if excluded or state.closed or not allowed:
            subscription.room_mailbox.tell(Detach(state.id))
            state.room_answered(room, tag)
            state.leaving.discard(room)
            if not excluded and not state.closed:
                self._send_error(tag.id, Refusal(ErrorCode.FORBIDDEN, f"this token may not subscribe to {room}"))
            elif tag.id is not None and not state.closed:
                self._send_error(tag.id, Refusal(ErrorCode.FORBIDDEN, f"{room}: {_EXCLUDED}"))
            return
        old = None
        if self._codec.tells_old_events:
            old, size = old_events(message)
            if not self._share.take(room, size):
                subscription.leave()  # of this place the client never hears
                return
            where = msgspec.structs.replace(where, old=old)
        subscribed = self._codec.encode(replies.Subscribed(id=tag.id, room=room, **msgspec.structs.asdict(where)))
        state.subscriptions[room] = subscription  # before the write, which may fail: what was said once is said
        state.room_answered(room, tag)
        self._put(subscribed)
        if not state.closed:  # this answer may have been one too many
            self._streams.begin(message, old)

    @handles(Published)
    def _published(self, message: Published) -> None:
        command, receipt = message
        if not self._state.unsettled(command):
            return
        if command.id is not None and isinstance(command, commands.Ack):
            self._send(replies.Acknowledged(id=command.id, room=command.room, event_id=command.event_id))
        elif command.id is not None:
            self._send(replies.Published(id=command.id, **receipt._asdict()))
        self._state.settle(command)

    @handles(Refused)
    def _refused(self, message: Refused) -> None:
        tag = message.tag
        if isinstance(tag, HelloRoom):
            if tag.greeting is self._greeting:
                self._state.room_answered(tag.room, tag)
                joined_before = self._state.subscriptions.pop(tag.room, None)  # for an actor that failed
                if joined_before is not None:
                    joined_before.leave()
                self._room_answered_hello(tag.room, message)
            return
        if isinstance(tag, commands.Subscribe):
            self._state.room_answered(tag.room, tag)
            self._state.leaving.discard(tag.room)
        if self._state.unsettled(tag):
            self._send_error(tag.id, message.refusal)
            self._state.settle(tag)

    @handles(replies.State, replies.History, replies.Presence)
    def _send(self, reply: replies.Reply) -> None:
        if self._state.closed:  # an answer may be large, and there may be hundreds
            return
        frame = self._codec.encode(reply)
        self._state.answered = reply.id
        self._put(frame)

    def _put(self, frames: bytes) -> None:
        if self._state.closed:
            return
        outbox, wire = self._outbox, self._wire
        outbox.push(frames)
        # At once, not at the batch's end: answers may be large, and what a client asks for it must also read.
        if outbox.over(wire.buffered):
            if not wire.paused:
                outbox.flush(wire.write, wire.room)
                return
            outbox.conflate()
            if outbox.over(wire.buffered) and wire.writable:
                outbox.flush(wire.write)
            elif outbox.over(wire.buffered):
                self._slow()

    def _send_error(self, id: replies.CommandId, refusal: Refusal) -> None:
        self._count_refusal(refusal.code)
        self._send(replies.Error.of(id, refusal))

    def _count_refusal(self, reason: str) -> None:
        if self._state.only_room is None:  # else the request is answered with it, and counted where that is done
            self._ports.meters.rejected["websocket", reason] += 1

    # --- events

    @handles(Batch)
    def _deliver(self, batch: Batch) -> None:
        if self._greeting is not None:
            self._greeting.behind.add(batch.room)
        else:
            self._streams.deliver(batch)

    @handles(Comings)
    def _tell_comings(self, message: Comings) -> None:
        subscription = self._state.subscriptions.get(message.room)
        if subscription is not None and subscription.presence:
            self._put(message.frames(self._codec, self._state.id))

    @handles(LineFailed)
    def _fail(self, message: LineFailed) -> None:
        raise message.error

    @handles(Attached)
    def _attached(self, message: Attached) -> None:
        if self._streams.attached(message):
            self._say_if_repaired()

    def _say_if_repaired(self) -> None:
        repaired = self._streams.repaired()
        if repaired is not None:
            self._send(replies.Notice(code="resumed", rooms=list(repaired)))
            log.info("connection_repaired", connection=self._state.id, rooms=repaired, incident=self._incident)
            self._report_repair(repaired, "the notice `resumed`; the socket stayed open")

    def _report_repair(self, rooms: Mapping[str, Mapping[str, int]], noticed: str) -> None:
        identity = self._state.identity
        self._ports.report(
            "repaired",
            incident=self._incident,
            actor=self.mailbox.name,
            user=identity.user if identity is not None else None,
            rooms=rooms,
            events_replayed=self._streams.replayed,
            commands_lost=self._lost,
            noticed=f"{noticed}; {len(self._lost)} of its commands answered `internal`" if self._lost else noticed,
        )

    # --- the wire

    @handles(Writable)
    def _writable(self, message: Writable) -> None:
        """Write what waited: `on_batch_end` does."""

    def on_batch_end(self) -> None:
        """Write what this batch brought, in one piece; ask for the next old events when there is room for them."""
        outbox, wire = self._outbox, self._wire
        self._state.obeying = None
        if not wire.paused:
            while outbox.size and not wire.paused:  # a write may let more be written at once, and nobody says so then
                outbox.flush(wire.write, wire.room)
            if not wire.paused:  # asked again: the write may have filled the socket
                self._go_on()
        elif wire.stuck and outbox.size and outbox.over(wire.buffered):
            if not wire.writable:
                self._slow()
                return
            outbox.flush(wire.write)
        if not outbox.size:
            if self._state.draining:
                self._close(CloseCode.DRAINING, "draining")
            elif self._state.welcomed and not len(self.mailbox):
                wire.open_line()

    def _go_on(self) -> None:
        """Ask for what there is room for now: first for the answers that are late, then for the next old events."""
        for room in self._share.renew():
            self._desk.ask_again(room)
        if not self._state.late:
            self._streams.go_on()

    def _slow(self) -> None:
        identity = self._state.identity
        log.warning(
            "slow_consumer",
            connection=self._state.id,
            user=identity.user if identity is not None else None,
            waiting_bytes=self._outbox.size + self._wire.buffered,
        )
        self._close(CloseCode.SLOW_CONSUMER, "slow_consumer")
