"""Listener: the WebSocket server. Sockets in, a Connection actor for each out.

The handler outlives the actor, and with it wire and mailbox: what comes in is whichever Connection's lives there now.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Mapping
from functools import partial

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.protocol import State

from actors.child import ChildSpec
from actors.connection import Connection
from actors.errors import CloseCode
from actors.ledger import ConnectionState
from actors.mailbox import Exit, Mailbox
from actors.messages import Drain, StartChild, WireClosed
from actors.outbox import Outbox
from actors.ports import ConnectionPorts
from actors.pressure import Pressure
from actors.streams import leave_all

from .arrivals import Arrivals
from .auth import bearer
from .closings import Closing, Closings
from .descriptors import Shares
from .handshake import Gate, select_subprotocol
from .heartbeat import Heartbeat
from .origins import OriginPolicy
from .protocols.centrifuge import CentrifugeDoor
from .protocols.deflate import OFFER, DeflatingCodecs
from .protocols.door import Door
from .protocols.native import NativeDoor
from .protocols.socketio import SocketioDoor
from .registry import Registry
from .settings import Settings
from .wire import WRITE_LIMIT, GuardedConnection, Wire

__all__ = ["Listener"]

log = structlog.get_logger("postroom.listener")

_BACKLOG = 65_535
"""Connections that the kernel may hold for us; it has a bound of its own below this (`net.core.somaxconn`)."""
_CLOSE_TIMEOUT_S = 5.0
_DRAIN_SPREAD_MS = 10_000
_STANDARD_CODES = range(1000, 1016)
_DOORS: Mapping[str, Callable[[Settings], Door]] = {
    "centrifuge": lambda _: CentrifugeDoor(),
    "socketio": lambda settings: SocketioDoor(
        settings.socketio_namespaces,
        heartbeat_s=settings.heartbeat_s,
        pong_timeout_s=settings.pong_timeout_s,
        message_bytes=settings.message_bytes,
    ),
}
"""Those that the setting `doors` opens."""


class Listener:
    """Accepts WebSocket clients and gives each one an actor.

    Args:
        settings: Address, limits and time-outs.
        supervisor: The supervisor of the connections.
        ports: What every Connection works with.
        registry: Counts the connections.
        origins: Which web pages may connect.
        pressure: Says how much publishers may have under way.
        shares: How many sockets there may be.
    """

    def __init__(
        self,
        settings: Settings,
        supervisor: Mailbox,
        ports: ConnectionPorts,
        registry: Registry,
        origins: OriginPolicy,
        pressure: Pressure,
        shares: Shares,
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._ports = ports
        self._registry = registry
        self._doors: tuple[Door, ...] = (NativeDoor(), *(_DOORS[name](settings) for name in settings.doors))
        # Close codes that are counted each by itself: a client may send any of 4,000.
        self._counted = {
            *_STANDARD_CODES,
            *(door.part(code, "", door.codec).code for door in self._doors for code in CloseCode),
        }
        self._codecs = {door.name: DeflatingCodecs(door.codec) for door in self._doors}
        self._pressure = pressure
        self._draining = False
        self._server: Server | None = None
        self._origins = origins
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._all_closed: asyncio.Future[None] | None = None
        self._arrivals = Arrivals(
            most_unfinished=shares.handshakes,
            most_sockets=shares.connections + shares.handshakes,
            per_address=registry.per_address,
            rejected=ports.meters.rejected,
        )
        self._heartbeat: Heartbeat | None = None
        self._closings = Closings(ports.clock)

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: The address cannot be listened on.
        """
        settings = self._settings
        self._heartbeat = Heartbeat(
            asyncio.get_running_loop(), interval_s=settings.heartbeat_s, timeout_s=settings.pong_timeout_s
        )
        self._server = await serve(
            self._handle,
            host,
            port,
            process_request=Gate(self._doors, settings.compression, self._origins, lambda: self._draining),
            select_subprotocol=select_subprotocol,
            compression=None,  # the library's own: one compressor for each connection
            extensions=[OFFER] if settings.compression else None,
            server_header="Postroom",
            open_timeout=settings.handshake_timeout_s,
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=settings.message_bytes,
            write_limit=WRITE_LIMIT,
            create_connection=self._connection_class(),
            backlog=_BACKLOG,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def _connection_class(self) -> type[GuardedConnection]:
        listener = self

        class Guarded(GuardedConnection):
            stall_s = listener._settings.stall_s
            buffer_limit = listener._settings.outbox_bytes

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                listener._arrivals.come(self)

            def connection_lost(self, exc: Exception | None) -> None:
                listener._arrivals.gone(self)
                super().connection_lost(exc)

        return Guarded

    async def _handle(self, connection: ServerConnection) -> None:
        """Serve one client until its socket is gone."""
        assert isinstance(connection, GuardedConnection)
        state = self._open(connection)
        address = connection.remote_address[0] if connection.remote_address else ""
        self._arrivals.let_in(connection)
        connection.forget_request()
        refusal = self._registry.refuse(address)
        meters = self._ports.meters
        if refusal is not None:
            meters.rejected["handshake", "too_many_connections"] += 1
            self._arrivals.refuse(connection)
            state.wire.close(CloseCode.TOO_MANY_CONNECTIONS, refusal)  # and drop what it says: nobody takes it
            connection.receive_waiting()
            await connection.gone
            state.mailbox.close()
            connection.wire = None
            return
        assert self._heartbeat is not None
        meters.opened += 1
        self._registry.add(state, address)
        assert connection.door is not None
        state.wire.write(connection.door.greet(state.id))
        self._heartbeat.add(connection)
        spec = ChildSpec(
            state.mailbox.name,
            partial(self._start_actor, state),
            restart="transient",
            on_give_up=partial(self._give_up, state),
            given_up_notice="its client is closed with 1011 and may come back with its positions, which are good",
        )
        self._supervisor.tell(StartChild(spec, state.mailbox))
        try:
            connection.receive_waiting()
            await connection.gone
            await connection.wait_received()
        finally:
            meters.closed[self._end_of(connection)] += 1
            self._heartbeat.remove(connection)
            self._registry.remove(state)
            state.mailbox.tell(WireClosed())
            self._tell_end(connection, state)
            connection.wire = None
            if self._all_closed is not None and not len(self._registry) and not self._all_closed.done():
                self._all_closed.set_result(None)

    def _open(self, connection: GuardedConnection) -> ConnectionState:
        id = f"{self._prefix}-{next(self._numbers):x}"
        mailbox = Mailbox(name=f"connection:{id}")
        door = connection.door
        assert connection.request is not None
        assert door is not None
        codec = self._codecs[door.name].of(connection.protocol.extensions)
        return ConnectionState(
            id=id,
            mailbox=mailbox,
            wire=Wire(connection, mailbox, door, codec, self._pressure),
            outbox=Outbox(self._settings.outbox_bytes, codec, self._ports.meters),
            offered_token=bearer(connection.request.headers.get("Authorization")),
            protocol=door.name,
        )

    def _start_actor(self, state: ConnectionState, mailbox: Mailbox) -> None:
        Connection.start(state, self._ports, mailbox=mailbox)

    def _give_up(self, state: ConnectionState, _how: Exit) -> None:
        leave_all(state)
        state.wire.close(CloseCode.GIVEN_UP, "the supervisor gave this connection up; its position stays good")

    def _tell_end(self, connection: GuardedConnection, state: ConnectionState) -> None:
        protocol, wire = connection.protocol, connection.wire
        sent = None if protocol.close_rcvd_then_sent else protocol.close_sent  # what the router began to close with
        self._closings.add(
            Closing(
                connection=state.id,
                user=state.identity.user if state.identity is not None else None,
                code=connection.close_code if sent is None else sent.code,
                by="router" if sent is not None or (wire is not None and wire.cut) else "client",
                stalled=connection.stalled or None,
                flooded=connection.flooded or None,
                clean=protocol.close_rcvd is not None,
            )
        )

    def _end_of(self, connection: GuardedConnection) -> tuple[str, str]:
        """Return with which code a connection was closed, and by whom, in a few words."""
        protocol, wire = connection.protocol, connection.wire
        sent = None if protocol.close_rcvd_then_sent else protocol.close_sent
        code = connection.close_code if sent is None else sent.code
        by = "router" if sent is not None or (wire is not None and wire.cut) else "client"
        return str(code) if code in self._counted else "other", by

    async def drain(self) -> None:
        """Take no more clients; tell those there are when to come back, each in its own slot, and let them go.

        Returns when the last socket is closed, or cut after `drain_s` seconds.
        """
        self._draining = True
        if self._server is None:
            return
        self._server.close(close_connections=False)
        states = self._registry.states
        log.info("draining", connections=len(states))
        if states:
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
        for connection in {*self._server.all_connections, *self._arrivals.unfinished}:
            if connection.protocol.state is not State.CLOSED:
                connection.transport.abort()
        await self._server.wait_closed()
        self._closings.flush()
        if self._heartbeat is not None:
            self._heartbeat.stop()
