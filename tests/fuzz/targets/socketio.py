"""A text frame of a Socket.IO client: commands, or an error that can be told in the client's own protocol.

It is read three times: before a namespace was connected to, in `/` and in another one.
"""

from __future__ import annotations

from actors import commands, replies
from actors.codec import BadMessage
from actors.errors import ErrorCode
from server.protocols.socketio_codec import Lobby, NamespaceCodec

__all__ = ["take"]

_NAMES = ("/", "/admin")
_CODECS = {name: NamespaceCodec(name, _NAMES) for name in _NAMES}
_LOBBY = Lobby(_CODECS)
_CODES = (ErrorCode.BAD_MESSAGE, ErrorCode.UNKNOWN_TYPE, ErrorCode.NOT_FOUND, ErrorCode.UNAUTHENTICATED)


def take(data: bytes) -> None:
    """Decode a frame; its answer names the packet's id and namespace."""
    try:
        text = data.decode()
    except UnicodeDecodeError:  # closes the connection before a codec sees it
        return
    for codec in (_LOBBY, *_CODECS.values()):
        try:
            said = codec.decode(text)
        except BadMessage as refusal:
            assert refusal.code in _CODES
            assert codec.encode(replies.Error.of(refusal.id, refusal))[0] == 0x81
            continue
        for command in said:
            assert isinstance(command, commands.Command)
            _answer(codec, command)


def _answer(codec: NamespaceCodec, command: commands.Command) -> None:
    packet = codec.encode(replies.Pong(id=command.id, time="t")).partition(b'[{"time"')[0]
    match command.id:
        case int(id):
            assert packet.endswith(str(id).encode())
        case str(id) if not isinstance(command, commands.Hello):
            assert packet.endswith(id.encode())
            assert id.startswith("3")
        case str(id):
            assert id in _NAMES
