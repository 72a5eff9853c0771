"""Reloading: SIGHUP in; secrets and keys read again and taken, or all left as it was; and a line that says so."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import msgspec
import structlog

from actors.report import Report

from .auth import Authenticator
from .settings import Settings
from .terminal import Terminal
from .trust import Trust, trust_from

__all__ = ["Reloading", "on_hangup"]

log = structlog.get_logger("postroom.app")

_TAKEN = ("secret", "secret_file", "key_file", "jwks_url", "audience", "issuer")
"""The settings that a running router takes anew."""


class Reloading:
    """Has a running router take what its settings say of tokens now.

    Args:
        settings: What it runs with.
        authenticator: Who takes it.
        report: Is told how it went.
    """

    def __init__(self, settings: Settings, authenticator: Authenticator, report: Report) -> None:
        self._started_with = settings
        self._settings = settings
        self._authenticator = authenticator
        self._report = report

    async def serve(self, asked: asyncio.Event, load: Callable[[], Settings]) -> None:
        """Load the settings again whenever it is asked for; for ever.

        Args:
            asked: Set to ask.
            load: Gathers the settings as they were at the start; called on another thread.
        """
        while True:
            await asked.wait()
            asked.clear()
            await self.reload(load)

    async def reload(self, load: Callable[[], Settings]) -> None:
        """Load the settings, and take those about tokens; where one cannot be used nothing is changed."""

        def read() -> tuple[Settings, Trust]:
            settings = load()
            return settings, trust_from(settings)

        try:
            settings, trust = await asyncio.to_thread(read)
        except Exception as error:  # a plug-in's or a file system's own: the router runs on as it was
            log.error("reload_failed", error=type(error).__name__, reason=str(error))
            self._report("reloaded", ok=False, reason=str(error))
            return
        changed = self._changes(settings, trust)
        self._authenticator.take(trust)
        taken = {name: getattr(settings, name) for name in _TAKEN}
        self._settings = msgspec.structs.replace(self._settings, **taken)
        needs_restart = [
            name
            for name in Settings.__struct_fields__
            if name not in _TAKEN and getattr(settings, name) != getattr(self._started_with, name)
        ]
        log.info("reloaded", changed=changed, needs_restart=needs_restart)
        self._report("reloaded", ok=True, changed=changed, needs_restart=needs_restart)

    def _changes(self, settings: Settings, trust: Trust) -> list[str]:
        """Name the settings that are other ones now, or whose files hold something else."""
        changed = [name for name in _TAKEN if getattr(settings, name) != getattr(self._settings, name)]
        before = self._authenticator.trust
        if {**trust.keys, "HS256": None} != {**before.keys, "HS256": None} and "key_file" not in changed:
            changed.append("key_file")
        return changed


def on_hangup(asked: asyncio.Event, stop: asyncio.Event) -> None:
    """Have SIGHUP set `asked`; or `stop`, where it says that the terminal is gone in which the router was started."""
    terminal = Terminal()

    def hung_up() -> None:
        (stop if terminal.gone else asked).set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)
