"""`reconnect`: all clients are cut at once, events go on, and all come back at once with their positions.

In: a request. Out: its figures. The clock runs from the first connection attempt until the last client has its welcome
and every event that it missed.
"""

import gc
import time
from dataclasses import dataclass

from . import native
from .benchmark import CPU_COLUMNS, Benchmark, Column, Load, Settings, Shares
from .crowd import Crowd
from .deliveries import event
from .generator import Request, Span, allow_sockets, answer
from .publishers import HttpConnection

__all__ = ["RECONNECT", "Figures", "measure"]

_IN_ROOM = 100
_EVENTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Shares):
    """What one measurement gave."""

    all_back_s: float
    """From the first attempt until the last client had everything."""
    half_back_s: float
    turned_away: float
    """Attempts that the server refused or cut."""
    cpu_ms_per_client: float
    """User and system time of the server process."""


def measure(request: Request) -> Figures:
    """Let the clients in, cut them, publish, let them come back and verify what each of them got.

    Raises:
        Invalid: a client was not told `full`, missed an event or got one twice.
        OSError: the server could not be reached, or went away.
    """
    clients, secret = request.settings.clients, request.server.secret
    allow_sockets(clients)
    rooms = [f"session:bench-{request.load}-{number}" for number in range(_rooms(clients))]
    tokens = [
        native.token(secret, f"bench-{number}", "user", "session:*") if request.load == "users" else None
        for number in range(clients)
    ]
    service = HttpConnection(request.server.api_port, native.token(secret, "bench", "service"))
    _publish(service, rooms, 1)
    with Crowd(request.server, rooms, tokens) as crowd:
        gc.disable()
        crowd.cut()
        _publish(service, rooms, _EVENTS)
        span = Span(request.server)
        back = crowd.come_back(_EVENTS)
        span.end(at=back[-1])
        crowd.verify(_EVENTS)
    return Figures(
        all_back_s=span.elapsed_s,
        half_back_s=back[len(back) // 2] - span.started,
        turned_away=crowd.turned_away,
        cpu_ms_per_client=span.server_s * 1e3 / clients,
        **span.shares,
    )


def _rooms(clients: int) -> int:
    return max(1, clients // _IN_ROOM)


def _publish(service: HttpConnection, rooms: list[str], count: int) -> None:
    for room in rooms:
        service.ask([native.item(room.encode(), event(time.monotonic_ns())) for _ in range(count)])


def _progress(figures: Shares) -> str:
    assert isinstance(figures, Figures)
    return f"{figures.all_back_s:>9.2f} s until all are back {figures.cpu_ms_per_client:>7.2f} ms"


def _title(settings: Settings) -> str:
    return (
        f"{settings.clients:,} clients in {_rooms(settings.clients)} rooms, {_EVENTS} events each while they are gone"
    )


RECONNECT = Benchmark(
    name="reconnect",
    generator="benchmarks.reconnect",
    figures=Figures,
    loads=(
        Load(name="open", title=lambda settings: f"{_title(settings)}; without tokens", compared="all_back_s"),
        Load(
            name="users",
            title=lambda settings: f"{_title(settings)}; each a user with a token",
            compared="all_back_s",
        ),
    ),
    most_rounds=1,
    peers=("sqlite",),  # what comes back is in memory with either journal
    columns=(
        Column("all back s", 14, "all_back_s", ".2f", generator_bound=True),
        Column("half back s", 14, "half_back_s", ".2f"),
        Column("CPU ms/client", 17, "cpu_ms_per_client", ".2f"),
        Column("turned away", 14, "turned_away", ",.0f"),
        *CPU_COLUMNS,
    ),
    progress=_progress,
    same=("clients",),
    notes=(
        "all back: from the first attempt until the last client has `full` and every event, once and in order.",
        "CPU ms/client: user and system time of the server process. turned away: attempts that were refused or cut.",
    ),
)


if __name__ == "__main__":
    answer(measure)
