"""Pace on a clock that the test moves: the window of who reads quickly, the turns of who does not."""

from __future__ import annotations

import itertools

import pytest

from server.pace import FIRST_PING, UNLIMITED, Pace

FRAME = 250
KIB = 1024


class Reader:
    """A client that reads so many frames a second, behind a library that reads ahead as `websockets` does.

    Args:
        per_s: Frames that its program takes a second; 0: none.
        distance_s: How long a frame and its answer are under way.
        answers: Whether it answers pings.
        frame: Bytes of a frame.
    """

    def __init__(self, per_s: float, *, distance_s: float = 0.001, answers: bool = True, frame: int = FRAME) -> None:
        self.pace = Pace()
        self.per_s = per_s
        self.distance_s = distance_s
        self.answers = answers
        self.frame = frame
        self.now = 1000.0
        self.written = 0
        self.pings = 0
        self.most_under_way = 0
        self.ages: list[float] = []
        """How old each frame was when the program took it."""
        self._way: list[tuple[float, float | bytes]] = []
        self._ahead: list[float] = []
        self._reading = True
        self._program_at = self.now
        self._pongs: list[bytes] = []

    @property
    def held(self) -> bool:
        return self.written >= self.pace.limit

    def run(self, seconds: float, *, offered: bool = True, step_s: float = 0.005) -> None:
        """Let time pass; `offered`: whether there is a new value all the while."""
        for _ in range(round(seconds / step_s)):
            self.now += step_s
            self._read()
            self._take_pongs()
            if self.now >= self.pace.due:
                self.pace.look(self.written, self.now)
                self._ask_where_due()
            if offered and not self.held:
                self.write(self.frame)

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which we do nothing; the timers fire before what came in is read."""
        self.now += seconds
        if self.now >= self.pace.due:
            self.pace.look(self.written, self.now)

    def write(self, size: int) -> None:
        self.written += size
        self._way.append((self.now, self.now))
        self.most_under_way = max(self.most_under_way, self.pace.under_way(self.written))
        if self.written >= max(FIRST_PING, min(self.pace.ask_at, self.pace.limit)):
            self.pace.wrote(self.written, self.now)
            self._ask_where_due()

    def _ask_where_due(self) -> None:
        if self.pace.must_ask(self.written):
            self._way.append((self.now, self.pace.ask(self.written, self.now)))
            self.pings += 1

    def _read(self) -> None:
        self._read_ahead()
        while self.per_s and self._program_at <= self.now:
            self._program_at += 1 / self.per_s
            if self._ahead:
                self.ages.append(self.now - self._ahead.pop(0))
            self._read_ahead()

    def _read_ahead(self) -> None:
        self._reading = len(self._ahead) <= (16 if self._reading else 4)
        while self._reading and self._way and self._way[0][0] + self.distance_s <= self.now:
            _, what = self._way.pop(0)
            if isinstance(what, float):
                self._ahead.append(what)
            elif self.answers:
                self._pongs.append(what)
            self._reading = len(self._ahead) <= 16

    def _take_pongs(self) -> None:
        while self._pongs:
            assert self.pace.answered(self._pongs.pop(0), self.written, self.now)
            self._ask_where_due()


def settled(per_s: float, *, distance_s: float = 0.001) -> Reader:
    reader = Reader(per_s, distance_s=distance_s)
    reader.run(30.0)
    reader.ages.clear()
    return reader


# --- who is new


def test_a_new_client_is_not_held_before_its_first_answer() -> None:
    """Nobody knows how it reads, or whether it answers at all."""
    reader = Reader(1000.0, distance_s=0.1)
    for _ in range(100):
        reader.write(FRAME)
    assert not reader.held
    assert reader.pings == 1


def test_a_new_client_is_not_pinged_with_its_first_small_answers() -> None:
    reader = Reader(1000.0)
    while reader.written + FRAME < FIRST_PING:
        reader.write(FRAME)
    assert reader.pings == 0


# --- who does not answer


def test_a_client_that_answers_nothing_is_not_held_and_asked_once() -> None:
    reader = Reader(10.0, answers=False)
    reader.run(0.2)
    assert not reader.held
    reader.run(60.0)
    assert (reader.pace.limit, reader.pings) == (UNLIMITED, 1)
    assert not reader.pace.lags
    assert reader.pace.under_way(reader.written) == 0
    assert reader.pace.patience_s == 0.0


def test_nobody_waits_for_an_answer_that_is_no_part_of_a_pace() -> None:
    reader = Reader(0.0, answers=False)
    reader.run(60.0)
    assert not reader.pace.late
    assert reader.pace.due > reader.now + 3600.0


# --- who reads quickly


def test_a_client_that_reads_quickly_gets_a_window_as_large_as_it_needs() -> None:
    reader = Reader(100_000.0, distance_s=0.1)
    for _ in range(400):
        for _ in range(50):
            if not reader.held:
                reader.write(FRAME)
        reader.run(0.005, offered=False)
    assert not reader.pace.lags
    assert not reader.held
    assert reader.most_under_way > 200 * KIB


def test_a_far_client_is_not_a_slow_one() -> None:
    reader = Reader(10_000.0, distance_s=0.6)
    reader.run(30.0)
    assert not reader.pace.lags


def test_a_client_that_is_held_for_a_moment_does_not_lag() -> None:
    """What waits for it may not give way to newer values only because the window is small at first."""
    reader = Reader(10_000.0, distance_s=0.1)
    for _ in range(100):
        reader.write(FRAME)
    reader.run(0.15, offered=False)
    reader.write(100 * KIB)
    assert reader.held
    assert not reader.pace.lags


def test_a_client_that_keeps_up_costs_no_ping_while_others_are_asked() -> None:
    reader = Reader(10_000.0)
    reader.run(10.0)
    pings = reader.pings
    assert reader.pace.may_vouch
    reader.pace.vouch(reader.written)
    reader.written += 60 * KIB
    assert not reader.pace.must_ask(reader.written)
    assert not reader.held
    assert reader.pings == pings


def test_while_an_answer_is_out_nobody_vouches() -> None:
    reader = Reader(10_000.0)
    reader.run(10.0)
    reader.pace.ask(reader.written, reader.now)
    assert not reader.pace.may_vouch


# --- who reads slowly


@pytest.mark.parametrize("per_s", [3.0, 10.0, 30.0, 100.0])
@pytest.mark.parametrize("distance_s", [0.001, 0.1])
def test_a_slow_client_sees_fresh_values_and_most_of_what_it_can_take(per_s: float, distance_s: float) -> None:
    reader = settled(per_s, distance_s=distance_s)
    reader.run(60.0)
    # Its library reads 17 ahead; what takes it less than a quarter of a second goes unnoticed for a while.
    assert max(reader.ages) < max(18 / per_s + distance_s + 0.1, 1.5)
    assert sorted(reader.ages)[len(reader.ages) // 2] < 10 / per_s + distance_s + 0.1
    assert len(reader.ages) > 0.6 * 60.0 * per_s


def test_a_slow_client_sees_fresh_values_within_seconds() -> None:
    """What was sent before it was known to be slow has been read by then, and little came on top of that."""
    for frame in (180, 250, 600):
        reader = Reader(10.0, frame=frame)
        reader.run(5.0)
        reader.ages.clear()
        reader.run(5.0)
        assert max(reader.ages) < 2.0


def test_who_is_slow_lags_whether_it_is_held_or_not() -> None:
    """Otherwise the oldest of a batch that comes at its turn would be written, not the newest."""
    reader = settled(10.0)
    assert reader.pace.slow
    assert reader.pace.lags
    assert reader.held
    while reader.held:
        reader.run(0.005, offered=False)
    assert reader.pace.slow


def test_a_slow_client_is_pinged_about_as_often_as_it_is_written_something() -> None:
    reader = settled(10.0)
    pings = reader.pings
    reader.run(30.0)
    assert reader.pings - pings < 1.2 * 10.0 * 30.0


def test_a_slow_client_to_which_nothing_is_written_is_not_pinged() -> None:
    reader = settled(10.0)
    reader.run(5.0, offered=False)
    pings = reader.pings
    reader.run(60.0, offered=False)
    assert reader.pings == pings


def test_a_client_that_becomes_quick_is_soon_let_go() -> None:
    reader = settled(10.0)
    reader.per_s = 100_000.0
    reader.run(40.0)
    assert not reader.pace.lags
    assert reader.pace.patience_s == 0.0


def test_a_quick_client_that_stood_still_for_once_is_let_go_within_seconds() -> None:
    reader = Reader(1000.0)
    reader.run(10.0)
    reader.per_s = 0.0
    reader.run(2.0)
    assert reader.pace.late
    reader.per_s = 1000.0
    reader.run(8.0)
    assert not reader.pace.lags


def test_how_long_a_client_may_seem_to_read_nothing_is_what_it_has_shown() -> None:
    young, slow, slower, quick = Reader(1.0), settled(5.0), settled(1.0), Reader(1000.0)
    young.run(1.0)
    quick.run(10.0)
    assert young.pace.patience_s == 0.0
    assert 3 * 12 / 5.0 <= slow.pace.patience_s < 30.0
    assert slower.pace.patience_s == 30.0
    assert quick.pace.patience_s == 0.0


# --- ourselves


def test_when_we_stood_still_nobody_is_slow() -> None:
    """Every answer is late at once, and all of them came in while we did not look."""
    reader = Reader(10_000.0, distance_s=0.02)
    reader.run(10.0)
    while not reader.pace._asked:
        reader.run(0.005)
    reader.stand_still(2.0)
    reader.run(0.005)
    reader.run(1.0)
    assert not reader.pace.lags
    assert not reader.pace.late


# --- what clients make up


def asked(count: int) -> tuple[Pace, list[bytes]]:
    pace = Pace()
    return pace, [pace.ask(number * KIB, float(number)) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    "payload", [b"", b"\0", b"\0\0\0\0", b"\0\0\0\4", b"\xff\xff\xff\xff", b"\0\0\0\0\1", b"x" * 125]
)
def test_a_pong_that_answers_no_ping_does_nothing(payload: bytes) -> None:
    pace, _ = asked(3)
    assert not pace.answered(payload, 4 * KIB, 4.0)
    assert pace.under_way(4 * KIB) == 0, "it is not even known to answer"


def test_a_pong_answers_the_pings_before_its_own_too() -> None:
    """A client may answer only the newest ping it has (RFC 6455, 5.5.3)."""
    pace, payloads = asked(3)
    assert pace.answered(payloads[1], 3 * KIB, 3.1)
    assert pace.under_way(3 * KIB) == KIB


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_pongs_out_of_order_or_repeated_are_harmless(order: tuple[int, ...]) -> None:
    pace, payloads = asked(3)
    read = 0
    for place in (*order, *order):
        pace.answered(payloads[place], 3 * KIB, 3.1)
        assert pace.under_way(3 * KIB) <= 3 * KIB - read, "what was read is read"
        read = 3 * KIB - pace.under_way(3 * KIB)
    assert pace.under_way(3 * KIB) == 0


def test_who_answers_before_it_is_asked_is_written_no_more_for_it() -> None:
    pace, payloads = asked(1)
    pace.answered(payloads[0], KIB, 1.1)
    limit = pace.limit
    for number in range(2, 100):
        assert not pace.answered(number.to_bytes(4, "big"), KIB, 1.2)
    assert pace.limit == limit


def test_a_client_that_stops_answering_is_pinged_a_bounded_number_of_times() -> None:
    reader = Reader(1000.0)
    reader.run(10.0)
    reader.answers = False
    pings = reader.pings
    for _ in range(1000):
        reader.write(10 * KIB)
    assert reader.pings - pings <= 16


def test_a_slow_client_that_was_not_read_has_its_time_from_when_it_is_read_again() -> None:
    """One that has gone meanwhile is found out: nothing else would look for it while its rooms are quiet."""
    pace, written = Pace(), FIRST_PING
    pace.wrote(written, 0.0)
    pace.answered(pace.ask(written, 0.0), written, 0.01)
    while not pace.slow:
        written += 4096
        payload = pace.ask(written, 1.0)
        pace.look(written, 1.3)
        pace.look(written, 1.4)
        pace.answered(payload, written, 3.0)
    pace.ask(written, 4.0)
    pace.excuse(written, 4.1)
    assert pace.limit == UNLIMITED
    pace.hear(written, 9.0)
    pace.look(written, 9.1)
    assert not pace.late
    pace.look(written, pace.due)
    pace.look(written, pace.due)
    assert pace.late
