"""Socket.IO 5: the native commands and replies as events, acknowledgements and packets of a namespace.

Text in, commands out; replies in, frames out. What is due for a command stands in its `id`: a number is that of an
acknowledgement, `/name` a CONNECT to that namespace, and what begins with 3 an Engine.IO pong; without one, an event.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from actors import commands, replies
from actors.codec import BadMessage
from actors.errors import ErrorCode
from actors.events import Event

from . import engineio
from .envelope import Envelope, envelope
from .frames import text_frame
from .presence import presence
from .socketio_packet import Packet, PacketType, read, start
from .surrogates import HALF

__all__ = ["Lobby", "NamespaceCodec"]

C = TypeVar("C", bound=commands.Command)

_SHORT: Final[Mapping[type[commands.Command], str | None]] = {
    commands.Subscribe: "room",
    commands.Unsubscribe: "room",
    commands.Publish: None,
    commands.State: "room",
    commands.History: "room",
    commands.Presence: "room",
    commands.Ack: None,
    commands.Refresh: "token",
    commands.Ping: None,
}
"""What a client may ask for, and which field a string stands for that is given instead of an object."""
_COMMANDS = {command.__struct_config__.tag: command for command in _SHORT}


class NamespaceCodec:
    """`actors.codec.Codec` of the connections to one namespace.

    Args:
        namespace: Its name.
        namespaces: All that there are.
    """

    tells_old_events = False
    first_words = "connect to a namespace first: the packet 0, with {token} as its payload"

    def __init__(self, namespace: str, namespaces: Collection[str]) -> None:
        self.namespace = namespace
        self.last_words = text_frame(engineio.MESSAGE + start(PacketType.DISCONNECT, namespace))
        """What tells an official client not to come back by itself, as a frame; empty: there is no such word."""
        self._namespaces = namespaces
        self._encoder = msgspec.json.Encoder()
        self._event = engineio.MESSAGE + start(PacketType.EVENT, namespace)

    def decode(self, text: str) -> Sequence[commands.Command]:
        """Read the command of one frame.

        Raises:
            BadMessage: `bad_message` or `unknown_type`; fatal where the packet itself is wrong.
        """
        return engineio.obey(text, self._message)

    def encode(self, reply: replies.Reply) -> bytes:
        """Write a reply as what is due, the welcome as a CONNECT packet and an event after it."""
        id = reply.id
        if isinstance(id, str) and not id.startswith("/"):
            return text_frame(id.encode())
        fields = _fields(reply)
        if isinstance(reply, replies.Error):
            if isinstance(id, str):
                return self._packet(PacketType.CONNECT_ERROR, id, None, {"message": reply.message, "data": fields})
            if id is not None:
                fields = {"error": fields}
        if isinstance(id, int):
            return self._packet(PacketType.ACK, self.namespace, id, [fields])
        event = text_frame(self._event + self._encoder.encode((type(reply).__struct_config__.tag, fields)))
        if isinstance(reply, replies.Welcome):
            return self._packet(PacketType.CONNECT, self.namespace, None, {"sid": reply.connection}) + event
        return event

    def encode_event(self, room: str, event: Event) -> bytes:
        """Write an event under its kind."""
        said = event.draft.kind, envelope(room, event, Envelope)
        return text_frame(self._event + self._encoder.encode(said))

    def hello(self, packet: Packet) -> commands.Hello:
        """Read what a client says of itself when it connects to this namespace.

        Raises:
            BadMessage: That is wrong.
        """
        if packet.halves:
            raise BadMessage(ErrorCode.BAD_MESSAGE, f"auth: {HALF}", packet.namespace)
        auth = {} if packet.payload is msgspec.UNSET else packet.payload
        return _convert(auth, commands.Hello, packet.namespace, "auth")

    def _message(self, text: str) -> Sequence[commands.Command]:
        packet = read(text)
        if packet.type is PacketType.CONNECT:
            return (self._connect(packet),)
        if packet.namespace != self.namespace:
            message = f"this connection is in namespace {self.namespace!r}, not in {packet.namespace[:80]!r}"
            raise BadMessage(ErrorCode.BAD_MESSAGE, message, fatal=True)
        match packet.type:
            case PacketType.EVENT:
                return (_command(packet),)
            case PacketType.DISCONNECT:
                return (commands.Bye(),)
            case PacketType.ACK:  # of an event of the router, which asks for none
                return ()
        id = packet.id if packet.type is PacketType.BINARY_EVENT else None
        raise BadMessage(ErrorCode.BAD_MESSAGE, "binary attachments are refused: send JSON, or base64 in it", id)

    def _connect(self, packet: Packet) -> commands.Hello:
        if packet.namespace == self.namespace:
            return self.hello(packet)
        if packet.namespace not in self._namespaces:
            raise _unknown(packet.namespace)
        message = f"one namespace a connection, and this one is in {self.namespace!r}: use the option forceNew: true"
        raise BadMessage(ErrorCode.BAD_MESSAGE, message, packet.namespace)

    def _packet(self, type: PacketType, namespace: str, id: int | None, payload: object) -> bytes:
        return text_frame(engineio.MESSAGE + start(type, namespace, id) + self._encoder.encode(payload))


class Lobby(NamespaceCodec):
    """The codec of those who have not said which namespace they connect to.

    Args:
        namespaces: The codecs of all that there are, by their names.
    """

    def __init__(self, namespaces: Mapping[str, NamespaceCodec]) -> None:
        super().__init__("/", namespaces)
        self.last_words = b""
        self._codecs = namespaces

    def _message(self, text: str) -> Sequence[commands.Command]:
        packet = read(text)
        if packet.type is not PacketType.CONNECT:
            raise BadMessage(ErrorCode.UNAUTHENTICATED, self.first_words, fatal=True)
        codec = self._codecs.get(packet.namespace)
        if codec is None:
            raise _unknown(packet.namespace)
        return commands.Speak(codec=codec), codec.hello(packet)


def _fields(reply: replies.Reply) -> dict[str, Any]:
    """Return a reply's fields by their names on the wire, without what the packet says already."""
    said = presence(reply) if isinstance(reply, replies.Presence) else reply
    names = zip(said.__struct_fields__, said.__struct_encode_fields__, strict=True)
    fields = {shown: getattr(said, name) for name, shown in names if name != "id"}
    if isinstance(reply, replies.History):
        fields["events"] = [envelope(reply.room, event, Envelope) for event in reply.events]
    return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


