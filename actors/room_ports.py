"""What rooms work with: the Room actor's side of the log, the ledger and everybody else."""

from __future__ import annotations

import msgspec

from .clock import Clock
from .elsewhere import NOWHERE, Elsewhere
from .ledger import Ledger
from .log import EventLog
from .meters import Meters
from .pressure import Pressure
from .quarantine import Quarantine
from .report import Report, unreported
from .rooms import Directory, RoomLimits
from .tracing import Tracing

__all__ = ["RoomPorts"]


class RoomPorts(msgspec.Struct, frozen=True):
    """What every room works with."""

    log: EventLog
    ledger: Ledger
    clock: Clock
    directory: Directory
    limits: RoomLimits
    pressure: Pressure
    quarantine: Quarantine
    tracing: Tracing
    meters: Meters
    report: Report = unreported
    """Is told of repairs."""
    elsewhere: Elsewhere = NOWHERE
    """The same rooms on other routers."""
