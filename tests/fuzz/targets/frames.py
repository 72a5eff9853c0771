"""A text frame of a client: a command, and for an event a draft; or an error that can be sent and names its command."""

from __future__ import annotations

import contextlib

import msgspec

from actors import commands, replies
from actors.codec import BadMessage
from actors.errors import ErrorCode, Refusal
from actors.events import Draft, draft
from server.protocols.native import NativeCodec
from tests.actors.chain import messages

__all__ = ["take"]

_CODEC = NativeCodec()


def take(data: bytes) -> None:
    """Decode a frame; a command comes back out of its own JSON."""
    try:
        text = data.decode()
    except UnicodeDecodeError:  # closes the connection before a codec sees it
        return
    try:
        (command,) = _CODEC.decode(text)
    except BadMessage as refusal:
        assert refusal.code in (ErrorCode.BAD_MESSAGE, ErrorCode.UNKNOWN_TYPE)
        error = replies.Error(id=refusal.id, code=refusal.code, message=refusal.message, temporary=False)
        assert _id_of(_CODEC.encode(error)) == refusal.id
        return
    assert isinstance(command, commands.Command)
    assert _CODEC.decode(msgspec.json.encode(command).decode()) == (command,)
    assert _id_of(_CODEC.encode(replies.Pong(id=command.id, time=""))) == command.id
    if isinstance(command, commands.Publish):
        with contextlib.suppress(Refusal):
            made = draft(
                command.kind,
                command.data,
                event_id="e" if command.event_id is None else command.event_id,
                time_ms=0,
                key=command.key,
                delivery=command.delivery,
                ack=command.ack,
            )
            assert isinstance(made, Draft)


def _id_of(frame: bytes) -> int | str | None:
    (message,) = messages(frame)
    id: int | str | None = message.get("id")
    return id
