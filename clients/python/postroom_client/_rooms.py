"""The rooms of one client: what the router says about them in, streams out; attaches again what came loose.

Runs on the client's loop. Knows commands, but no socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping

from ._backoff import Backoff
from ._commands import Broken, Command, Commands
from ._errors import CommandError, Revoked
from ._events import Event
from ._positions import Position, Skipped
from ._stream import Stream, Wish
from ._wire import RevokedMessage, SubscribedMessage, UnsubscribedMessage, WelcomeMessage

__all__ = ["Rooms"]

_logger = logging.getLogger("postroom_client")


class Rooms:
    """The streams of one client, by room.

    Args:
        commands: Where commands go.
        backoff: Delays between attempts to attach a room again.
        limit: Bound of each stream's buffer, in events.
        timeout_s: How long an answer may take, in seconds.
        resume: Rooms and positions to begin with.
    """

    def __init__(
        self, commands: Commands, backoff: Backoff, limit: int, timeout_s: float, resume: Mapping[str, Position]
    ) -> None:
        self._commands = commands
        self._backoff = backoff
        self._limit = limit
        self._timeout_s = timeout_s
        self._streams: dict[str, Stream] = {}
        self._opening: set[str] = set()
        self._answers: dict[int, tuple[Stream, Position | None]] = {}
        self._asked: dict[str, Position] = {}
        self._at_router: set[str] = set()
        self._parked: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._connected = False
        self._space = asyncio.Event()
        commands.on_add = self._space.set
        for room, position in resume.items():
            stream = self._streams[room] = Stream(room, Wish(after=position), limit)
            stream.chain.start_at(position)
            stream.taken = position

    # What the application wants.

    def names(self) -> tuple[str, ...]:
        """Return the rooms there are, in the order they came."""
        return tuple(self._streams)

    def get(self, room: str) -> Stream:
        """Return a room's stream.

        Raises:
            CommandError: `not_subscribed`.
        """
        try:
            return self._streams[room]
        except KeyError:
            raise CommandError("not_subscribed", f"not in {room}; in: {', '.join(self._streams) or 'none'}") from None

    def unclaimed(self, room: str) -> bool:
        """Return whether the router joined this room by itself and the application has not asked for it."""
        stream = self._streams.get(room)
        return stream is not None and not stream.claimed

    def open(self, room: str, wish: Wish) -> tuple[Stream, Command | None]:
        """Begin a subscription: return its stream and the command to wait for, None if the room is there already.

        Raises:
            CommandError: `already_subscribed`: the application reads it already.
        """
        stream = self._streams.get(room)
        if room in self._opening or (stream is not None and stream.claimed):
            raise CommandError("already_subscribed", f"{room} is subscribed already; use the subscription that exists")
        if stream is not None:
            if wish == Wish():
                return stream, None
            self._drop(stream)
            self._commands.tell("unsubscribe", {"room": room})
        stream = Stream(room, wish, self._limit)
        command = self._commands.add("subscribe", _fields(stream))
        self._opening.add(room)
        self._answers[command.id] = (stream, wish.after)
        return stream, command

    def opened(self, stream: Stream, command: Command) -> None:
        """Finish `open`, whether it succeeded or not."""
        self._opening.discard(stream.room)
        self._answers.pop(command.id, None)

    def leave(self, stream: Stream) -> None:
        """Forget a stream."""
        if self._streams.get(stream.room) is stream:
            self._drop(stream)
        self._space.set()

    def taken(self, stream: Stream) -> None:
        """Make use of the space that the application made."""
        self._space.set()
        if stream.room in self._parked and stream.drained:
            self._parked.discard(stream.room)
            if self._connected:
                self._reattach(stream)

    def awaited(self) -> None:
        """Let the reader go on: an iterator waits for what may be behind a full stream."""
        self._space.set()

    # What the connection does.

    def resume(self) -> dict[str, Position]:
        """Return what `hello` asks for."""
        self._asked = {
            room: stream.resumable
            for room, stream in self._streams.items()
            if stream.resumable is not None and room not in self._parked
        }
        return self._asked

    def disconnected(self) -> None:
        """Let every stream wait for the next welcome."""
        self._connected = False
        self._at_router.clear()
        for stream in self._streams.values():
            stream.attached = False
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def end(self, error: Exception | None) -> None:
        """End every stream."""
        for stream in list(self._streams.values()):
            self._drop(stream)
            stream.end(error)
        self._space.set()

    async def wait_for_space(self, stream: Stream) -> None:
        """Wait until a stream can take more; not while something waits that may be behind it on the socket."""
        while stream.full:
            if len(self._commands) or any(other.awaited for other in self._streams.values()):
                if stream.overfull and stream.room not in self._parked:
                    self._park(stream)
                return
            self._space.clear()
            await self._space.wait()

    # What the router says.

    def welcome(self, message: WelcomeMessage) -> None:
        """Attach the rooms that the router resumed or joined, and ask for those it did not."""
        self._connected = True
        self._at_router = set(message.rooms)
        for room, joined in message.rooms.items():
            stream = self._streams.get(room)
            if stream is None:
                stream = self._streams[room] = Stream(room, Wish(), self._limit, claimed=False)
                stream.attach(joined, joined.state, None)
            elif room in self._asked:
                stream.attach(joined, joined.state, self._asked[room])
        for room, stream in self._streams.items():
            if not stream.attached and room not in self._parked:
                self._reattach(stream)

    def subscribed(self, message: SubscribedMessage) -> None:
        """Attach a room at the router's answer, before the next message is read."""
        self._at_router.add(message.room)
        asked = self._answers.pop(message.id, None) if isinstance(message.id, int) else None
        if asked is not None and not asked[0].ended:
            stream, after = asked
            self._streams[message.room] = stream
            stream.attach(message, message.state, after)
        elif message.id is None:
            if message.room not in self._streams:
                stream = self._streams[message.room] = Stream(message.room, Wish(), self._limit, claimed=False)
                stream.attach(message, message.state, None)
        elif message.room not in self._streams:
            self._commands.tell("unsubscribe", {"room": message.room})

    def event(self, event: Event) -> Stream | None:
        """Give an event to its stream and return it, so that the reader can wait for space."""
        stream = self._streams.get(event.room)
        if stream is not None and not stream.receive(event):
            _logger.warning("%s: an event is missing before %d, asking for it again", event.room, event.offset)
            self._reattach(stream)
        return stream

    def skipped(self, marker: Skipped) -> Stream | None:
        """Give a marker to its stream and return it."""
        stream = self._streams.get(marker.room)
        if stream is not None:
            stream.skip(marker)
        return stream

    def revoked(self, message: RevokedMessage) -> None:
        """End a stream that the router ended; one that is being asked for again ends with its own answer."""
        self._at_router.discard(message.room)
        stream = self._streams.get(message.room)
        if stream is not None and (stream.attached or message.room not in self._tasks):
            self._drop(stream)
            stream.end(Revoked(message.room, message.reason))

    def unsubscribed(self, message: UnsubscribedMessage) -> None:
        """Note that the router left a room; without an id, nobody here had asked for it."""
        self._at_router.discard(message.room)
        stream = self._streams.get(message.room)
        if message.id is None:
            self.revoked(RevokedMessage(room=message.room, reason="the router unsubscribed it"))
        elif stream is not None and not stream.claimed and message.room not in self._tasks:
            self._drop(stream)  # the router joined it anew before it was left

    # Attaching again.

    def _park(self, stream: Stream) -> None:
        stream.attached = False
        self._parked.add(stream.room)
        self._at_router.discard(stream.room)
        self._commands.tell("unsubscribe", {"room": stream.room})

    def _reattach(self, stream: Stream) -> None:
        self._cancel(stream.room)
        self._start(stream.room, self._attach_again(stream))

    async def _attach_again(self, stream: Stream) -> None:
        """Leave the room if the router has us in it, then subscribe from the position. Ends with the connection."""
        attempt = 0
        while not stream.ended:
            command: Command | None = None
            try:
                if stream.room in self._at_router:
                    self._at_router.discard(stream.room)
                    command = self._commands.add("unsubscribe", {"room": stream.room}, once=True)
                    await self._answered(command)
                command = self._commands.add("subscribe", _fields(stream), once=True)
                self._answers[command.id] = (stream, stream.chain.position or stream.wish.after)
                await self._answered(command)
                return
            except Broken:
                return
            except TimeoutError:
                self._at_router.add(stream.room)  # it may be in there now: leave first
            except CommandError as error:
                if error.code == "not_subscribed":
                    continue
                if not error.temporary:
                    refused = error.code in ("forbidden", "unauthenticated", "not_found")
                    self.leave(stream)
                    stream.end(Revoked(stream.room, str(error)) if refused else error)
                    return
                attempt += 1
                await asyncio.sleep(max(self._backoff.delay_s(attempt), (error.retry_after_ms or 0) / 1000))
            finally:
                if command is not None:
                    self._answers.pop(command.id, None)
                    self._commands.forget(command)

    async def _answered(self, command: Command) -> None:
        async with asyncio.timeout(self._timeout_s):
            await command.answer

    def _start(self, room: str, work: Coroutine[None, None, None]) -> None:
        task = self._tasks[room] = asyncio.get_running_loop().create_task(work, name=f"postroom attach {room}")
        task.add_done_callback(lambda done: self._finished(room, done))

    def _finished(self, room: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(room) is task:
            del self._tasks[room]
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("attaching %s again failed", room, exc_info=error)
            stream = self._streams.get(room)
            if stream is not None and isinstance(error, Exception):
                self._drop(stream)
                stream.end(error)

    def _cancel(self, room: str) -> None:
        task = self._tasks.pop(room, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _drop(self, stream: Stream) -> None:
        self._streams.pop(stream.room, None)
        self._parked.discard(stream.room)
        self._cancel(stream.room)


def _fields(stream: Stream) -> dict[str, object]:
    wish = stream.wish
    after = stream.chain.position or wish.after
    return {
        "room": stream.room,
        "after": after,
        "history": None if after else wish.history,
        "kinds": wish.kinds,
        "state": None if wish.state else False,
    }
