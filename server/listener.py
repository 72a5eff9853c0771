"""Listener: the WebSocket server. Sockets in, their clients at the reception out.

The handler outlives the actor, and with it wire and mailbox: what comes in is whichever Connection's lives there now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.protocol import State

from actors.errors import CloseCode
from actors.ledger import ConnectionState
from actors.meters import Meters
from actors.pressure import Pressure

from .arrivals import Arrivals
from .auth import bearer
from .closings import Closing
from .descriptors import Shares
from .handshake import Gate, select_subprotocol
from .origins import OriginPolicy
from .protocols.centrifuge import CentrifugeDoor
from .protocols.deflate import OFFER, DeflatingCodecs
from .protocols.door import Door
from .protocols.native import NativeDoor
from .protocols.socketio import SocketioDoor
from .reception import Reception
from .settings import Settings
from .stall import WRITE_LIMIT
from .wire import GuardedConnection, Wire

__all__ = ["Listener"]

_BACKLOG = 65_535
"""Connections that the kernel may hold for us; it has a bound of its own below this (`net.core.somaxconn`)."""
_CLOSE_TIMEOUT_S = 5.0
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
    """Accepts WebSocket clients.

    Args:
        settings: Address, limits and time-outs.
        reception: Where they go.
        meters: Count those that are refused.
        per_address: Connections of one client address; 0: no cap.
        origins: Which web pages may connect.
        pressure: Says how much publishers may have under way.
        shares: How many sockets there may be.
    """

    def __init__(
        self,
        settings: Settings,
        reception: Reception,
        meters: Meters,
        per_address: int,
        origins: OriginPolicy,
        pressure: Pressure,
        shares: Shares,
    ) -> None:
        self._settings = settings
        self._reception = reception
        self._meters = meters
        self._doors: tuple[Door, ...] = (NativeDoor(), *(_DOORS[name](settings) for name in settings.doors))
        # Close codes that are counted each by itself: a client may send any of 4,000.
        self._counted = {
            *_STANDARD_CODES,
            *(door.part(code, "", door.codec).code for door in self._doors for code in CloseCode),
        }
        self._codecs = {door.name: DeflatingCodecs(door.codec) for door in self._doors}
        self._pressure = pressure
        self._server: Server | None = None
        self._origins = origins
        self._arrivals = Arrivals(
            most_unfinished=shares.handshakes,
            most_sockets=shares.connections + shares.handshakes,
            per_address=per_address,
            rejected=meters.rejected,
        )

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: The address cannot be listened on.
        """
        settings = self._settings
        self._server = await serve(
            self._handle,
            host,
            port,
            process_request=Gate(self._doors, settings.compression, self._origins, lambda: self._reception.draining),
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
            reuse_port=settings.workers > 1,
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
        reception = self._reception
        refusal = reception.refuse(address)
        if refusal is not None:
            self._meters.rejected["handshake", "too_many_connections"] += 1
            self._arrivals.refuse(connection)
            state.wire.close(CloseCode.TOO_MANY_CONNECTIONS, refusal)  # and drop what it says: nobody takes it
            connection.receive_waiting()
            await connection.gone
            state.mailbox.close()
            connection.wire = None
            return
        assert connection.door is not None
        state.wire.write(connection.door.greet(state.id))
        reception.heartbeat.add(connection)
        reception.begin(state, address)
        try:
            connection.receive_waiting()
            await connection.gone
            await connection.wait_received()
        finally:
            reception.heartbeat.remove(connection)
            reception.end(state, self._closing_of(connection, state), self._end_of(connection))
            connection.wire = None

    def _open(self, connection: GuardedConnection) -> ConnectionState:
        id, mailbox = self._reception.name()
        door = connection.door
        assert connection.request is not None
        assert door is not None
        codec = self._codecs[door.name].of(connection.protocol.extensions)
        return self._reception.state(
            id,
            mailbox,
            Wire(connection, mailbox, door, codec, self._pressure),
            protocol=door.name,
            offered_token=bearer(connection.request.headers.get("Authorization")),
        )

    def _closing_of(self, connection: GuardedConnection, state: ConnectionState) -> Closing:
        protocol, wire = connection.protocol, connection.wire
        sent = None if protocol.close_rcvd_then_sent else protocol.close_sent  # what the router began to close with
        return Closing(
            connection=state.id,
            user=state.identity.user if state.identity is not None else None,
            code=connection.close_code if sent is None else sent.code,
            by="router" if sent is not None or (wire is not None and wire.cut) else "client",
            stalled=connection.stalled or None,
            flooded=connection.flooded or None,
            clean=protocol.close_rcvd is not None,
        )

    def _end_of(self, connection: GuardedConnection) -> tuple[str, str]:
        """Return with which code a connection was closed, and by whom, in a few words."""
        protocol, wire = connection.protocol, connection.wire
        sent = None if protocol.close_rcvd_then_sent else protocol.close_sent
        code = connection.close_code if sent is None else sent.code
        by = "router" if sent is not None or (wire is not None and wire.cut) else "client"
        return str(code) if code in self._counted else "other", by

    def close(self) -> None:
        """Take no more clients."""
        if self._server is not None:
            self._server.close(close_connections=False)

    async def stop(self) -> None:
        """Cut the sockets that are left."""
        if self._server is None:
            return
        for connection in {*self._server.all_connections, *self._arrivals.unfinished}:
            if connection.protocol.state is not State.CLOSED:
                connection.transport.abort()
        await self._server.wait_closed()
