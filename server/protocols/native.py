"""The native protocol, `postroom.v1`: one JSON object a text frame. Text in, commands out; replies in, frames out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from websockets.frames import Frame, Opcode

from actors import commands, replies
from actors.codec import BadMessage, Codec
from actors.errors import ErrorCode
from actors.events import Event

from .door import Parting, TurnedAway
from .envelope import Envelope, envelope
from .frames import text_frame
from .presence import Presence, presence
from .surrogates import HALF, without_halves

__all__ = ["COMMANDS", "MESSAGES", "SUBPROTOCOL", "NativeCodec", "NativeDoor"]

SUBPROTOCOL: Final = "postroom.v1"

COMMANDS: tuple[type[commands.Command], ...] = (
    commands.Hello,
    commands.Subscribe,
    commands.Unsubscribe,
    commands.Publish,
    commands.State,
    commands.History,
    commands.Presence,
    commands.Ack,
    commands.Refresh,
    commands.Ping,
)
"""What a client may say."""

_TYPES = frozenset(command.__struct_config__.tag for command in COMMANDS)


class _Event(Envelope, tag_field="type", tag="event"):
    """An event at its place in a room."""


class _History(msgspec.Struct, tag_field="type", tag="history", omit_defaults=True, kw_only=True):
    """The answer to `history`."""

    id: replies.CommandId = None
    room: str
    epoch: str
    offset: int
    events: list[_Event]
    more: bool


MESSAGES: tuple[type[msgspec.Struct], ...] = (
    replies.Welcome,
    replies.Subscribed,
    replies.Unsubscribed,
    replies.Published,
    replies.State,
    _History,
    Presence,
    replies.Acknowledged,
    replies.Refreshed,
    replies.Pong,
    _Event,
    replies.Skipped,
    replies.Notice,
    replies.MemberJoined,
    replies.MemberLeft,
    replies.Revoked,
    replies.Error,
)
"""What the router says, as it is written."""


class NativeCodec:
    """`actors.codec.Codec` for the native protocol."""

    tells_old_events = False
    first_words = 'say hello first: {"type": "hello", "token": ..}'

    def __init__(self) -> None:
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_union(COMMANDS))
        self._encoder = msgspec.json.Encoder()

    def decode(self, text: str) -> Sequence[commands.Command]:
        """Read the command of one frame.

        Raises:
            BadMessage: `bad_message` or `unknown_type`.
        """
        try:
            return (self._decoder.decode(text),)
        except msgspec.ValidationError as error:
            raise _explain(text, str(error)) from None
        except (msgspec.DecodeError, RecursionError) as error:
            whole = without_halves(text)
            raise (_not_json(error) if whole is None else _explain(whole, HALF)) from None

    def encode(self, reply: replies.Reply) -> bytes:
        """Write a reply as a frame."""
        said: msgspec.Struct = reply
        if isinstance(reply, replies.History):
            said = _history(reply)
        elif isinstance(reply, replies.Presence):
            said = presence(reply)
        return text_frame(self._encoder.encode(said))

    def encode_event(self, room: str, event: Event) -> bytes:
        """Write an event as a frame."""
        return text_frame(self._encoder.encode(envelope(room, event, _Event)))


class NativeDoor:
    """`door.Door` of the native protocol, whose words the actors' are."""

    name = SUBPROTOCOL
    path = "/v1/ws"
    subprotocols: Collection[str] = frozenset({SUBPROTOCOL})
    ping = bytes(Frame(Opcode.PING, b"").serialize(mask=False))

    def __init__(self) -> None:
        self.codec: Codec = NativeCodec()

    def refuse(self, query: Mapping[str, Sequence[str]], offered: Sequence[str]) -> TurnedAway | None:
        """Let everyone in."""
        return None

    def greet(self, connection: str) -> bytes:
        """Say nothing: the client begins."""
        return b""

    def part(self, code: int, reason: str, codec: Codec) -> Parting:
        """Close with the code as it is."""
        return Parting(code, reason)


def _union(types: tuple[type, ...]) -> Any:
    union: Any = types[0]
    for each in types[1:]:
        union = union | each
    return union


def _history(reply: replies.History) -> _History:
    events = [envelope(reply.room, event, _Event) for event in reply.events]
    return _History(
        id=reply.id, room=reply.room, epoch=reply.epoch, offset=reply.offset, events=events, more=reply.more
    )


def _not_json(error: Exception) -> BadMessage:
    return BadMessage(ErrorCode.BAD_MESSAGE, f"this is not JSON that can be read: {error}")


def _explain(text: str, error: str) -> BadMessage:
    """Say what is wrong with a frame that is JSON and no command, and find its id."""
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as mistake:
        return _not_json(mistake)
    if not isinstance(message, dict):
        return BadMessage(
            ErrorCode.BAD_MESSAGE, f"a message is a JSON object with a `type`, not {type(message).__name__}"
        )
    id = message.get("id")
    if isinstance(id, bool) or not isinstance(id, int | str | None):
        id = None
    kind = message.get("type")
    if kind is None:
        return BadMessage(ErrorCode.BAD_MESSAGE, "the message has no `type`", id)
    if not isinstance(kind, str) or kind not in _TYPES:
        known = ", ".join(sorted(map(str, _TYPES)))
        return BadMessage(ErrorCode.UNKNOWN_TYPE, f"type {str(kind)[:80]!r} is unknown; there are {known}", id)
    return BadMessage(ErrorCode.BAD_MESSAGE, f"{kind}: {error}", id)
