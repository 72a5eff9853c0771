"""What the actor tests stand on: an event loop in a thread, a diary of what happened, and a bound on every wait."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pykka
import pytest

from actors.mailbox import Dispatcher

from .client import Hall
from .house import House

HANG_S = 30.0
WAIT_S = 5.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each async test of this folder, so that one that hangs fails."""
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and item.path.is_relative_to(Path(__file__).parent)
            and inspect.iscoroutinefunction(item.obj)
        ):
            item.obj = _bounded(item.obj)


def _bounded(test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(HANG_S):
            await test(*args, **kwargs)

    return run


class Diary:
    """What happened, in order; any thread writes, and who reads can wait for an entry."""

    def __init__(self) -> None:
        self._entries: list[Any] = []
        self._changed = threading.Condition()

    def write(self, entry: Any) -> None:
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    def wait_for(self, *expected: Any) -> None:
        """Wait until all of `expected` was written."""
        with self._changed:
            assert self._changed.wait_for(lambda: all(entry in self._entries for entry in expected), WAIT_S), (
                f"{expected} was not written, only {self._entries}"
            )

    @property
    def entries(self) -> list[Any]:
        with self._changed:
            return list(self._entries)


class _LogDiary(logging.Handler):
    def __init__(self, diary: Diary) -> None:
        super().__init__(logging.DEBUG)
        self._diary = diary

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._diary.write((record.levelname, record.getMessage(), repr(error) if error else ""))


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def pykka_log() -> Iterator[Diary]:
    """Entries of pykka's logger: (level, message, repr of the exception or an empty string)."""
    logger = logging.getLogger("pykka")
    log = Diary()
    handler = _LogDiary(log)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield log
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.fixture
def thread_pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    """The dispatcher of an event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop under test", daemon=True)
    thread.start()
    yield Dispatcher(loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(WAIT_S)
    assert not thread.is_alive(), "the loop hangs"
    loop.close()


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves an actor running, and let no other test inherit it."""
    yield
    left = pykka.ActorRegistry.get_all()
    for ref in left:
        pykka.ActorRegistry.unregister(ref)
    assert left == [], "actors left running"


@pytest.fixture
async def house(nothing_left: None) -> AsyncIterator[House]:
    """Rooms and a source, without connections."""
    house = House()
    yield house
    await house.end()


@pytest.fixture
async def open_hall(nothing_left: None) -> AsyncIterator[Callable[..., Hall]]:
    """Make halls: rooms, a source and connections, with options of their own."""
    halls: list[Hall] = []

    def make(**options: Any) -> Hall:
        halls.append(Hall(**options))
        return halls[-1]

    yield make
    for hall in halls:
        await hall.end()


@pytest.fixture
async def hall(open_hall: Callable[..., Hall]) -> Hall:
    """A hall as it comes."""
    return open_hall()
