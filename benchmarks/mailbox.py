"""`mailbox`: messages through one actor's mailbox, of `LoopActor` and of `pykka.ThreadingActor`, in one process.

In: a request. Out: its figures. Load `tells` sends a thousand messages and waits until the last one is handled, over
and over; `asks` sends one, and the next when its answer is there. Both kinds of actors run on the one core that the
other benchmarks leave to their generators.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pykka
import uvloop

from actors.loop import LoopActor, handles

from .benchmark import Benchmark, Column, Load, Shares
from .generator import Request, answer

__all__ = ["MAILBOX", "Figures", "measure"]

_BURST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave."""

    messages: float
    messages_per_s: float
    us_per_message: float


@dataclass(frozen=True, slots=True)
class Item:
    """A message."""

    number: int


class OnLoop(LoopActor):
    """Handles items on the event loop."""

    def __init__(self, done: Callable[[], None]) -> None:
        super().__init__()
        self._done = done

    @handles(Item)
    def _item(self, item: Item) -> int:
        if item.number == _BURST - 1:
            self._done()
        return item.number


class InThread(pykka.ThreadingActor):
    """Handles items in a thread of its own."""

    def __init__(self, done: Callable[[], None]) -> None:
        super().__init__()
        self._done = done

    def on_receive(self, message: Any) -> Any:
        if message.number == _BURST - 1:
            self._done()
        return message.number


def measure(request: Request) -> Figures:
    """Send messages for as long as told."""
    seconds, asking = request.settings.seconds, request.load == "asks"
    cpu, start = time.process_time(), time.monotonic()
    if request.dialect == "loop":
        messages = uvloop.run(_to_loop(seconds, asking=asking))
    else:
        messages = _to_thread(seconds, asking=asking)
    elapsed_s = time.monotonic() - start
    share = 100 * (time.process_time() - cpu) / elapsed_s
    return Figures(
        messages=messages,
        messages_per_s=messages / elapsed_s,
        us_per_message=elapsed_s * 1e6 / messages,
        server_cpu_percent=share,
        generator_cpu_percent=share,
    )


async def _to_loop(seconds: float, *, asking: bool) -> int:
    done = asyncio.Event()
    actor = OnLoop.start(done.set)
    messages, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        if asking:
            for number in range(_BURST):
                await actor.ask(Item(number), block=False)
        else:
            for number in range(_BURST):
                actor.tell(Item(number))
            await done.wait()
            done.clear()
        messages += _BURST
    await actor.stop(block=False)
    return messages


def _to_thread(seconds: float, *, asking: bool) -> int:
    done = threading.Event()
    actor = InThread.start(done.set)
    messages, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        if asking:
            for number in range(_BURST):
                actor.ask(Item(number))
        else:
            for number in range(_BURST):
                actor.tell(Item(number))
            done.wait()
            done.clear()
        messages += _BURST
    actor.stop()
    return messages


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{figures.messages_per_s:>11,.0f} messages/s {figures.us_per_message:>7.2f} us"


MAILBOX = Benchmark(
    name="mailbox",
    generator="benchmarks.mailbox",
    figures=Figures,
    loads=(
        Load(
            name="tells",
            title=lambda _: f"1 actor, {_BURST:,} messages told, and again when all are handled",
            compared="messages_per_s",
        ),
        Load(
            name="asks",
            title=lambda _: "1 actor, the next message asked when the last one is answered",
            compared="messages_per_s",
        ),
    ),
    peers=("loop", "thread"),
    columns=(
        Column("messages/s", 14, "messages_per_s", ",.0f"),
        Column("us/message", 14, "us_per_message", ".2f"),
        Column("CPU %", 9, "generator_cpu_percent", ".0f"),
    ),
    progress=_progress,
    same=(),
    notes=("us/message: by the clock, sender and actor together, in one process on one core.",),
)


if __name__ == "__main__":
    answer(measure)
