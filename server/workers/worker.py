"""A worker: one router process of several. A `Job` in on stdin; `Ready` or `Refused` out on the descriptor it names.

Started by the parent as `python -P -m server.workers.worker NAME`; the name is for who looks at the list of processes.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import msgspec

from actors.errors import PostroomError
from server import logs, process
from server.addresses import Addresses
from server.plugins import load_plugin

from .job import Job, Ready, Refused

__all__ = ["main"]


def main() -> int:
    """Run a router as the parent says; return its exit code."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    _no_more_input()
    os.set_inheritable(job.report_to, False)  # what a plug-in starts may outlive this process
    try:
        load = partial(job.settings, os.environ)
        settings = load()
        logs.configure(settings.log_level, settings.log_format, node=settings.node)
        plugins = [load_plugin(spec) for spec in settings.plugins]

        def ready(addresses: Addresses) -> None:
            _say(job, Ready(*addresses))

        return process.run(settings, on_ready=ready, plugins=plugins, load=load)
    except PostroomError as error:
        _say(job, Refused(str(error)))
        return 1


def _say(job: Job, what: Ready | Refused) -> None:
    os.write(job.report_to, msgspec.json.encode(what) + b"\n")


def _no_more_input() -> None:
    """Put an empty file in the place of the pipe that the job came through."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
