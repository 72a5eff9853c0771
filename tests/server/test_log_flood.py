"""A log that somebody floods: the first lines are written, the rest is counted, and nothing else is lost."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from server import repeats
from server.logs import configure, reset
from server.repeats import MOST_A_SECOND, Repeats

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What was logged since the last call."""
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    reset()


def test_100_000_errors_are_a_few_hundred_lines_that_say_how_many_they_were(lines: Lines) -> None:
    """As fast as they can be made; what else is logged meanwhile is all there."""
    configure("debug", "json")
    log, other = structlog.get_logger("postroom.a"), structlog.get_logger("postroom.b")
    began = time.monotonic()
    for number in range(100_000):
        log.error("it_failed", number=number, text="x" * 100)
        if number % 10_000 == 0:
            other.error("another_failed")
            log.info("it_opened")
    seconds = time.monotonic() - began
    reset()
    written = lines()
    events = Counter(line["event"] for line in written)
    assert (events["another_failed"], events["it_opened"]) == (10, 10)
    assert events["it_failed"] <= MOST_A_SECOND * (int(seconds) + 2)
    left_out = [line for line in written if line["event"] == "lines_left_out"]
    assert {(line["of"], line["of_logger"], line["level"]) for line in left_out} == {
        ("it_failed", "postroom.a", "warning")
    }
    assert events["it_failed"] + sum(line["count"] for line in left_out) == 100_000
    assert len(written) < 20 + (MOST_A_SECOND + 1) * (int(seconds) + 2)
    print(f"100,000 errors in {seconds:.2f} s, {len(written)} lines")


@pytest.fixture
def long_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second within which lines are counted be as long as a slow machine may take."""
    monkeypatch.setattr(repeats, "_WINDOW_S", 60.0)


@pytest.mark.usefixtures("long_second")
def test_a_librarys_errors_are_counted_by_their_words_before_the_values(lines: Lines) -> None:
    """With tracebacks and all; a line below a warning is left alone."""
    configure("debug", "json")
    library = logging.getLogger("aiohttp.server")
    for number in range(1_000):
        try:
            raise ValueError(number)
        except ValueError:
            library.exception("Error handling request from %s", number)
        library.info("something about %s", number)
    reset()
    messages = Counter(str(line.get("message")).partition(" ")[0] for line in lines())
    assert messages["something"] == 1_000
    assert messages["Error"] == MOST_A_SECOND


def test_what_is_left_out_is_said_when_nothing_more_comes(lines: Lines) -> None:
    """A flood that stops is counted within a second or so, without another line to bring it on."""
    configure("debug", "json")
    log = structlog.get_logger("postroom.a")
    for _ in range(MOST_A_SECOND + 7):
        log.warning("it_failed")
    written, deadline = lines(), time.monotonic() + 10
    while not any(line["event"] == "lines_left_out" for line in written):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        written += lines()
    assert [line["count"] for line in written if line["event"] == "lines_left_out"] == [7]
    log.warning("it_failed")
    assert [line["event"] for line in lines()] == ["it_failed"]


@pytest.mark.usefixtures("long_second")
def test_failures_that_differ_do_not_hide_each_other(lines: Lines) -> None:
    """One bug that strikes over and over leaves room for another one."""
    configure("debug", "json")
    log = structlog.get_logger("postroom.supervisor")
    for _ in range(1_000):
        log.error("actor_failed", traceback_hash="one")
    log.error("actor_failed", traceback_hash="two")
    reset()
    written = lines()
    assert Counter(line.get("traceback_hash") for line in written) == {"one": MOST_A_SECOND, "two": 1, None: 1}
    assert written[-1]["of_hash"] == "one"


def test_kinds_that_never_end_are_counted_as_one(lines: Lines) -> None:
    """A library that puts values into its words itself: neither the log nor the memory grows without a bound."""
    configure("debug", "json")
    library = logging.getLogger("careless")
    for number in range(20_000):
        library.error(f"failed at {number}")
    reset()
    written = lines()
    assert len(written) < 5_000
    said = sum(line.get("count", 0) for line in written)
    assert said + sum("count" not in line for line in written) == 20_000


def test_each_second_is_counted_for_itself() -> None:
    """So that what goes on is seen to go on."""
    now = 0.0
    repeats = Repeats(2, clock=lambda: now)
    record = logging.LogRecord("a", logging.ERROR, "", 0, "it failed", (), None)
    for second in range(3):
        now = float(second)
        assert [repeats.filter(record) for _ in range(4)] == [True, True, False, False]
    repeats.flush()


def test_lines_of_many_threads_are_all_written_or_counted(lines: Lines) -> None:
    """The journal's thread logs, and so does the identity provider's."""
    configure("debug", "json")
    log = structlog.get_logger("postroom.a")

    def flood() -> None:
        for _ in range(2_000):
            log.error("it_failed")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reset()
    written = lines()
    assert sum(line.get("count", 1) for line in written) == 8_000
