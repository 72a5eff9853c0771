"""The client as the application sees it: one method per command."""

from __future__ import annotations

import asyncio
import copy
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from websockets.asyncio.client import ClientConnection

from ._backoff import Backoff
from ._commands import Command, Commands
from ._errors import ClientClosed, CommandError, CommandTimeout, ConnectFailed, PostroomError
from ._events import HistoryPage, Presence, Receipt, RoomState
from ._link import Link
from ._messages import Delivery
from ._positions import OnGap, OnSkipped, Position
from ._rooms import Rooms
from ._stream import Stream, Wish
from ._subscription import Subscription
from ._tokens import Tokens
from ._wire import (
    AcknowledgedMessage,
    HistoryMessage,
    PongMessage,
    PresenceMessage,
    PublishedMessage,
    RefreshedMessage,
    ServerMessage,
    StateMessage,
    SubscribedMessage,
    UnsubscribedMessage,
    WelcomeMessage,
)

__all__ = ["Client"]

_logger = logging.getLogger("postroom_client")
_Answer = TypeVar("_Answer", bound=ServerMessage)


class Client:
    """A connection to a router that comes back by itself. Made by `connect`.

    Use it on the loop it was made on. Every command waits for the router's answer, through breaks: what was not
    answered is sent again on the next connection, which changes nothing twice (a publish carries its event id).

    Every command raises:

    - `CommandError` where the router refused it,
    - `CommandTimeout` where no answer came within `command_timeout_s`,
    - `ConnectionEnded` where the router ended the connection for good,
    - `ClientClosed` after `close`.
    """

    def __init__(
        self,
        url: str,
        open_socket: Callable[[], Awaitable[ClientConnection]],
        tokens: Tokens,
        *,
        backoff: Backoff,
        buffer: int,
        command_timeout_s: float,
        resume: Mapping[str, Position],
    ) -> None:
        self._url = url
        self._timeout_s = command_timeout_s
        self._tokens = tokens
        self._commands = Commands()
        self._rooms = Rooms(self._commands, backoff, buffer, command_timeout_s, resume)
        self._link = Link(open_socket, tokens, self._commands, self._rooms, backoff)
        self._subscriptions: dict[str, tuple[Stream, Subscription]] = {}
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "ended" if self._error else "connected" if self.connected else "not connected"
        return f"<Client {self._url} {state}>"

    @property
    def connection_id(self) -> str:
        """The router's name for the connection; another one after every reconnect."""
        return self._welcome.connection

    @property
    def user(self) -> str:
        """The token's user (`sub`), or `anonymous`."""
        return self._welcome.user

    @property
    def role(self) -> str:
        """`user`, `admin` or `service`."""
        return self._welcome.role

    @property
    def expires_at(self) -> datetime | None:
        """When the token ends, as the router said last; None: it does not."""
        return self._link.expires_at

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now. Commands may be given in any case; they wait for one."""
        return self._link.connected

    @property
    def rooms(self) -> tuple[str, ...]:
        """Rooms this client is in: what was subscribed, and what the router joined by itself."""
        return self._rooms.names()

    async def subscribe(
        self,
        room: str,
        *,
        after: Position | None = None,
        history: int | None = None,
        kinds: Iterable[str] | None = None,
        state: bool = True,
        on_gap: OnGap = "raise",
        on_skipped: OnSkipped | None = None,
    ) -> Subscription:
        """Join a room and return its events as an async iterator.

        A broken chain under an open connection (a bug on the router's side) is healed first: the room is left and
        subscribed again from the last good position. Only where the router cannot fill it is it a gap.

        Args:
            room: Its name, for example `session:42`.
            after: Go on after this position; events in between follow first. None: only what comes from now on.
            history: Begin with the last n events; ignored where `after` is given.
            kinds: Only events of these kinds. None: all.
            state: Whether to get the room's state with the answer.
            on_gap: `raise`: the iterator raises `GapError` at the gap's place, once. Or a function that is called there
                (on the loop) while the iterator goes on.
            on_skipped: Called (on the loop) for events that the router left out on purpose, at their place. None:
                nobody wants to know.

        Raises:
            CommandError: `forbidden`, `too_many_rooms`, or `already_subscribed` where a subscription exists.
        """
        wish = Wish(after=after, history=history, kinds=None if kinds is None else tuple(kinds), state=state)
        self._raise_if_ended()
        while True:
            stream, command = self._rooms.open(room, wish)
            if command is None:
                break
            try:
                await self._answer(command, "subscribe", SubscribedMessage)
                break
            except CommandError as error:
                if error.code != "already_subscribed" or not self._rooms.unclaimed(room):
                    raise
                # The connection broke meanwhile, and on the next the router joined the room by itself.
            finally:
                self._rooms.opened(stream, command)
        return self._subscription(stream, on_gap, on_skipped)

    def joined(self, room: str, *, on_gap: OnGap = "raise", on_skipped: OnSkipped | None = None) -> Subscription:
        """Return the subscription to a room that the router joined by itself, or that `resume` named.

        Those are `user:<sub>`, `role:<role>`, `broadcast` and `system`; see `rooms`. Until it is called for a room,
        only the room's newest events are kept, as many as fit into one buffer: call it right after connecting to
        miss none. Called again, it returns the same subscription, and `on_gap` and `on_skipped` are not used.

        Raises:
            CommandError: `not_subscribed`: this client is not in that room.
        """
        self._raise_if_ended()
        return self._subscription(self._rooms.get(room), on_gap, on_skipped)

    async def publish(
        self,
        room: str,
        kind: str,
        data: Mapping[str, object],
        *,
        event_id: str | None = None,
        delivery: Delivery | None = None,
        key: str | None = None,
        traceparent: str | None = None,
    ) -> Receipt:
        """Publish an event and return where it is, once it is committed. Needs the right to.

        Args:
            room: Where to.
            kind: One of the five kinds, or a name of your own with a dot.
            data: The payload, JSON values.
            event_id: Names the event; the router takes it once. None: a random one.
            delivery: `keep`, `latest` or `ephemeral`; None: what is usual for the kind.
            key: What a `latest` value replaces; None: one key per room and kind.
            traceparent: Which trace it belongs to (W3C Trace Context); None: to none.

        Raises:
            TypeError: `data` holds something that JSON has no form for.
        """
        event_id = event_id or uuid.uuid4().hex
        fields = {
            "room": room,
            "kind": kind,
            "data": data,
            "event_id": event_id,
            "delivery": delivery,
            "key": key,
            "traceparent": traceparent,
        }
        answer = await self._ask("publish", fields, PublishedMessage, event_id)
        return Receipt(answer.room, answer.epoch, answer.offset, answer.event_id, answer.duplicate)

    async def state(self, room: str) -> RoomState:
        """Return a room's state and the position it holds for."""
        answer = await self._ask("state", {"room": room}, StateMessage)
        return RoomState(answer.room, Position(answer.epoch, answer.offset), answer.state)

    async def history(
        self, room: str, *, after: int | None = None, before: int | None = None, limit: int | None = None
    ) -> HistoryPage:
        """Return a part of a room's history, without subscribing.

        Args:
            room: Whose.
            after: Only events above this offset.
            before: Only events below this offset.
            limit: How many at most, up to 300. None: 100.
        """
        fields = {"room": room, "after": after, "before": before, "limit": limit}
        answer = await self._ask("history", fields, HistoryMessage)
        return HistoryPage(answer.room, answer.epoch, answer.events, answer.more)

    async def presence(self, room: str) -> Presence:
        """Return who is in a room now."""
        answer = await self._ask("presence", {"room": room}, PresenceMessage)
        return Presence(answer.room, answer.members, answer.count)

    async def ack(self, room: str, event_id: str) -> None:
        """Acknowledge an alert, so that it is no longer shown to everyone who joins."""
        await self._ask("ack", {"room": room, "event_id": event_id}, AcknowledgedMessage)

    async def refresh(self, token: str | None = None) -> datetime | None:
        """Give the router a fresh token and return when that one ends (None: it does not).

        Where `token` is a callable this happens by itself when the router says that the token is about to end.

        Args:
            token: The new token, used for reconnecting too unless a callable gives those. None: ask the callable.
        """
        fresh = token if token is not None else await self._tokens.fetch()
        answer = await self._ask("refresh", {"token": fresh}, RefreshedMessage)
        if token is not None:
            self._tokens.replace(token)
        return answer.expires_at

    async def ping(self) -> datetime:
        """Return the router's time, once it has answered."""
        return (await self._ask("ping", {}, PongMessage)).time

    async def close(self) -> None:
        """Close the connection; iterators end, and commands that wait raise `ClientClosed`."""
        self._end(ClientClosed())
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    # Inside.

    async def _open(self, timeout_s: float) -> None:
        """Connect for the first time: `connect` does this, and says what it raises."""
        self._task = asyncio.create_task(self._run(), name="postroom client")
        greeted = asyncio.create_task(self._link.greeted.wait())
        try:
            await asyncio.wait({self._task, greeted}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            greeted.cancel()
        self._raise_if_ended()
        if self._link.welcome is None:
            last = self._link.last_break
            reason = last.reason if last else f"no answer within {timeout_s:g} s"
            raise ConnectFailed(self._url, reason) from (last.cause if last else None)

    @property
    def _welcome(self) -> WelcomeMessage:
        if self._link.welcome is None:
            raise ConnectFailed(self._url, "not connected yet")
        return self._link.welcome

    def _subscription(self, stream: Stream, on_gap: OnGap, on_skipped: OnSkipped | None) -> Subscription:
        known = self._subscriptions.get(stream.room)
        if known is not None and known[0] is stream:
            return known[1]
        stream.claimed = True
        self._subscriptions = {room: each for room, each in self._subscriptions.items() if not each[0].ended}
        subscription = Subscription(stream, self._rooms, self._leave, on_gap, on_skipped)
        self._subscriptions[stream.room] = (stream, subscription)
        return subscription

    async def _leave(self, stream: Stream) -> None:
        self._rooms.leave(stream)
        if isinstance(self._error, ClientClosed):
            return
        try:
            await self._ask("unsubscribe", {"room": stream.room}, UnsubscribedMessage)
        except CommandError as error:
            if error.code != "not_subscribed":
                raise

    async def _ask(
        self, kind: str, fields: Mapping[str, object], expected: type[_Answer], event_id: str | None = None
    ) -> _Answer:
        self._raise_if_ended()
        return await self._answer(self._commands.add(kind, fields), kind, expected, event_id)

    async def _answer(
        self, command: Command, kind: str, expected: type[_Answer], event_id: str | None = None
    ) -> _Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await command.answer
        except TimeoutError:
            raise CommandTimeout(kind, self._timeout_s, event_id) from None
        finally:
            self._commands.forget(command)
        if not isinstance(answer, expected):
            raise PostroomError(f"the router answered {kind} with {type(answer).__name__}")
        return answer

    async def _run(self) -> None:
        try:
            await self._link.run()
        except Exception as error:
            if isinstance(error, PostroomError):
                _logger.warning("the client ended: %s", error)
            elif self._link.welcome is not None:
                _logger.exception("the client failed")
            self._end(error)

    def _end(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            self._rooms.end(None if isinstance(error, ClientClosed) else error)
            self._commands.end(error)

    def _raise_if_ended(self) -> None:
        if self._error is not None:
            raise copy.copy(self._error)
