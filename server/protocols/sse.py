"""Server-Sent Events (WHATWG HTML, 9.2): one room as a text stream. Replies and events in, blocks of text out.

What a block's `id` says is where its room's history goes on: `EPOCH:OFFSET`. Browsers send the last one they got, as
`Last-Event-ID`, when they come back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from actors import commands, replies
from actors.codec import BadMessage
from actors.errors import ErrorCode, Refusal
from actors.events import Event

from .envelope import Envelope, envelope

__all__ = ["PING", "PROTOCOL", "Opening", "SseCodec", "SseCodecs", "parting", "position"]

PROTOCOL: Final = "sse"
PING: Final = b": ping\n"
"""A comment, which clients drop: it shows that the stream is alive, and TCP whether the client is.

No blank line follows it: of one, parsers that remember the last id (httpx-sse) make an empty event."""
_RETRY_MS = 2000
"""After how long a client is to come back whose stream just ended."""
_NAMES = {"error": "failed"}
"""Replies under another name than their own: browsers fire `error` by themselves."""
_LONGEST_POSITION = 200


class _Event(Envelope, tag_field="type", tag="event"):
    """As in the native protocol."""


class SseCodec:
    """`actors.codec.Codec` for those who read one room. It writes only: what they want is asked for over HTTP.

    Args:
        epoch: The room's; where it begins another one its readers are sent away.
    """

    tells_old_events = False
    first_words = "ask for a room: GET /v1/rooms/{room}/stream"

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._encoder = msgspec.json.Encoder()

    def decode(self, text: str) -> Sequence[commands.Command]:
        """Refuse; nothing is read from a stream's client."""
        raise BadMessage(ErrorCode.BAD_MESSAGE, "a stream goes one way")

    def encode(self, reply: replies.Reply) -> bytes:
        """Write a reply under its type's name; one that moves the position has an id."""
        retry = offset = None
        if isinstance(reply, replies.Subscribed):
            reply = msgspec.structs.replace(reply, id=None)  # nobody has asked for it by a number
            retry = _RETRY_MS
            offset = reply.offset if not reply.replay else None  # else the client stays where it is until they come
        elif isinstance(reply, replies.Skipped):
            offset = reply.to
        elif isinstance(reply, replies.Notice) and reply.reconnect_in_ms is not msgspec.UNSET:
            retry = max(_RETRY_MS, reply.reconnect_in_ms)
        tag = str(reply.__struct_config__.tag)
        return self._block(_NAMES.get(tag, tag), self._encoder.encode(reply), offset, retry)

    def encode_event(self, room: str, event: Event) -> bytes:
        """Write an event under its kind's name."""
        data = self._encoder.encode(envelope(room, event, _Event))
        return self._block(event.draft.kind, data, event.offset)

    def _block(self, name: str, data: bytes, offset: int | None = None, retry_ms: int | None = None) -> bytes:
        id = b"" if offset is None else f"id: {self._epoch}:{offset}\n".encode()
        retry = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
        return b"%b%bevent: %b\ndata: %b\n\n" % (id, retry, name.encode(), _one_line(data))


class SseCodecs:
    """Chooses the codec for a room in an epoch: all who read it get the same one, which lives as long as they do."""

    def __init__(self) -> None:
        self._codecs: WeakValueDictionary[str, SseCodec] = WeakValueDictionary()

    def of(self, epoch: str) -> SseCodec:
        """Return the codec for a room of this epoch."""
        codec = self._codecs.get(epoch)
        if codec is None:
            codec = self._codecs[epoch] = SseCodec(epoch)
        return codec


class Opening:
    """The codec of one client until its room has answered; `codec` is the one from then on, which it speaks with.

    Args:
        codecs: Has that codec.
        refused: Called when the room is refused to the client, before a word was written.
    """

    tells_old_events = SseCodec.tells_old_events
    first_words = SseCodec.first_words

    def __init__(self, codecs: SseCodecs, refused: Callable[[Refusal], None]) -> None:
        self._codecs = codecs
        self._refused = refused
        self.codec: SseCodec | None = None
        """None: the room has not answered."""
        self._kept = b""
        """What was said before, for after the answer: that a token is about to end."""

    def decode(self, text: str) -> Sequence[commands.Command]:
        """Refuse; nothing is read from a stream's client."""
        raise BadMessage(ErrorCode.BAD_MESSAGE, "a stream goes one way")

    def encode(self, reply: replies.Reply) -> bytes:
        """Write what comes from the room's answer on; before it, a refusal is the answer."""
        if isinstance(reply, replies.Error):
            retry_after_ms = None if reply.retry_after_ms is msgspec.UNSET else reply.retry_after_ms
            self._refused(Refusal(reply.code, reply.message, retry_after_ms=retry_after_ms))
            return b""
        if isinstance(reply, replies.Subscribed):
            self.codec = self._codecs.of(reply.epoch)
            kept, self._kept = self._kept, b""
            return self.codec.encode(reply) + kept
        if self.codec is not None:
            return self.codec.encode(reply)
        if isinstance(reply, replies.Notice):
            self._kept += SseCodec("").encode(reply)
        return b""

    def encode_event(self, room: str, event: Event) -> bytes:
        """Write an event; there is none before the room's answer."""
        return b"" if self.codec is None else self.codec.encode_event(room, event)


def position(text: str | None) -> commands.Position | None:
    """Read what a client gives as its last event id; None: nothing, it begins now.

    Raises:
        Refusal: `bad_message`.
    """
    if not text:
        return None
    epoch, _, offset = text.rpartition(":")
    if not epoch or not (offset.isascii() and offset.isdigit()) or len(text) > _LONGEST_POSITION:
        message = f"last event id {text[:80]!r} is none of this router's, which are EPOCH:OFFSET: leave it out"
        raise Refusal(ErrorCode.BAD_MESSAGE, message)
    return commands.Position(epoch, int(offset))


def parting(code: int, reason: str) -> bytes:
    """Write the last block of a stream: why it ends, in the numbers of WebSocket's close codes."""
    return b"event: closed\ndata: %b\n\n" % _one_line(msgspec.json.encode({"code": code, "reason": reason}))


def _one_line(data: bytes) -> bytes:
    """Have no line end in the data of a block, where it would end it. In JSON it stands between values, if at all."""
    return data.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in data or b"\r" in data else data
