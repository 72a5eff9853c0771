"""Job: what the parent has a worker run, and what a worker says of itself. Both are JSON, and go through pipes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from server.settings import Settings, load

__all__ = ["Instead", "Job", "Ready", "Refused"]


class Instead(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that are other ones for a worker than for the parent. None: the same."""

    node: str
    port: int | None = None
    api_port: int | None = None
    cluster: tuple[str, ...] | None = None
    cluster_user: str | None = None
    cluster_password: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to run. It holds a password, so it is in no argument and no variable."""

    flags: dict[str, Any]
    """Those of the command line, by setting."""
    config: Path | None
    """The settings file that the command line names."""
    instead: Instead
    report_to: int = -1
    """The descriptor on which it says how it is."""

    def settings(self, environ: Mapping[str, str]) -> Settings:
        """Gather the worker's settings. Blocks while it reads the files they name.

        Raises:
            SettingsError: One cannot be used.
        """
        settings = load(self.flags, environ, self.config)
        other = {name: value for name, value in msgspec.structs.asdict(self.instead).items() if value is not None}
        return msgspec.structs.replace(settings, **other)


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """A worker to its parent: it is up, and listens here."""

    ws_url: str
    api_url: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """A worker to its parent: it cannot start, for this reason."""

    reason: str
