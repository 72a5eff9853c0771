"""Child: one worker as its parent sees it. Started and started again; what it says and how it ended out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import msgspec

from .job import Job, Ready, Refused
from .restarts import Restarts
from .tie import tie
from .wakes import Wakes

__all__ = ["Child", "how_ended"]

_MOST_BYTES = 65_536
"""Of what a worker says at once; a pipe holds no more."""
_SAID = msgspec.json.Decoder(Ready | Refused)


class Child:
    """A worker.

    Args:
        job: What it runs; without a descriptor.
        wakes: Waits for what it says.
    """

    def __init__(self, job: Job, wakes: Wakes) -> None:
        self.node = job.instead.node
        self.restarts = Restarts()
        self.refusals = 0
        """How often in a row it said that it cannot start."""
        self.start_at: float | None = 0.0
        """When it is to be started; None: it runs."""
        self.said: Ready | Refused | None = None
        """What it has said since it was started."""
        self.ready_at: float | None = None
        """Since when it takes clients, by `time.monotonic`."""
        self.reload = False
        """Whether it is to read its settings again as soon as it can."""
        self._job = job
        self._wakes = wakes
        self._process: subprocess.Popen[bytes] | None = None
        self._report = -1
        self._text = b""

    @property
    def pid(self) -> int | None:
        """Its process; None: there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, and do not wait."""
        self.start_at = self.said = self.ready_at = None
        self._text = b""
        self._report, its_end = os.pipe()
        os.set_blocking(self._report, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "server.workers.worker", self.node],
                stdin=subprocess.PIPE,
                pass_fds=(its_end,),
                preexec_fn=tie(),
                start_new_session=True,  # the terminal's Ctrl-C is for the parent, which passes it on
            )
        except BaseException:
            os.close(self._report)
            raise
        finally:
            os.close(its_end)
        self._wakes.watch(self._report, self._read)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as its_input:  # it has ended already
            its_input.write(msgspec.json.encode(msgspec.structs.replace(self._job, report_to=its_end)))

    def ended(self) -> int | None:
        """Return its exit code, or None while it runs or when its end was seen before."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            self._process = None
            if self._report >= 0:
                self._read()
            if self._report >= 0:
                self._leave_report()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, where it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def _read(self) -> None:
        """Take what it says; at its end there is no more."""
        try:
            text = os.read(self._report, _MOST_BYTES)
        except BlockingIOError:
            return
        if not text:
            self._leave_report()
        self._text += text
        line, end, rest = self._text.partition(b"\n")
        if end:
            self.said, self._text = _SAID.decode(line), rest
            if isinstance(self.said, Ready):
                self.ready_at = time.monotonic()
                self.refusals = 0

    def _leave_report(self) -> None:
        report, self._report = self._report, -1
        self._wakes.forget(report)
        os.close(report)


def how_ended(code: int) -> str:
    """Say in a few words how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
