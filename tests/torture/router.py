"""RouterProcess: the router as a child process that is killed and started again on the same two ports."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from postroom_client import testing

from .plan import Tally

__all__ = ["KEEP_ALL", "RouterProcess", "RunFailed"]

_START_S = 30.0
_PATIENT_S = 90.0
_REPOSITORY = Path(__file__).parents[2]

KEEP_ALL: Mapping[str, object] = {"history_events": 1_000_000, "history_s": 86_400}
"""Room for every event, so that no position expires."""


class RunFailed(Exception):
    """The run cannot go on: the router ended by itself, or was not ready in time. Says what it logged last."""


class RouterProcess:
    """A router that asks for no token.

    Args:
        folder: Where its log goes.
        journal: What `--journal` gets; None: nothing, the router keeps its events in a cluster.
        tally: Where kills and starts are counted.
        settings: More of its settings.
        plugins: What it runs beside its own.
        environment: More variables for it.
    """

    def __init__(
        self,
        folder: Path,
        journal: str | None,
        tally: Tally,
        *,
        settings: Mapping[str, object] = KEEP_ALL,
        plugins: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._tally = tally
        self._process = testing.RouterProcess(
            folder,
            settings={"dev": True, "journal": journal, **settings},
            plugins=plugins,
            environment=environment,
            cwd=_REPOSITORY,
        )
        self.url = self._process.url
        self.api_url = self._process.api_url
        self.log = self._process.log_path

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.running

    def spawn(self) -> None:
        """Start it, and do not wait."""
        self._process.spawn()

    async def start(self, *, patient: bool = False) -> None:
        """Start it and wait until it answers.

        Args:
            patient: Whether to start it again when it ends by itself, as an init system does.

        Raises:
            RunFailed: It ended by itself, or was not ready within 30 s; with patience within 90 s.
        """
        began = time.monotonic()
        most_s = _PATIENT_S if patient else _START_S
        self.spawn()
        while not await asyncio.to_thread(self._process.ready):
            if time.monotonic() - began > most_s:
                raise RunFailed(f"the router was not ready within {most_s:g} s\n{self.last_lines()}")
            if not self._process.running:
                if not patient:
                    raise RunFailed(f"the router ended with {self._process.exit_code}\n{self.last_lines()}")
                self._tally.failed_starts += 1
                await asyncio.sleep(0.25)
                self.spawn()
            await asyncio.sleep(0.02)
        if not patient:
            self._tally.longest_start_s = max(self._tally.longest_start_s, time.monotonic() - began)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let it stand still during the block, as a machine that swaps or a virtual one that is moved does."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def pause(self, seconds: float) -> None:
        """Let it stand still for a while."""
        with self.standing_still():
            await asyncio.sleep(seconds)

    async def kill(self) -> None:
        """End it without a word."""
        if not self._process.running:
            raise RunFailed(f"the router ended with {self._process.exit_code} by itself\n{self.last_lines()}")
        await asyncio.to_thread(self._process.kill)
        self._tally.kills += 1

    async def drain(self) -> None:
        """End it as an operator does who starts it again.

        Raises:
            RunFailed: It did not end, or not in good order.
        """
        if exit_code := await asyncio.to_thread(self._process.stop):
            raise RunFailed(f"the router drained and ended with {exit_code}\n{self.last_lines()}")

    async def stop(self) -> None:
        """End it as an operator does, or at once if it does not."""
        if self._process.running:
            await asyncio.to_thread(self._process.stop)

    def last_lines(self) -> str:
        """Return the end of its log."""
        return self._process.last_lines()
