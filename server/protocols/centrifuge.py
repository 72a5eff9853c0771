"""The Centrifuge protocol in JSON, for its clients as they are: a channel is a room, a publication an event.

https://centrifugal.dev/docs/transports/client_protocol
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from actors import commands, replies
from actors.codec import Codec
from actors.events import Event

from .centrifuge_codes import CLOSE_CODES
from .centrifuge_commands import commands_of
from .centrifuge_replies import lines_of, publication_of
from .door import Parting, TurnedAway
from .frames import text_frame

__all__ = ["CentrifugeCodec", "CentrifugeDoor"]

_JSON, _PROTOBUF = "centrifuge-json", "centrifuge-protobuf"
_FORMATS = ("format", "cf_protocol")
"""Parameters of the URL by which a client may ask for the other encoding."""


class CentrifugeCodec:
    """`actors.codec.Codec` for the Centrifuge protocol."""

    tells_old_events = True
    first_words = 'connect first: {"id": 1, "connect": {"token": ..}}'

    def decode(self, text: str) -> Sequence[commands.Command]:
        """Read the commands of one frame.

        Raises:
            BadMessage: `bad_message`, always fatal.
        """
        return commands_of(text)

    def encode(self, reply: replies.Reply) -> bytes:
        """Write a reply as a frame, or as none; a welcome as some, where old events are no part of it."""
        return b"".join(map(text_frame, lines_of(reply)))

    def encode_event(self, room: str, event: Event) -> bytes:
        """Write an event as a frame."""
        return text_frame(publication_of(room, event))


class CentrifugeDoor:
    """`door.Door` of the Centrifuge protocol."""

    name = "centrifuge"
    path = "/connection/websocket"
    subprotocols: Collection[str] = frozenset({_JSON})
    ping = text_frame(b"{}")

    def __init__(self) -> None:
        self.codec: Codec = CentrifugeCodec()

    def refuse(self, query: Mapping[str, Sequence[str]], offered: Sequence[str]) -> TurnedAway | None:
        """Turn away who wants Protobuf, which would be spoken to no end."""
        formats = {value for name in _FORMATS for value in query.get(name, ())}
        if "protobuf" in formats or (_PROTOBUF in offered and _JSON not in offered):
            text = "Only JSON is spoken here, not Protobuf: have the client use its JSON mode (subprotocol "
            return TurnedAway(400, f"{text}{_JSON}, or none).")
        return None

    def greet(self, connection: str) -> bytes:
        """Say nothing: the client begins."""
        return b""

    def part(self, code: int, reason: str, codec: Codec) -> Parting:
        """Close with the code from which a client knows whether to come back."""
        return Parting(CLOSE_CODES.get(code, code), reason)
