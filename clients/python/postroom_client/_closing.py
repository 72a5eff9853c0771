"""What a closed connection means: a close code in, "come back" or the error that ends the client out."""

from __future__ import annotations

from ._errors import CommandError, ConnectionEnded, Unauthenticated
from ._wire import ErrorMessage

__all__ = ["FINAL_CLOSE_CODES", "TOKEN_EXPIRED", "ending_of_close", "ending_of_hello", "ending_of_status"]

FINAL_CLOSE_CODES = {
    1003: "it got a binary frame",
    1007: "it got text that is not UTF-8",
    1009: "a message was over its limit",
    4009: "an operator closed it",
    4400: "too many bad messages",
    4401: "it does not take the token",
}
"""Close codes of the protocol's table that say not to come back."""

TOKEN_EXPIRED = 4410
"""The close code that says to come back with a new token."""

_UNAUTHENTICATED = 4401


def ending_of_close(code: int | None, reason: str, *, can_renew: bool) -> ConnectionEnded | None:
    """Return the error that ends the client, or None: come back with the positions.

    Args:
        code: The close code that the router sent; None: the connection broke without one.
        reason: What it said with it.
        can_renew: Whether there is a way to get a new token.
    """
    if code == TOKEN_EXPIRED and not can_renew:
        return Unauthenticated(code, reason or "the token expired, and `token` is not a callable that renews it")
    if code not in FINAL_CLOSE_CODES:
        return None
    kind = Unauthenticated if code == _UNAUTHENTICATED else ConnectionEnded
    return kind(code, reason or FINAL_CLOSE_CODES[code])


def ending_of_hello(error: ErrorMessage, *, can_renew: bool) -> ConnectionEnded | CommandError | None:
    """Return the error that ends the client after `hello` was refused, or None: try again later."""
    if error.temporary or (error.code == "token_expired" and can_renew):
        return None
    if error.code == "token_expired":
        return Unauthenticated(TOKEN_EXPIRED, error.message)
    if error.code == "unauthenticated":
        return Unauthenticated(_UNAUTHENTICATED, error.message)
    return CommandError(error.code, error.message)


def ending_of_status(status: int, said: str = "", *, was_connected: bool) -> ConnectionEnded | None:
    """Return the error that ends the client when HTTP refused the handshake, or None: try again later.

    A client that was connected before comes back through most refusals: during a roll-out, proxies answer with
    anything.

    Args:
        status: Of the answer.
        said: What the answer said in plain text, if anything.
        was_connected: Whether there was a connection before.
    """
    if status in (401, 403):
        return Unauthenticated(None, f"the handshake got HTTP {status}{said and f': {said}'}")
    if was_connected or status in (408, 425, 429) or not 400 <= status < 500:
        return None
    hint = said or "is this the WebSocket port (8000 unless set otherwise), and is the path right?"
    return ConnectionEnded(None, f"the handshake got HTTP {status}: {hint}")
