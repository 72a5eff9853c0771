"""A text frame of the Centrifuge protocol: commands that can be answered, or an error that ends the connection."""

from __future__ import annotations

from actors import commands, replies
from actors.codec import BadMessage
from actors.errors import ErrorCode
from server.protocols.centrifuge import CentrifugeCodec
from tests.actors.chain import messages

__all__ = ["take"]

_CODEC = CentrifugeCodec()


def take(data: bytes) -> None:
    """Decode a frame; each command that has an id gets an answer with that number, and so does each refusal of one."""
    try:
        text = data.decode()
    except UnicodeDecodeError:  # closes the connection before a codec sees it
        return
    try:
        said = _CODEC.decode(text)
    except BadMessage as refusal:
        assert refusal.code is ErrorCode.BAD_MESSAGE
        assert refusal.fatal
        return
    for command in said:
        assert isinstance(command, commands.Command)
        if isinstance(command, commands.Unfit):
            _refuse(command, command.code, command.message)
            continue
        assert command.id is not None or isinstance(command, _SENT)
        _refuse(command, ErrorCode.NOT_SUBSCRIBED, "no")
        if isinstance(command, commands.History):
            history = replies.History(id=command.id, room=command.room, epoch="e", offset=0, events=(), more=False)
            assert _number(_CODEC.encode(history)) == _wanted(command)
        elif not isinstance(command, commands.Hello | commands.Subscribe | commands.Presence):
            assert _number(_CODEC.encode(replies.Unsubscribed(id=command.id, room="doc:1"))) == _wanted(command)


_SENT = (commands.Ack, commands.Publish, commands.Refresh, commands.State)


def _refuse(command: commands.Command, code: ErrorCode, message: str) -> None:
    error = replies.Error(id=command.id, code=code, message=message, temporary=False)
    assert _number(_CODEC.encode(error)) == _wanted(command)


def _wanted(command: commands.Command) -> int | None:
    return None if command.id is None else int(str(command.id).split(":")[1])


def _number(frames: bytes) -> int | None:
    if not frames:
        return None
    (message,) = messages(frames)
    number: int = message["id"]
    return number
