"""What connections work with and what one of them may cost: the Connection actor's side of the outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from .clock import Clock
from .directory import RoomDirectory
from .errors import Refusal
from .identity import Identity
from .mailbox import Mailbox
from .meters import Meters
from .report import Report, unreported

__all__ = ["Admission", "Authenticator", "ConnectionLimits", "ConnectionPorts"]


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may cost. Sizes in bytes, times in seconds."""

    message_bytes: int = 64 * 1024
    outbox_bytes: int = 1024 * 1024
    rooms: int = 128
    """Rooms that it may subscribe to, beyond those joined by themselves."""
    heartbeat_s: float = 25.0
    hello_s: float = 10.0
    commands_per_s: float = 200.0
    """For role `user`; 0: no limit."""
    commands_burst: int = 400
    token_warning_s: float = 60.0
    """0: no warning."""
    token_grace_s: float = 25.0


class Authenticator(Protocol):
    """Who knows whether a token is good."""

    def check(self, token: str, reply: Callable[[Identity | Refusal], None]) -> None:
        """Call `reply` once, now or later, on the loop's thread."""


class Admission(Protocol):
    """Who counts the connections."""

    def enter(self, connection: str, identity: Identity) -> str | None:
        """Count the connection for its user; return why it may not stay, or None."""


class ConnectionPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What every connection works with."""

    source: Mailbox
    directory: RoomDirectory
    authenticator: Authenticator
    admission: Admission
    clock: Clock
    limits: ConnectionLimits
    anonymous: Identity | None
    """Who a client without a token is; None: it is turned away."""
    report: Report = unreported
    """Is told of repairs."""
    meters: Meters = msgspec.field(default_factory=Meters)
    """Count what connections do."""
