"""What the log of a cluster, its links to NATS and its timers tell the actor between them. All are immutable."""

from __future__ import annotations

from typing import NamedTuple

from nats.aio.msg import Msg

from actors.errors import PostroomError

from .reading import Found, Reading
from .records import Snapshot
from .shelf import Shelf
from .streams import Log

__all__ = [
    "Acknowledged",
    "Audit",
    "Audited",
    "Broken",
    "Kept",
    "Late",
    "LinkUp",
    "Live",
    "Read",
    "Rested",
    "Tick",
    "Verified",
]


class Tick(NamedTuple):
    """There is something to do for a room; without one: it is time to look at what is under way."""

    shelf: Shelf | None = None
    catch_up: bool = False
    """Whether it may have missed something."""


class Acknowledged(NamedTuple):
    """The stream has answered to a message."""

    number: int
    payload: bytes
    status: str
    """Not empty: nobody is there to answer."""


class Live(NamedTuple):
    """A message was stored."""

    shelf: Shelf
    message: Msg


class Read(NamedTuple):
    """A room was read, or cannot be."""

    shelf: Shelf
    outcome: Reading | PostroomError


class Late(NamedTuple):
    """What a room had not heard of was read, or cannot be."""

    shelf: Shelf
    outcome: tuple[list[Found], Snapshot | None] | PostroomError


class Kept(NamedTuple):
    """A room's snapshot was stored, or could not be."""

    shelf: Shelf
    trouble: str | None


class Rested(NamedTuple):
    """A room's snapshot may be stored again."""

    shelf: Shelf


class LinkUp(NamedTuple):
    """There is a connection again."""


class Audit(NamedTuple):
    """It is time to look whether something was missed that nothing followed."""


class Audited(NamedTuple):
    """Where the last messages of some rooms stand."""

    tops: dict[str, int]


class Verified(NamedTuple):
    """JetStream answers, and has this log; or why it does not."""

    outcome: Log | PostroomError
    seen: int
    """The highest offset that this router knew of when it asked."""


class Broken(NamedTuple):
    """Something that takes time ended with an error that nobody expected."""

    error: BaseException
    shelf: Shelf | None
