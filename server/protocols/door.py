"""Door: one protocol's way into the same rooms. A handshake in, a codec out, and what the protocol says by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from actors.codec import Codec

__all__ = ["Door", "Parting", "TurnedAway"]


class Parting(NamedTuple):
    """How a connection is closed."""

    code: int
    """Close code of the WebSocket."""
    reason: str
    last_words: bytes = b""
    """Whole frames that are sent before."""


class TurnedAway(NamedTuple):
    """Why a handshake is refused, as an HTTP answer."""

    status: int
    text: str
    content_type: str = "text/plain; charset=utf-8"


class Door(Protocol):
    """One protocol over WebSocket. No door knows another; each brings the same commands to the same actors."""

    name: str
    """For operators, and for the setting `compression`."""

    path: str
    """Where its clients connect to."""

    subprotocols: Collection[str]
    """Those that may be offered, and are agreed on then."""

    codec: Codec
    """What its connections speak, at first at least."""

    ping: bytes
    """The frame that asks whether the client is there, sent to each from time to time."""

    def refuse(self, query: Mapping[str, Sequence[str]], offered: Sequence[str]) -> TurnedAway | None:
        """Return why a client that asks for this may not connect, or None.

        Args:
            query: The parameters of the URL.
            offered: The subprotocols.
        """

    def greet(self, connection: str) -> bytes:
        """Return the frames with which the router begins; `connection` is the connection's id."""

    def part(self, code: int, reason: str, codec: Codec) -> Parting:
        """Say in the protocol's words that a connection is closed with one of `actors.errors.CloseCode`.

        Args:
            code: The code.
            reason: Why, in a few words.
            codec: What the connection speaks.
        """
