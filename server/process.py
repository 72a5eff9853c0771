"""The router as a process: settings in, run until somebody stops it, an exit code out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Sequence

import structlog

from .addresses import Addresses
from .app import Plugin, Router
from .reloading import on_hangup
from .settings import Settings

__all__ = ["run"]

log = structlog.get_logger("postroom.app")

_GC_THRESHOLDS = (50_000, 20, 50)


def run(
    settings: Settings,
    *,
    on_ready: Callable[[Addresses], None] | None = None,
    plugins: Sequence[Plugin] = (),
    load: Callable[[], Settings] | None = None,
) -> int:
    """Run a router until SIGTERM or SIGINT, then drain it.

    Args:
        settings: See `settings.Settings`.
        on_ready: Called once everything is up.
        plugins: Called before that, in order.
        load: Gathers the settings again, when SIGHUP asks for it. None: SIGHUP ends the process, as any other.

    Returns:
        The exit code: 0, or 1 when the root supervisor failed.

    Raises:
        StartError: It cannot start.
    """
    # Connections and rooms are many objects that live long; looking through all of them after every 700 new ones, as
    # Python does unless told otherwise, takes a third of the time when thousands of clients come back at once.
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        return runner.run(_run(settings, on_ready, plugins, load))


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # no uvloop for this platform: asyncio's own loop does the same, more slowly
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _run(
    settings: Settings,
    on_ready: Callable[[Addresses], None] | None,
    plugins: Sequence[Plugin],
    load: Callable[[], Settings] | None,
) -> int:
    loop = asyncio.get_running_loop()
    stop, reload = asyncio.Event(), asyncio.Event()
    if load is not None:
        on_hangup(reload, stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    router = Router(settings, plugins)
    stopped = asyncio.ensure_future(stop.wait())
    starting = asyncio.ensure_future(router.start())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return 0
    addresses = starting.result()
    if on_ready is not None:
        on_ready(addresses)
    reloading = None if load is None else asyncio.ensure_future(router.reloading.serve(reload, load))
    failed = asyncio.ensure_future(router.failed())
    await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        log.critical("root_supervisor_failed", error=str(failed.result().cause))
        return 1
    failed.cancel()
    if reloading is not None:
        reloading.cancel()
    await router.stop()
    return 0
