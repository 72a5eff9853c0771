"""Socket.IO 5 over WebSocket, for its official clients as they are.

https://socket.io/docs/v4/socket-io-protocol/
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from actors.codec import Codec
from actors.errors import CloseCode

from . import engineio
from .door import Parting, TurnedAway
from .socketio_codec import Lobby, NamespaceCodec

__all__ = ["SocketioDoor"]

_COME_BACK = frozenset(
    {
        CloseCode.DRAINING,
        CloseCode.GIVEN_UP,
        CloseCode.SLOW_CONSUMER,
        CloseCode.NO_HELLO,
        CloseCode.TOKEN_EXPIRED,
        CloseCode.TOO_MANY_CONNECTIONS,
    }
)
"""Closed with one of these, a client is to connect again, as the official ones do when nothing else was said."""


class SocketioDoor:
    """`door.Door` of Socket.IO.

    Args:
        namespaces: Those that clients may connect to, beside `/`.
        heartbeat_s: Seconds between two pings.
        pong_timeout_s: Seconds that an answer may take.
        message_bytes: The largest message that a client may send.
    """

    name = "socketio"
    path = "/socket.io/"
    subprotocols: Collection[str] = frozenset()
    ping = engineio.PING

    def __init__(
        self, namespaces: Collection[str], *, heartbeat_s: float, pong_timeout_s: float, message_bytes: int
    ) -> None:
        names = frozenset({"/", *namespaces})
        self.codec: Codec = Lobby({name: NamespaceCodec(name, names) for name in names})
        self._heartbeat_s = heartbeat_s
        self._pong_timeout_s = pong_timeout_s
        self._message_bytes = message_bytes

    def refuse(self, query: Mapping[str, Sequence[str]], offered: Sequence[str]) -> TurnedAway | None:
        """Turn away who asks for another transport or version."""
        return engineio.refuse(query)

    def greet(self, connection: str) -> bytes:
        """Open the Engine.IO connection."""
        return engineio.open_frame(
            connection,
            heartbeat_s=self._heartbeat_s,
            pong_timeout_s=self._pong_timeout_s,
            message_bytes=self._message_bytes,
        )

    def part(self, code: int, reason: str, codec: Codec) -> Parting:
        """Say before the close whether to stay away: without a word, the official clients come back by themselves."""
        assert isinstance(codec, NamespaceCodec)
        if code in _COME_BACK or code == CloseCode.NORMAL:
            return Parting(code, reason)
        return Parting(code, reason, codec.last_words + engineio.CLOSE)
