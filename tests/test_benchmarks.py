"""The benchmarks, each in a tiny form on real routers: figures come out, and are judged. No time is asserted."""

from __future__ import annotations

import dataclasses
import socket
import sys

import pytest

from benchmarks.__main__ import BY_NAME as BENCHMARKS
from benchmarks.benchmark import Settings
from benchmarks.deliveries import Subscriber
from benchmarks.durable import DURABLE, Figures
from benchmarks.fanout import FANOUT
from benchmarks.measure import Result, measure
from benchmarks.peers import PEERS, Peer
from benchmarks.record import Run, record
from benchmarks.report import render, summary
from benchmarks.targets import TARGETS, Target, judge
from benchmarks.websocket import messages

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="they read /proc and wait with epoll"),
]

TINY = Settings(subscribers=5, rooms=3, clients=20, loud=20, connections=20, seconds=0.1, rounds=1)
BY_NAME = {peer.name: peer for peer in PEERS}
TITLES = {peer.name: peer.title for peer in PEERS}
EVERY_SECOND = "POSTROOM_HEARTBEAT_S=1", "POSTROOM_PONG_TIMEOUT_S=1"


def pinging(peer: Peer) -> Peer:
    """The same router with a heartbeat of a second, for `idle` watches a whole one."""
    assert peer.command is not None
    command = peer.command
    return dataclasses.replace(peer, command=lambda port, api: ["env", *EVERY_SECOND, *command(port, api)])


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("fanout", "postroom"),
        ("doors", "postroom"),
        ("rooms", "postroom"),
        ("fairness", "postroom"),
        ("durable", "sqlite"),
        ("reconnect", "sqlite"),
        ("idle", "postroom"),
        ("scale", "postroom"),
        ("mailbox", "loop"),
        ("mailbox", "thread"),
        ("compression", "deflate"),
        ("overload", "sqlite"),
        ("logs", "nats"),
        ("workers", "workers-2"),
        ("nodes", "routers-3"),
        ("partition", "cut-off"),
    ],
)
def test_a_benchmark_gives_figures_for_every_load(name: str, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = BENCHMARKS[name]
    if name == "partition":  # each takes as long as it takes a router to notice
        benchmark = dataclasses.replace(benchmark, loads=benchmark.loads[:1])
    peer = pinging(BY_NAME[server]) if name == "idle" else BY_NAME[server]
    results = measure(benchmark, [peer], TINY)
    assert list(results) == [load.name for load in benchmark.loads]
    for of_servers in results.values():
        assert of_servers[server].invalid is None
        figures = of_servers[server].median()
        assert figures is not None
        assert all(value >= 0 for value in dataclasses.asdict(figures).values())
    assert capsys.readouterr().out.count("round 1") == len(benchmark.loads)

    run = Run(benchmark, [peer], results, {})
    kept = record(TINY, [run])
    own = {target.name for target in TARGETS if (target.benchmark, target.own, target.peer) == (name, server, None)}
    assert {target for target, judged in kept["targets"].items() if judged["value"] is not None} >= own
    text = render(run, TINY, TITLES, None)
    assert all(column.heading in text for column in benchmark.columns)
    said = summary(kept)
    assert kept["command"] in said
    assert all(judged["what"] in said for judged in kept["targets"].values())


def durable(publishes_per_s: float, *, server: float = 90.0, generator: float = 50.0) -> Figures:
    return Figures(
        publishes=1,
        publishes_per_s=publishes_per_s,
        cpu_us_per_publish=1,
        p50_ms=1,
        p99_ms=1,
        server_cpu_percent=server,
        generator_cpu_percent=generator,
    )


def target(**changes: object) -> Target:
    """A promise of at least 10 publishes a second."""
    return dataclasses.replace(
        Target("F", "durable", "http", "publishes", "publishes_per_s", bound=10, at_most=False, own="sqlite"),
        **changes,  # type: ignore[arg-type]  # the fields' own types are checked where they are used
    )


def test_a_figure_of_one_server_is_judged_by_the_median_of_its_rounds() -> None:
    results = {"http": {"sqlite": Result([durable(9), durable(30), durable(11)])}}
    verdict = judge(target(), results)
    assert verdict is not None
    assert (verdict.value, verdict.lowest, verdict.highest, verdict.holds) == (11, 9, 30, True)
    verdict = judge(target(at_most=True), results)
    assert verdict is not None
    assert not verdict.holds


def test_a_ratio_is_judged_round_by_round() -> None:
    """A minute in which the machine is slow hits both servers."""
    results = {"http": {"sqlite": Result([durable(8), durable(80)]), "postroom": Result([durable(10), durable(100)])}}
    verdict = judge(target(peer="postroom", bound=0.7), results)
    assert verdict is not None
    assert verdict.value == pytest.approx(0.8)
    assert verdict.holds


def test_nothing_is_judged_without_valid_figures_of_all_servers() -> None:
    invalid = Result([durable(1)], invalid="round 2: stalled")
    assert judge(target(), {"http": {"sqlite": invalid}}) is None
    assert judge(target(peer="postroom"), {"http": {"sqlite": Result([durable(1)]), "postroom": invalid}}) is None
    assert judge(target(), {"http": {}}) is None


@pytest.mark.parametrize(("server", "generator", "marked"), [(80, 99, True), (99, 99, False), (99, 50, False)])
def test_a_figure_that_is_the_generators_limit_is_marked(server: float, generator: float, marked: bool) -> None:
    figures = durable(12_345, server=server, generator=generator)
    results = {load.name: {"sqlite": Result([figures])} for load in DURABLE.loads}
    text = render(Run(DURABLE, [], results, {}), TINY, TITLES, None)
    assert ("12,345*" in text) is marked
    assert "falls short" in text


def test_a_server_that_keeps_no_journal_gives_no_figures() -> None:
    """Else the figures of the memory journal would pass for those of the file."""
    forgetful = dataclasses.replace(BY_NAME["postroom"], journal="journal.db")
    results = measure(dataclasses.replace(DURABLE, loads=DURABLE.loads[:1]), [forgetful], TINY)
    assert "kept nothing" in str(results["http"]["postroom"].invalid)


def test_a_server_that_lets_nobody_in_says_so_where_there_would_be_figures() -> None:
    """Its own words, not what comes of it later."""
    closed = dataclasses.replace(BY_NAME["postroom"], dialect="relay")
    results = measure(dataclasses.replace(FANOUT, loads=FANOUT.loads[:1]), [closed], TINY)
    assert "no upgrade on /: HTTP/1.1 404" in str(results["A"]["postroom"].invalid)


def test_whole_messages_are_found_in_what_was_received() -> None:
    frames = b"".join(bytes([0x81, len(text)]) + text for text in (b"one", b"two"))
    long = b"x" * 300
    received = frames + b"\x89\x01p" + b"\x81\x7e" + (300).to_bytes(2, "big") + long + b"\x81\x05cut"
    assert list(messages(received)) == [b"one", b"two", long]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"\x89\x04abcd", b"\x8a\x84" + bytes(4) + b"abcd"),
        (b"\x81\x02{}", b"\x81\x82" + bytes(4) + b"{}"),
        (b"\x81\x012", b"\x81\x81" + bytes(4) + b"3"),
    ],
    ids=["WebSocket", "Centrifuge", "Engine.IO"],
)
def test_every_protocols_heartbeat_is_answered_once_wherever_it_is_cut(asked: bytes, answered: bytes) -> None:
    event = b"\x81\x05[{1}]"
    for cut in range(len(asked)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            subscriber = Subscriber(ours, sampled=False, heartbeat=asked)
            for part in (event + asked[:cut], asked[cut:], event, event):
                theirs.sendall(part)
                assert subscriber.read() == 0
            theirs.setblocking(False)
            assert theirs.recv(100) == answered
