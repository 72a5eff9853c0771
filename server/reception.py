"""Reception: everyone who is connected, by whatever protocol. A socket's wire in, a Connection actor on it out.

The socket outlives the actor, and with it wire and mailbox. In the end all are sent away, and told when to come back.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from functools import partial

import structlog

from actors.child import ChildSpec
from actors.codec import Wire
from actors.connection import Connection
from actors.errors import CloseCode
from actors.ledger import ConnectionState
from actors.mailbox import Exit, Mailbox
from actors.messages import Drain, StartChild, WireClosed
from actors.outbox import Outbox
from actors.ports import ConnectionPorts
from actors.streams import leave_all

from .closings import Closing, Closings
from .heartbeat import Heartbeat
from .registry import Registry
from .settings import Settings

__all__ = ["Reception"]

log = structlog.get_logger("postroom.listener")

_DRAIN_SPREAD_MS = 10_000


class Reception:
    """Gives each client an actor for as long as its socket is there. Make it in the event loop.

    Args:
        settings: Bounds and time-outs.
        supervisor: The supervisor of the connections.
        ports: What every Connection works with.
        registry: Counts the connections.
    """

    def __init__(self, settings: Settings, supervisor: Mailbox, ports: ConnectionPorts, registry: Registry) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._ports = ports
        self._registry = registry
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._all_closed: asyncio.Future[None] | None = None
        self._closings = Closings(ports.clock)
        self.draining = False
        """Whether no more clients are taken."""
        self.heartbeat = Heartbeat(
            asyncio.get_running_loop(), interval_s=settings.heartbeat_s, timeout_s=settings.pong_timeout_s
        )
        """Pings those that are added to it."""

    def name(self) -> tuple[str, Mailbox]:
        """Return an id for a connection, and the mailbox in which its actor will live."""
        id = f"{self._prefix}-{next(self._numbers):x}"
        return id, Mailbox(name=f"connection:{id}")

    def state(
        self,
        id: str,
        mailbox: Mailbox,
        wire: Wire,
        *,
        protocol: str,
        offered_token: str | None = None,
        only_room: str | None = None,
    ) -> ConnectionState:
        """Return what the connection's actor is to work on; see `ConnectionState`."""
        return ConnectionState(
            id=id,
            mailbox=mailbox,
            wire=wire,
            outbox=Outbox(self._settings.outbox_bytes, wire.codec, self._ports.meters),
            offered_token=offered_token,
            protocol=protocol,
            only_room=only_room,
        )

    def refuse(self, address: str) -> str | None:
        """Return why another client from this address may not stay, or None."""
        return self._registry.refuse(address)

    def begin(self, state: ConnectionState, address: str) -> None:
        """Count a client, and have its actor started."""
        self._ports.meters.opened += 1
        self._registry.add(state, address)
        spec = ChildSpec(
            state.mailbox.name,
            partial(self._start_actor, state),
            restart="transient",
            on_give_up=partial(self._give_up, state),
            given_up_notice="its client is closed with 1011 and may come back with its positions, which are good",
        )
        self._supervisor.tell(StartChild(spec, state.mailbox))

    def end(self, state: ConnectionState, closing: Closing, counted_as: tuple[str, str]) -> None:
        """Count a client no more: its socket is gone.

        Args:
            state: The connection's.
            closing: For the log.
            counted_as: By which code and by whom it was closed, in a few words.
        """
        self._ports.meters.closed[counted_as] += 1
        self._registry.remove(state)
        state.mailbox.tell(WireClosed())
        self._closings.add(closing)
        if self._all_closed is not None and not len(self._registry) and not self._all_closed.done():
            self._all_closed.set_result(None)

    def _start_actor(self, state: ConnectionState, mailbox: Mailbox) -> None:
        Connection.start(state, self._ports, mailbox=mailbox)

    def _give_up(self, state: ConnectionState, _how: Exit) -> None:
        leave_all(state)
        state.wire.close(CloseCode.GIVEN_UP, "the supervisor gave this connection up; its position stays good")

    async def drain(self) -> None:
        """Take no more clients; tell those there are when to come back, each in its own slot, and let them go.

        Returns when all are gone, or after `drain_s` seconds.
        """
        self.draining = True
        states = self._registry.states
        log.info("draining", connections=len(states))
        if not states:
            return
        self._all_closed = asyncio.get_running_loop().create_future()
        spread_ms = min(_DRAIN_SPREAD_MS, 2 * len(states))
        for number, state in enumerate(states):
            state.mailbox.tell(Drain(reconnect_in_ms=spread_ms * number // len(states)))
        try:
            async with asyncio.timeout(self._settings.drain_s):
                await self._all_closed
        except TimeoutError:
            log.warning("drain_timed_out", connections=len(self._registry))
            self._ports.report("drain_timed_out", connections=len(self._registry))

    def stop(self) -> None:
        """Leave nothing untold, and no timer: nobody is there any more."""
        self._closings.flush()
        self.heartbeat.stop()