def _command(packet: Packet) -> commands.Command:
    if packet.halves:
        raise BadMessage(ErrorCode.BAD_MESSAGE, HALF, packet.id)
    name, *arguments = packet.payload
    command = _COMMANDS.get(name)
    if command is None:
        known = ", ".join(sorted(map(str, _COMMANDS)))
        message = f"there is no event {str(name)[:80]!r}; there are {known}"
        raise BadMessage(ErrorCode.UNKNOWN_TYPE, message, packet.id)
    said = arguments[0] if arguments and arguments[0] is not None else {}
    short = _SHORT[command]
    if isinstance(said, str) and short is not None:
        said = {short: said}
    if len(arguments) > 1 or not isinstance(said, dict):
        wanted = "an object" if short is None else f"an object, or the {short} as a string"
        raise BadMessage(ErrorCode.BAD_MESSAGE, f"{name}: give it one argument, {wanted}", packet.id)
    return _convert(said, command, packet.id, str(name))


def _convert(said: dict[str, Any], into: type[C], id: replies.CommandId, what: str) -> C:
    try:
        return msgspec.convert({**said, "type": into.__struct_config__.tag, "id": id}, into)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadMessage(ErrorCode.BAD_MESSAGE, f"{what}: {error}", id) from None


def _unknown(namespace: str) -> BadMessage:
    return BadMessage(ErrorCode.NOT_FOUND, "Invalid namespace", namespace)
