"""Unanswered: a message on which a Connection failed in, the commands whose answers its client waits for out.

Its successor answers these with `internal`; what was answered or passed on before the failure is not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import commands, replies
from .errors import ErrorCode, Refusal
from .ledger import ConnectionState
from .messages import (
    Authenticated,
    Close,
    Detach,
    Drain,
    Exclude,
    Frame,
    Include,
    Joined,
    Published,
    Refused,
    Request,
    Revoke,
    WireClosed,
)

__all__ = ["FAILED", "ORDERS", "UNREAD", "unanswered"]

ORDERS = (Close, Drain, Exclude, Include, Revoke, WireClosed)
"""What a successor does if the actor before it failed on it: nobody waits for an answer, and nobody says it twice."""

UNREAD = (commands.Ping(),)
"""What a frame that could not be read counts as: something without an id is answered."""

FAILED = Refusal(
    ErrorCode.INTERNAL,
    "the router failed while it handled this and has repaired itself; whether it took effect is unknown",
)
"""The answer to them."""


def unanswered(message: Any, state: ConnectionState) -> Sequence[commands.Command]:
    """Return the commands that `message` was, or was the answer to, as far as they have no answer.

    Call it once: a frame that was not begun counts as dealt with, and a place in a room that was not taken is left.
    """
    if isinstance(message, Frame):
        return _of_frame(message, state)
    if isinstance(message, Authenticated | Request):
        return [message.command]
    if isinstance(message, Joined) and isinstance(message.tag, commands.Subscribe):
        if state.subscriptions.get(message.subscription.room) is message.subscription:
            return []  # it was answered; what failed was the delivery of old events
        if state.asked(message.subscription.room, message.tag):  # else the room was told so when the client left it
            message.subscription.room_mailbox.tell(Detach(state.id))
        return [message.tag]
    if isinstance(message, replies.State | replies.History | replies.Presence):
        return [commands.Ping(id=message.id)]
    if isinstance(message, Published | Refused) and isinstance(message.tag, commands.Command):
        return [message.tag] if state.unsettled(message.tag) else []
    return []


def _of_frame(frame: Frame, state: ConnectionState) -> Sequence[commands.Command]:
    if state.obeying is not None and state.obeying[0] is frame:
        return state.obeying[1]
    state.wire.done()  # it was not even begun
    try:
        return state.wire.codec.decode(frame.text)
    except Exception:
        return UNREAD
