"""Subscriber: a client that drops its connection, comes back with its positions, and writes down all it gets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from ..checker.records import End, Event, Missing, Position, Skipped, Subscribed
from .plan import Plan, Tally
from .recording import Recorder

__all__ = ["Subscriber", "states", "tops"]

_BACK_S = 0.4
_BY_SUBSCRIBE = 0.25
"""How often a subscriber that comes back names its positions in `subscribe`, and not in `hello`."""


class Subscriber:
    """One subscriber.

    Args:
        name: Its name in the records.
        url: Returns the address of a router, for each connection anew.
        positions: The rooms it follows, each with where to go on; None: from now on.
        plan: What the run does.
        recorder: Where its records go.
        tally: Where what happens to it is counted.
        drops: Whether it cuts its connections.
        token: Who it is; None: it does not say.
    """

    def __init__(
        self,
        name: str,
        url: Callable[[], str],
        positions: dict[str, Position | None],
        plan: Plan,
        recorder: Recorder,
        tally: Tally,
        *,
        drops: bool = True,
        token: str | None = None,
    ) -> None:
        self.name = name
        self.positions = positions
        self.let_in = asyncio.Event()
        """It has been let into all its rooms once."""
        self.caught_up = asyncio.Event()
        """It has come to the tops that `finish` told it, and the router has nothing more for it."""
        self._url = url
        self._plan = plan
        self._recorder = recorder
        self._tally = tally
        self._drops = drops
        self._identity = {} if token is None else {"token": token}
        self._random = plan.random(name)
        self._connections = 0
        self._waiting: set[str] = set()
        """Rooms that have not let this connection in yet."""
        self._asked: dict[str, Position | None] = {}
        """What this connection asked of each room."""
        self._tops: dict[str, Position] | None = None
        self._connection: ClientConnection | None = None
        self._pinged = False
        self._take = {
            "welcome": self._welcome,
            "subscribed": self._subscribed,
            "event": self._event,
            "skipped": self._skipped,
            "pong": self._pong,
        }

    async def run(self) -> None:
        """Follow, until cancelled."""
        while True:
            with contextlib.suppress(WebSocketException, OSError, TimeoutError, _SentAway):
                await self._follow()
            await asyncio.sleep(self._random.uniform(0.05, 1.0) * _BACK_S)

    async def finish(self, tops: dict[str, Position]) -> None:
        """Drop no more, and wait until it has come to the tops of its rooms and nothing more comes."""
        self._tops = {room: tops[room] for room in self.positions if room in tops}
        self._drops = False
        if self._connection is not None:
            await self._look_around(self._connection)
        await self.caught_up.wait()

    def write_end(self) -> None:
        """Write down that it was there to the end, in every room that ever let it in."""
        for room, position in self.positions.items():
            if position is not None:
                self._recorder.write(End(subscriber=self.name, room=room))

    # --- one connection

    async def _follow(self) -> None:
        async with connect(
            self._url(), proxy=None, compression=None, ping_interval=None, open_timeout=5.0, close_timeout=1.0
        ) as connection:
            self._connections += 1
            self._pinged = False
            self._waiting = set(self.positions)
            self._asked = dict(self.positions)
            cut = self._plan_drop(connection)
            try:
                known = {room: position for room, position in self.positions.items() if position is not None}
                in_hello = {} if self._random.random() < _BY_SUBSCRIBE else known
                await _say(connection, "hello", id="hello", resume=in_hello, **self._identity)
                for room in [room for room in self.positions if room not in in_hello]:
                    after = {"after": known[room]} if room in known else {}
                    await _say(connection, "subscribe", id=room, room=room, state=False, **after)
                self._connection = connection
                async for text in connection:
                    message = msgspec.json.decode(text)
                    take = self._take.get(message["type"])
                    if take is not None:
                        take(message)
                    elif message["type"] in ("error", "revoked"):
                        raise _SentAway  # the room cannot be opened now: try again, with the same position
                    if self._tops is not None:
                        await self._look_around(connection)
            finally:
                self._connection = None
                if cut is not None:
                    cut.cancel()

    def _plan_drop(self, connection: ClientConnection) -> asyncio.TimerHandle | None:
        if not self._drops:
            return None
        after_s = self._random.expovariate(1 / self._plan.drop_s)
        return asyncio.get_running_loop().call_later(after_s, self._drop, connection)

    def _drop(self, connection: ClientConnection) -> None:
        if self._drops:
            self._tally.drops += 1
            connection.transport.abort()

    async def _look_around(self, connection: ClientConnection) -> None:
        """Ask for a sign once everything has come: what is sent before it would be one thing too many."""
        if self._tops is None or self._pinged or self._waiting:
            return
        if all(self._has(room, top) for room, top in self._tops.items()):
            self._pinged = True
            with contextlib.suppress(WebSocketException, OSError):
                await _say(connection, "ping", id="end")

    def _has(self, room: str, top: Position) -> bool:
        position = self.positions[room]
        return position is not None and position.epoch == top.epoch and position.offset >= top.offset

    # --- what comes

    def _welcome(self, message: dict[str, Any]) -> None:
        for room, where in message["rooms"].items():
            if room in self._waiting:
                self._joined(room, where)

    def _subscribed(self, message: dict[str, Any]) -> None:
        self._joined(message["room"], message)

    def _joined(self, room: str, where: dict[str, Any]) -> None:
        after, recovery = self._asked[room], where["recovery"]
        missing = msgspec.convert(where["missing"], Missing) if "missing" in where else None
        offset = where["offset"]
        if missing is not None:
            offset = missing.to
        elif recovery == "full" and after is not None:
            offset = after.offset
        self.positions[room] = Position(where["epoch"], offset)
        self._waiting.discard(room)
        self._tally.resumes += recovery == "full"
        if not self._waiting:
            self.let_in.set()
        self._recorder.write(
            Subscribed(
                subscriber=self.name,
                room=room,
                connection=self._connections,
                recovery=recovery,
                epoch=where["epoch"],
                offset=where["offset"],
                replay=where["replay"],
                after=after,
                missing=missing,
            )
        )

    def _event(self, message: dict[str, Any]) -> None:
        room = message["room"]
        epoch = self._epoch(room)
        if room in self.positions:
            self.positions[room] = Position(epoch, message["offset"])
        self._tally.events += 1
        self._recorder.write(
            Event(
                subscriber=self.name,
                room=room,
                connection=self._connections,
                epoch=epoch,
                offset=message["offset"],
                prev=message["prev"],
                event_id=message["id"],
                kind=message["kind"],
                number=message["data"].get("number"),
            )
        )

    def _skipped(self, message: dict[str, Any]) -> None:
        room = message["room"]
        if room in self.positions:
            self.positions[room] = Position(self._epoch(room), message["to"])
        self._recorder.write(
            Skipped(
                subscriber=self.name,
                room=room,
                connection=self._connections,
                from_=message["from"],
                to=message["to"],
                reason=message["reason"],
            )
        )

    def _pong(self, _message: dict[str, Any]) -> None:
        self.caught_up.set()

    def _epoch(self, room: str) -> str:
        position = self.positions.get(room)
        return "" if position is None else position.epoch


class _SentAway(Exception):
    """The router does not let it into a room now."""


async def tops(url: str, rooms: Iterable[str]) -> dict[str, Position]:
    """Ask the router how far each room has come; those in which nothing ever happened are left out."""
    return {room: Position(said["epoch"], said["offset"]) for room, said in (await states(url, rooms)).items()}


async def states(url: str, rooms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Ask the router for the state of each room; those in which nothing ever happened are left out."""
    found: dict[str, dict[str, Any]] = {}
    async with connect(url, proxy=None, compression=None, ping_interval=None) as connection:
        await _say(connection, "hello")
        await connection.recv()
        for room in rooms:
            await _say(connection, "state", id=room, room=room)
            said = msgspec.json.decode(await connection.recv())
            if said["type"] == "state":
                found[room] = said
            elif said.get("code") != "not_found":
                raise ValueError(f"asked for the state of {room}, the router says {said}")
    return found


async def _say(connection: ClientConnection, type: str, **fields: Any) -> None:
    await connection.send(msgspec.json.encode({"type": type, **fields}).decode())
