"""Shared compression (permessage-deflate, RFC 7692): events in, frames out that are deflated once for all who agreed.

No message refers to one before it (`server_no_context_takeover`), so the same bytes are right for every connection that
negotiated the same window; and a room makes the frames of a batch once for each codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from actors.codec import Codec
from actors.commands import Command
from actors.events import Event
from actors.replies import Reply

__all__ = ["OFFER", "DeflatingCodec", "DeflatingCodecs"]

OFFER = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
"""What a client's offer is answered with. Neither side keeps a window between messages, so an idle connection holds no
compressor and no decompressor, which are tens to hundreds of KiB each."""

_WINDOW_BITS = 12
_SETTINGS = {"memLevel": 5}
"""A window of 4 KiB: a larger one saves nothing with most events, and is more to set up for each. Who negotiated a
larger one can read these frames, too."""
_RECENT = 64


class DeflatingCodec:
    """`actors.codec.Codec` around another one, for connections that negotiated permessage-deflate with one window.

    Events are deflated, since all who get one share the cost. What is said to one client alone is not: it would cost
    every time. Nor is an event that would not become smaller; each message says by itself what it is.

    Args:
        codec: Makes the frames, each of one whole message.
        window_bits: The window, 9 to 15.
    """

    def __init__(self, codec: Codec, window_bits: int) -> None:
        self.tells_old_events = codec.tells_old_events
        self.first_words = codec.first_words
        self._codec = codec
        self._extensions = [PerMessageDeflate(True, True, window_bits, window_bits, _SETTINGS)]
        # Who wants some kinds only, or lags, gets event after event instead of a batch: these are shared, too.
        self._recent: dict[tuple[str, int], tuple[Event, bytes]] = {}

    def decode(self, text: str) -> Sequence[Command]:
        """Read the commands of one text frame, which the library has inflated."""
        return self._codec.decode(text)

    def encode(self, reply: Reply) -> bytes:
        """Write a reply as a frame, as it is."""
        return self._codec.encode(reply)

    def encode_event(self, room: str, event: Event) -> bytes:
        """Write an event as a frame, deflated where that pays."""
        place = room, event.offset
        known = self._recent.pop(place, None)
        if known is None or known[0] is not event:
            known = event, self._deflated(self._codec.encode_event(room, event))
        self._recent[place] = known
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
        return known[1]

    def _deflated(self, frame: bytes) -> bytes:
        opcode, payload = Opcode(frame[0] & 0x0F), frame[_head_bytes(frame) :]
        deflated = bytes(Frame(opcode, payload).serialize(mask=False, extensions=self._extensions))
        return deflated if len(deflated) < len(frame) else frame


class DeflatingCodecs:
    """Chooses the codec of a connection by what it negotiated; all that negotiated the same get the same one.

    Args:
        codec: Of those that negotiated nothing, and inside all the others.
    """

    def __init__(self, codec: Codec) -> None:
        self._plain = codec
        self._deflating: dict[int, DeflatingCodec] = {}

    def of(self, extensions: Iterable[Extension]) -> Codec:
        """Return the codec for a connection with these extensions."""
        for extension in extensions:
            if isinstance(extension, PerMessageDeflate):
                window_bits = min(extension.local_max_window_bits, _WINDOW_BITS)
                if window_bits not in self._deflating:
                    self._deflating[window_bits] = DeflatingCodec(self._plain, window_bits)
                return self._deflating[window_bits]
        return self._plain


def _head_bytes(frame: bytes) -> int:
    """Return how long the header of a whole frame of a server is (RFC 6455, 5.2)."""
    return {126: 4, 127: 10}.get(frame[1], 2)
