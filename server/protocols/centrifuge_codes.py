"""The Centrifuge protocol's numbers for what can go wrong: our codes in, theirs out.

An official client comes back by itself after 3000 to 3499, and not after 3500 to 3999 (client protocol of Centrifugo).
"""

from __future__ import annotations

from collections.abc import Mapping

from actors.errors import CloseCode, ErrorCode

__all__ = ["CLOSE_CODES", "ERROR_CODES", "UNRECOVERABLE", "UNSUBSCRIBED"]

UNRECOVERABLE = 112
"""Error: the position is of another epoch."""

UNSUBSCRIBED = 2000
"""Of an `unsubscribe` push: the router ended the subscription, and the client is not to subscribe again by itself."""

ERROR_CODES: Mapping[ErrorCode, int] = {
    ErrorCode.INTERNAL: 100,
    ErrorCode.UNAUTHENTICATED: 101,
    ErrorCode.NOT_FOUND: 102,
    ErrorCode.FORBIDDEN: 103,
    ErrorCode.UNKNOWN_TYPE: 104,
    ErrorCode.ALREADY_SUBSCRIBED: 105,
    ErrorCode.TOO_MANY_ROOMS: 106,
    ErrorCode.TOO_LARGE: 106,
    ErrorCode.BAD_MESSAGE: 107,
    ErrorCode.INVALID_EVENT: 107,
    ErrorCode.TOKEN_EXPIRED: 109,
    ErrorCode.RATE_LIMITED: 111,
    # From 400 on they are an application's own; these are chosen after HTTP.
    ErrorCode.NOT_SUBSCRIBED: 409,
    ErrorCode.SESSION_ENDED: 410,
    ErrorCode.BUSY: 503,
    ErrorCode.JOURNAL_UNAVAILABLE: 507,
}

CLOSE_CODES: Mapping[int, int] = {
    CloseCode.DRAINING: 3001,
    CloseCode.GIVEN_UP: 3004,
    CloseCode.TOKEN_EXPIRED: 3005,
    CloseCode.SLOW_CONSUMER: 3008,
    # Theirs for a limit of connections is 3504, after which a client stays away; ours may come back, with back-off.
    CloseCode.TOO_MANY_CONNECTIONS: 3013,
    CloseCode.UNAUTHENTICATED: 3500,
    CloseCode.BAD_MESSAGES: 3501,
    CloseCode.BINARY_FRAME: 3501,
    CloseCode.NO_HELLO: 3502,
    CloseCode.OPERATOR: 3503,
}
"""The others are those of WebSocket itself."""
