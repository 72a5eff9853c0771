"""A router of one's own for a while, in a temporary folder: `router` without pytest, `own_process` for the fixtures."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ._postroom import Postroom
from ._process import RouterProcess

__all__ = ["own_process", "router"]

_PLUGIN = "postroom_client.testing._inside:control"
_SETTINGS = {
    "secret": "the-secret-of-routers-under-test-and-of-no-other",
    "drain_s": 1.0,
    "max_connections_per_user": 0,  # a client over the cap would wait for its turn, and tests have few users
}


@contextmanager
def own_process(**settings: object) -> Iterator[RouterProcess]:
    """Make a router's process that `Postroom` can have; it is not started. At the end it is killed.

    Args:
        settings: The router's settings, beyond those of the kit.

    Raises:
        RouterMissing: The distribution `postroom` is not installed.
        ValueError: A setting is the kit's own.
    """
    if "journal" in settings:
        raise ValueError(
            "journal cannot be set: the kit's router keeps its events in a temporary folder, which goes with it; "
            "for a router on a file of yours use RouterProcess"
        )
    with tempfile.TemporaryDirectory(prefix="postroom-") as folder:
        environment = {"CONTROL_SOCKET": str(Path(folder) / "control"), "TEMPORARY_FOLDER": folder}
        process = RouterProcess(
            Path(folder), settings={**_SETTINGS, **settings}, plugins=[_PLUGIN], environment=environment
        )
        try:
            yield process
        finally:
            process.kill()


@asynccontextmanager
async def router(**settings: object) -> AsyncIterator[Postroom]:
    """Run a router of one's own: `async with router(history_s=5) as postroom`.

    Args:
        settings: The router's settings by name, with values as Python has them.

    Raises:
        RouterMissing: The distribution `postroom` is not installed.
        RouterFailed: The router does not start; says why.
        ValueError: A setting is the kit's own.
    """
    with own_process(**settings) as process:
        postroom = Postroom(process)
        try:
            await postroom.start_router()
            yield postroom
        finally:
            await postroom.close()
