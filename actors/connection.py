"""Connection: one client's commands in, its rooms' events out through the outbox and one write a batch.

What it works on (wire, outbox, cursors) outlives it, in the ledger: when it fails, its successor goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from . import commands, replies
from .batch import Batch
from .clock import Clock, Timer
from .codec import BadMessage
from .delivery import deliver, expire
from .directory import RoomDirectory
from .errors import CloseCode, ErrorCode, Refusal
from .identity import Identity
from .ledger import ConnectionState
from .loop import LoopActor, handles
from .mailbox import Exit, Mailbox
from .messages import (
    Acknowledge,
    Attach,
    Attached,
    Authenticated,
    Close,
    Detach,
    Drain,
    Frame,
    Joined,
    Overdue,
    Publish,
    Published,
    Query,
    Refused,
    Subscribe,
    WireClosed,
    Writable,
)
from .state import time_text
from .throttle import BadMessageCount, TokenBucket

__all__ = ["Admission", "Authenticator", "Connection", "ConnectionLimits", "ConnectionPorts"]

log = structlog.get_logger("postroom.connection")


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may cost. Sizes in bytes, times in seconds."""

    message_bytes: int = 64 * 1024
    outbox_bytes: int = 1024 * 1024
    rooms: int = 128
    """Rooms that it may subscribe to, beyond those joined by themselves."""
    heartbeat_s: float = 25.0
    hello_s: float = 10.0
    commands_per_s: float = 200.0
    """For role `user`; 0: no limit."""
    commands_burst: int = 400
    token_warning_s: float = 60.0
    token_grace_s: float = 25.0


class Authenticator(Protocol):
    """Who knows whether a token is good."""

    def check(self, token: str, reply: Callable[[Identity | Refusal], None]) -> None:
        """Call `reply` once, now or later, on the loop's thread."""


class Admission(Protocol):
    """Who counts the connections."""

    def enter(self, connection: str, identity: Identity) -> str | None:
        """Count the connection for its user; return why it may not stay, or None."""


class ConnectionPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What every connection works with."""

    source: Mailbox
    directory: RoomDirectory
    authenticator: Authenticator
    admission: Admission
    clock: Clock
    limits: ConnectionLimits
    anonymous: Identity | None
    """Who a client without a token is; None: it is turned away."""


class _HelloRoom(NamedTuple):
    """Tag of a subscription that `hello` asked for."""

    hello: commands.Hello
    room: str


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
        self._codec = state.codec
        self._wire = state.wire
        self._outbox = state.outbox
        self._subscriptions = state.subscriptions
        self._behind: set[str] = set()
        self._timer: Timer | None = None
        self._draining = False
        # While hello is being answered: the rooms' answers, and events that must wait for the welcome.
        self._joins: dict[str, Joined | Refused | None] | None = None
        self._held: list[Batch] = []
        # While this actor repairs what another one left: the rooms that have not attached it again, and from where.
        self._repairing: dict[str, int] = {}
        self._repaired: dict[str, dict[str, int]] = {}
        now = ports.clock.monotonic()
        self._bad_messages = BadMessageCount()
        self._bucket = TokenBucket(ports.limits.commands_per_s, ports.limits.commands_burst, now)

    # --- life

    def on_start(self) -> None:
        """Set the timer that is due next."""
        if not self._state.welcomed:
            self._set_timer(self._ports.limits.hello_s, Overdue("hello", 0.0))
        else:
            self._watch_token()

    def on_restart(self, failure: Exit) -> None:
        """Answer the command that failed, and go on in every room from where the client is."""
        self._answer_failed(failure.message)
        state = self._state
        if state.welcomed:
            self._repairing = {name: each.cursor for name, each in self._subscriptions.items()}
            for subscription in self._subscriptions.values():
                subscription.reattaching = True
                subscription.room_mailbox.tell(Attach(state.id, subscription.cursor))
            self._repaired_if_all()
        elif state.hello is not None and state.identity is not None:
            self._join(state.hello, state.identity)
        self.on_batch_end()

    def _answer_failed(self, message: Any) -> None:
        state = self._state
        if isinstance(message, Frame):
            try:
                failed = list(self._codec.decode(message.text))
            except Exception:  # the very decoding may be what failed
                failed = [commands.Ping()]
        elif isinstance(message, Authenticated):
            failed = [message.command]
        elif isinstance(message, Published | Refused) and isinstance(message.tag, commands.Command):
            failed = [message.tag]
        elif isinstance(message, Joined) and isinstance(message.tag, commands.Subscribe):
            message.subscription.room_mailbox.tell(Detach(state.id))
            failed = [message.tag]
        else:
            return
        for command in failed:
            if isinstance(command, commands.Subscribe):
                state.pending.discard(command.room)
            if isinstance(command, commands.Hello) and not state.welcomed:
                state.hello = state.identity = None
            refusal = Refusal(ErrorCode.INTERNAL, "the router failed while it handled this; it has repaired itself")
            self._send_error(command.id, refusal)

    def on_failure(self, *_exc_info: object) -> None:
        """Leave no timer behind: the successor sets its own."""
        self._set_timer(None)

    def on_stop(self) -> None:
        """Leave the rooms."""
        self._set_timer(None)
        self._state.leave()

    @handles(WireClosed)
    def _wire_closed(self, message: WireClosed) -> None:
        self.stop()

    @handles(Close)
    def _close_on_request(self, message: Close) -> None:
        if message.refusal is not None:
            self._send_error(None, message.refusal)
        self._close(message.code, message.reason)

    @handles(Drain)
    def _drain(self, message: Drain) -> None:
        self._send(replies.Notice(code="draining", reconnect_in_ms=message.reconnect_in_ms))
        self._state.leave()
        self._draining = True

    @handles(Overdue)
    def _overdue(self, message: Overdue) -> None:
        identity = self._state.identity
        expires_at = identity.expires_at if identity is not None else None
        if message.what == "hello":
            if not self._state.welcomed:
                self._close(CloseCode.NO_HELLO, f"no hello within {self._ports.limits.hello_s:g} s")
        elif message.about != expires_at:
            return
        elif message.what == "token_expiring":
            self._send(replies.Notice(code="token_expiring", expires_at=_time_text(expires_at)))
            self._set_timer(
                message.about + self._ports.limits.token_grace_s - self._ports.clock.time(),
                Overdue("token_expired", message.about),
            )
        else:
            self._close(CloseCode.TOKEN_EXPIRED, "token_expired")

    def _watch_token(self) -> None:
        identity = self._state.identity
        if identity is None or identity.expires_at is None:
            self._set_timer(None)
            return
        wait_s = identity.expires_at - self._ports.limits.token_warning_s - self._ports.clock.time()
        self._set_timer(max(0.0, wait_s), Overdue("token_expiring", identity.expires_at))

    def _set_timer(self, wait_s: float | None, message: Overdue | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        own = self.mailbox
        self._timer = None if wait_s is None else self._ports.clock.call_later(wait_s, lambda: own.tell(message))

    def _close(self, code: int, reason: str) -> None:
        if not self._wire.paused and self._outbox.size:
            self._wire.write(self._outbox.take())
        self._outbox.clear()
        self._state.leave()
        self._wire.close(code, reason)

    # --- what the client says

    @handles(Frame)
    def _frame(self, message: Frame) -> None:
        try:
            for command in self._codec.decode(message.text):
                self._obey(command)
        except BadMessage as refusal:
            self._bad(refusal.id, refusal)
        finally:
            self._wire.done()

    def _obey(self, command: commands.Command) -> None:
        state = self._state
        if isinstance(command, commands.Hello):
            self._hello(command)
        elif not state.welcomed or state.identity is None:
            self._bad(
                command.id, Refusal(ErrorCode.UNAUTHENTICATED, "say hello first: {'type': 'hello', 'token': ...}")
            )
        else:
            try:
                if not state.identity.trusted:
                    self._throttle()
                _OBEY[type(command)](self, command, state.identity)
            except Refusal as refusal:
                self._send_error(command.id, refusal)

    def _throttle(self) -> None:
        wait_s = self._bucket.take(self._ports.clock.monotonic())
        if wait_s:
            raise Refusal(
                ErrorCode.RATE_LIMITED,
                f"more than {self._ports.limits.commands_per_s:g} commands a second; wait",
                retry_after_ms=max(1, round(wait_s * 1000)),
            )

    def _bad(self, id: replies.CommandId, refusal: Refusal) -> None:
        self._send_error(id, refusal)
        if self._bad_messages.add(self._ports.clock.monotonic()):
            self._close(CloseCode.BAD_MESSAGES, "too many bad messages")

    def _subscribe(self, command: commands.Subscribe, identity: Identity) -> None:
        room, state = command.room, self._state
        if room in self._subscriptions or room in state.pending:
            raise Refusal(ErrorCode.ALREADY_SUBSCRIBED, f"this connection is in {room} already; unsubscribe first")
        subscribed = sum(not subscription.own for subscription in self._subscriptions.values())
        if subscribed + len(state.pending) >= self._ports.limits.rooms:
            raise Refusal(
                ErrorCode.TOO_MANY_ROOMS,
                f"a connection may be in {self._ports.limits.rooms} rooms; unsubscribe from one, or open another",
            )
        self._allow_reading(room, identity)
        state.pending.add(room)
        self._ask_to_join(
            room, identity, command.after, command.history, _kinds(command.kinds), command.state, tag=command
        )

    def _ask_to_join(
        self,
        room: str,
        identity: Identity,
        after: commands.Position | None,
        history: int | None,
        kinds: frozenset[str] | None,
        state: bool,
        tag: object,
    ) -> None:
        own = self.mailbox
        request = Subscribe(self._state.id, own, identity, after, history, kinds, state, tag)
        self._ports.directory.room(room).tell(request)

    def _allow_reading(self, room: str, identity: Identity) -> None:
        # Whether the session is its owner's only the room knows; a room that was never used is nobody's.
        if not identity.may_subscribe(room) and not (room.startswith("session:") and self._ports.directory.known(room)):
            raise Refusal(ErrorCode.FORBIDDEN, f"this token may not read {room}")

    def _unsubscribe(self, command: commands.Unsubscribe, identity: Identity) -> None:
        subscription = self._subscriptions.pop(command.room, None)
        if subscription is None:
            raise Refusal(ErrorCode.NOT_SUBSCRIBED, f"this connection is not in {command.room}")
        subscription.room_mailbox.tell(Detach(self._state.id))
        self._behind.discard(command.room)
        self._repairing.pop(command.room, None)
        if command.id is not None:
            self._send(replies.Unsubscribed(id=command.id, room=command.room))

    def _publish(self, command: commands.Publish, identity: Identity) -> None:
        if not identity.may_publish(command.room):
            raise Refusal(ErrorCode.FORBIDDEN, f"this token may not publish to {command.room}")
        self._wire.begin()
        self._ports.source.tell(
            Publish(
                rooms=(command.room,),
                kind=command.kind,
                data=command.data,
                event_id=command.event_id,
                key=command.key,
                delivery=command.delivery,
                ack=command.ack,
                reply_to=self.mailbox,
                tag=command,
            )
        )

    def _query(self, command: commands.State | commands.History | commands.Presence, identity: Identity) -> None:
        self._allow_reading(command.room, identity)
        self._ask_known_room(command.room, Query(command, identity, self.mailbox))

    def _ack(self, command: commands.Ack, identity: Identity) -> None:
        self._ask_known_room(command.room, Acknowledge(command.event_id, identity, reply_to=self.mailbox, tag=command))

    def _ask_known_room(self, room: str, message: Query | Acknowledge) -> None:
        if not self._ports.directory.known(room):
            raise Refusal(ErrorCode.NOT_FOUND, f"{room} has never been used")
        self._ports.directory.room(room).tell(message)

    def _refresh(self, command: commands.Refresh, identity: Identity) -> None:
        self._authenticate(command, command.token)

    def _ping(self, command: commands.Ping, identity: Identity) -> None:
        self._send(replies.Pong(id=command.id, time=_time_text(self._ports.clock.time())))

    # --- hello and tokens

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
            self._authenticated(Authenticated(command, self._ports.anonymous))
        else:
            refusal = Refusal(ErrorCode.UNAUTHENTICATED, "hello needs a token; `postroom token` makes one")
            self._authenticated(Authenticated(command, refusal))

    def _authenticate(self, command: commands.Command, token: str) -> None:
        own = self.mailbox
        self._ports.authenticator.check(token, lambda outcome: own.tell(Authenticated(command, outcome)))

    @handles(Authenticated)
    def _authenticated(self, message: Authenticated) -> None:
        command, outcome = message
        if isinstance(command, commands.Refresh):
            self._refreshed(command, outcome)
            return
        assert isinstance(command, commands.Hello)
        if isinstance(outcome, Refusal):
            self._send_error(command.id, outcome)
            if outcome.code.temporary:
                self._state.hello = None  # it may say hello again
                return
            expired = outcome.code is ErrorCode.TOKEN_EXPIRED
            self._close(CloseCode.TOKEN_EXPIRED if expired else CloseCode.UNAUTHENTICATED, str(outcome.code))
            return
        reason = self._ports.admission.enter(self._state.id, outcome)
        if reason is not None:
            self._close(CloseCode.TOO_MANY_CONNECTIONS, reason)
            return
        self._state.identity = outcome
        if outcome.trusted:
            self._wire.trust()
        self._join(command, outcome)

    def _join(self, hello: commands.Hello, identity: Identity) -> None:
        rooms = dict.fromkeys((*identity.own_rooms, *hello.resume))
        self._joins = dict.fromkeys(rooms)
        resumed = 0
        for room in rooms:
            tag = _HelloRoom(hello, room)
            after = hello.resume.get(room)
            try:
                if room not in identity.own_rooms:
                    resumed += 1
                    if resumed > self._ports.limits.rooms:
                        raise Refusal(ErrorCode.TOO_MANY_ROOMS, f"more than {self._ports.limits.rooms} rooms to resume")
                    self._allow_reading(room, identity)
                self._ask_to_join(room, identity, after, None, None, True, tag)
            except Refusal as refusal:
                self._joins[room] = Refused(tag, refusal)

    def _welcome_if_all(self) -> None:
        joins, state = self._joins, self._state
        if joins is None or state.identity is None or state.hello is None or None in joins.values():
            return
        self._joins = None
        identity, limits = state.identity, self._ports.limits
        state.welcomed = True
        self._send(
            replies.Welcome(
                id=state.hello.id,
                connection=state.id,
                user=identity.user,
                role=identity.role,
                protocol=1,
                heartbeat_s=limits.heartbeat_s,
                expires_at=_time_text(identity.expires_at) if identity.expires_at is not None else None,
                limits={
                    "message_bytes": limits.message_bytes,
                    "rooms": limits.rooms,
                    "outbox_bytes": limits.outbox_bytes,
                },
                rooms={room: joined.where for room, joined in joins.items() if isinstance(joined, Joined)},
            )
        )
        state.hello = None
        log.info("connection_opened", connection=state.id, user=identity.user, role=identity.role, client=state.client)
        for room, joined in joins.items():
            if isinstance(joined, Joined):
                self._take_page(room, joined.page, joined.more, joined.subscription.cursor)
            elif joined is not None:
                self._send(replies.Revoked(room=room, reason=joined.refusal.code))
        held, self._held = self._held, []
        for batch in held:
            self._deliver(batch)
        self._watch_token()

    def _refreshed(self, command: commands.Refresh, outcome: Identity | Refusal) -> None:
        before = self._state.identity
        if before is not None and isinstance(outcome, Identity) and outcome.user != before.user:
            outcome = Refusal(
                ErrorCode.FORBIDDEN, f"this connection is {before.user}'s; the new token is another user's"
            )
        if isinstance(outcome, Refusal):
            self._send_error(command.id, outcome)
            return
        self._state.identity = outcome
        for subscription in list(self._subscriptions.values()):
            if not subscription.by_owner and not outcome.may_subscribe(subscription.room):
                del self._subscriptions[subscription.room]
                subscription.room_mailbox.tell(Detach(self._state.id))
                self._send(replies.Revoked(room=subscription.room, reason="the new token does not allow it"))
        expires_at = None if outcome.expires_at is None else _time_text(outcome.expires_at)
        self._send(replies.Refreshed(id=command.id, expires_at=expires_at))
        self._watch_token()

    # --- what rooms and the source answer

    @handles(Joined)
    def _joined(self, message: Joined) -> None:
        tag, subscription, where = message.tag, message.subscription, message.where
        room, state = subscription.room, self._state
        self._subscriptions[room] = subscription
        if isinstance(tag, _HelloRoom):
            subscription.own = state.identity is not None and room in state.identity.own_rooms
            if self._joins is not None and room in self._joins:
                self._joins[room] = message
                self._welcome_if_all()
            return
        state.pending.discard(room)
        self._send(
            replies.Subscribed(
                id=tag.id,
                room=room,
                epoch=where.epoch,
                offset=where.offset,
                recovery=where.recovery,
                replay=where.replay,
                missing=where.missing,
                state=where.state,
            )
        )
        self._take_page(room, message.page, message.more, subscription.cursor)

    @handles(Published)
    def _published(self, message: Published) -> None:
        command, receipt = message
        if isinstance(command, commands.Publish):
            self._wire.done()
            if command.id is not None:
                self._send(
                    replies.Published(
                        id=command.id,
                        room=receipt.room,
                        epoch=receipt.epoch,
                        offset=receipt.offset,
                        event_id=receipt.event_id,
                        duplicate=receipt.duplicate,
                    )
                )
        elif command.id is not None:
            self._send(replies.Acknowledged(id=command.id, room=command.room, event_id=command.event_id))

    @handles(Refused)
    def _refused(self, message: Refused) -> None:
        tag = message.tag
        if isinstance(tag, _HelloRoom):
            if self._joins is not None and tag.room in self._joins:
                self._joins[tag.room] = message
                self._welcome_if_all()
            return
        if isinstance(tag, commands.Publish):
            self._wire.done()
        elif isinstance(tag, commands.Subscribe):
            self._state.pending.discard(tag.room)
        self._send_error(tag.id, message.refusal)

    @handles(replies.State, replies.History, replies.Presence)
    def _send(self, reply: replies.Reply) -> None:
        self._outbox.push(self._codec.encode(reply))

    def _send_error(self, id: replies.CommandId, refusal: Refusal) -> None:
        retry = msgspec.UNSET if refusal.retry_after_ms is None else refusal.retry_after_ms
        self._send(
            replies.Error(
                id=id,
                code=refusal.code,
                message=refusal.message,
                temporary=refusal.code.temporary,
                retry_after_ms=retry,
            )
        )

    # --- events

    @handles(Batch)
    def _deliver(self, batch: Batch) -> None:
        if self._joins is not None:
            self._held.append(batch)
            return
        subscription = self._subscriptions.get(batch.room)
        if subscription is None or deliver(subscription, batch, self._codec, self._outbox):
            return
        if not subscription.reattaching:
            # A batch was lost with an actor: the room has it still.
            subscription.reattaching = True
            subscription.room_mailbox.tell(Attach(self._state.id, subscription.cursor))

    @handles(Attached)
    def _attached(self, message: Attached) -> None:
        subscription = self._subscriptions.get(message.room)
        if subscription is None:
            return
        subscription.reattaching = False
        self._take_page(message.room, message.page, message.more, message.top)
        if message.room in self._repairing:
            start = self._repairing.pop(message.room)
            self._repaired[message.room] = {"from": start, "to": subscription.cursor}
            self._repaired_if_all()

    def _take_page(self, room: str, page: Batch | None, more: bool, top: int) -> None:
        subscription = self._subscriptions[room]
        start = page.prev if page is not None else top
        if start > subscription.cursor:
            expire(subscription, start, self._codec, self._outbox)
        if page is not None:
            deliver(subscription, page, self._codec, self._outbox)
        if more:
            self._behind.add(room)

    def _repaired_if_all(self) -> None:
        if self._repairing:
            return
        repaired, self._repaired = self._repaired, {}
        self._send(replies.Notice(code="resumed", rooms=list(repaired)))
        log.info("connection_repaired", connection=self._state.id, rooms=repaired)

    # --- the wire

    @handles(Writable)
    def _writable(self, message: Writable) -> None:
        """Write what waited: `on_batch_end` does."""

    def on_batch_end(self) -> None:
        """Write what this batch brought, in one piece; ask for old events that are left when there is room for them."""
        if self._outbox.size:
            if not self._wire.paused:
                self._wire.write(self._outbox.take())
            elif self._outbox.over(self._wire.buffered):
                self._slow()
                return
        if self._draining and not self._outbox.size:
            self._close(CloseCode.DRAINING, "draining")
        if self._behind and not self._wire.paused:
            for room in self._behind:
                subscription = self._subscriptions[room]
                subscription.room_mailbox.tell(Attach(self._state.id, subscription.cursor))
            self._behind.clear()

    def _slow(self) -> None:
        log.warning(
            "slow_consumer",
            connection=self._state.id,
            user=self._state.identity.user if self._state.identity is not None else None,
            waiting_bytes=self._outbox.size + self._wire.buffered,
        )
        self._outbox.clear()
        self._close(CloseCode.SLOW_CONSUMER, "slow_consumer")


_OBEY: dict[type[commands.Command], Callable[[Connection, Any, Identity], None]] = {
    commands.Subscribe: Connection._subscribe,
    commands.Unsubscribe: Connection._unsubscribe,
    commands.Publish: Connection._publish,
    commands.State: Connection._query,
    commands.History: Connection._query,
    commands.Presence: Connection._query,
    commands.Ack: Connection._ack,
    commands.Refresh: Connection._refresh,
    commands.Ping: Connection._ping,
}


def _kinds(kinds: list[str] | None) -> frozenset[str] | None:
    return frozenset(kinds) if kinds is not None else None


def _time_text(seconds: float | None) -> str:
    return time_text(int((seconds or 0.0) * 1000))
