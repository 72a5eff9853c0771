"""Pace: how much of one client's stream may be under way, told by when its library answers pings put behind it.

Counts of bytes and times in, a limit out. A value that has left for the client cannot give way to a newer one any more,
and what the kernel and the client's library hold is invisible to everyone but a ping: in megabytes, for a client that
reads 2.5 KB/s, a quarter of an hour. No I/O here; `Wire` does it.
"""

from __future__ import annotations

import math

__all__ = ["FIRST_PING", "UNLIMITED", "Pace"]

UNLIMITED = 1 << 62
FIRST_PING = 2 * 1024
"""Bytes that a client was written before it is pinged for this, and costs memory."""

_FIRST_WINDOW = 1024
_READ_AHEAD = 8 * 1024
"""What a client's library may read at once whatever its program does: until then no answer says that it is quick."""
_PROVEN_WINDOW = 4 * 1024
_WORKED_OFF = 2 * 1024
"""About what a program has taken when its library, which had read ahead, reads again: a dozen messages."""
_SMALL_WINDOW = 16 * 1024
"""Below this a window that is not needed does not shrink."""
_UNMEASURED_WINDOW = 128 * 1024
_YOUNG_PINGS = 4
"""Pings that everyone gets: a slow client shows itself in the first 16 messages, which its library reads ahead."""
_MOST_PINGS = 16

_LATE_S = 0.25
"""By how much a pong may take longer than the connection's shortest before its client counts as slow."""
_LOOK_TWICE_S = 0.05
"""After this a pong that seemed late is looked for again: what came in while we did not run has been read by then."""
_SHORTEST_OF_S = 30.0

_TURN_S = 0.1
"""A slow client is written so much at a time as it takes in this time."""
_LEAST_RATE = 64.0
_FAST_RATE = 1024.0 * 1024.0
"""Bytes/s from which on a client is slow no more."""
_CAUTION = 0.85
_FIRST_DOUBLING_S = 1.0
_DOUBLING_S = (8.0, 60.0)
_FASTEST_DOUBLING_S = 0.25
_SHORTER = 0.8
"""What each doubling's time is of the one before: faster, and a slow client is far past its rate when that shows."""

_MOST_PATIENCE_S = 30.0


class Pace:
    """What is known of how fast one client reads.

    A pong in time lets more be under way, in doubling steps, as far as that is needed: a *window* of bytes. A late one
    makes the client *slow*: from then on it is written a little at a time, at the *rate* at which it was seen to read,
    not up to what it can buffer: the library reads 16 messages ahead and then nothing until 4 are left, so who fills
    that up is always 16 messages late. The rate grows until a pong is late again, slowly at first, then faster and
    faster, so that a client which was slow for once is soon let go.

    Before the first answer nobody is held, as nobody knows whether there will be one: not all clients give any. A burst
    that comes before it is in the library of a slow client as a whole.
    """

    __slots__ = (
        "_asked",
        "_counted",
        "_deaf",
        "_doubling_s",
        "_excused",
        "_free_at",
        "_grown",
        "_known",
        "_late_up_to",
        "_longest_s",
        "_marks",
        "_number",
        "_rate",
        "_rate_at",
        "_read",
        "_shortest_s",
        "_shortest_since",
        "_shortest_soon_s",
        "_suspect",
        "_suspect_at",
        "_turn_at",
        "_window",
        "ask_at",
        "late",
        "limit",
    )

    def __init__(self) -> None:
        self.limit = UNLIMITED
        """Bytes in all up to which may be written now."""
        self.ask_at = 0
        """Bytes in all from which on a ping is due behind them."""
        self.late = False
        """Whether an answer is overdue."""
        self._known = False
        self._window = _FIRST_WINDOW
        self._rate = 0.0
        """Bytes/s of a slow client; 0: it is not."""
        self._read = 0
        """Bytes in all that the client's library has read for certain."""
        self._asked: list[tuple[int, int, float]] = []
        """Of each ping that is not answered: its number, the bytes before it, and when it was sent."""
        self._number = 0
        self._deaf = False
        """Whether the client is not read, so that no answer can come."""
        self._excused = 0
        """The last ping whose answer does not tell how fast the client reads."""
        self._grown = 0
        """The last ping before the window grew: pongs up to this one tell nothing of the new window."""
        self._late_up_to = 0
        self._suspect = 0
        self._suspect_at = 0.0
        self._shortest_s = self._shortest_soon_s = math.inf
        self._shortest_since = 0.0
        self._doubling_s = 0.0
        self._rate_at = 0.0
        self._free_at = 0.0
        """When a slow client has had time for what it was written."""
        self._turn_at = math.inf
        """When the next turn of a slow client that waits for that is."""
        self._counted = 0
        """Bytes in all that are counted in `_free_at`."""
        self._marks: list[tuple[int, float]] = []
        """Bytes read, and when, as the last late pong came and each time that the rate has grown since."""
        self._longest_s = 0.0

    @property
    def slow(self) -> bool:
        """Whether it is written a little at a time."""
        return self._rate > 0.0

    @property
    def lags(self) -> bool:
        """Whether who is held is so because of how it reads, not of how far away it is."""
        return self.slow or self.late

    @property
    def may_vouch(self) -> bool:
        """Whether nothing speaks against this client, so that it need not be pinged again now."""
        return self._rate == 0.0 and not self._asked and self._number >= _YOUNG_PINGS

    def under_way(self, written: int) -> int:
        """Return how many of the bytes written may not have been read; 0 for a client that answers no pings."""
        return written - self._read if self._known else 0

    @property
    def patience_s(self) -> float:
        """Seconds for which this client may be read as not reading, though it does; 0: it was always quick.

        A library that has read ahead reads nothing while its program works that off: one that was silent for long will
        be again.
        """
        return min(3 * self._longest_s, _MOST_PATIENCE_S)

    @property
    def due(self) -> float:
        """When to `look`; infinite: not before something else happens."""
        if not self._known or self.late or self._deaf:
            return math.inf
        asked = self._judged_by
        if asked is None:
            return self._turn_at
        number, _, at = asked
        late_at = self._suspect_at + _LOOK_TWICE_S if number == self._suspect else at + self._shortest_s + _LATE_S
        return min(late_at, self._turn_at)

    def must_ask(self, written: int) -> bool:
        """Whether a ping is due behind these bytes."""
        if self._rate:
            return not self._asked and self._read < written >= self.limit and self._turn_at == math.inf
        return written >= self.ask_at

    def vouch(self, written: int) -> None:
        """Take everything as read, without a ping."""
        self._window = max(self._window, _UNMEASURED_WINDOW)
        self._read = written
        self.limit = written + self._window
        self.ask_at = written + self._window // 2

    def ask(self, written: int, now: float) -> bytes:
        """Return what the ping behind these bytes carries."""
        self._number += 1
        self._asked.append((self._number, written, now))
        self._plan(written, now)
        return self._number.to_bytes(4, "big")

    def wrote(self, written: int, now: float) -> None:
        """Take note that as much was written as might be, or as is due for a ping."""
        if self._rate:
            self._free_at = max(now, self._free_at) + (written - self._counted) / self._rate
            self._counted = written
        self._plan(written, now)

    def answered(self, payload: bytes, written: int, now: float) -> bool:
        """Take a pong; return whether it answers a ping of these. An older ping is answered with a newer one."""
        number = int.from_bytes(payload, "big") if len(payload) == 4 else 0
        place = next((place for place, ping in enumerate(self._asked) if ping[0] == number), None)
        if place is None:
            return False
        _, before, at = self._asked[place]
        del self._asked[: place + 1]
        read, self._read = self._read, max(self._read, before)
        self._known = True
        if number <= self._excused:
            self._plan(written, now)
            return True
        self._note(now - at, now)
        if self.late:
            self.late = False
            self._slow_down(read, now - at, written, now)
        elif not self._rate and number > max(self._grown, self._late_up_to):
            self._resize(written >= self.limit, written - before)
        self._plan(written, now)
        return True

    def excuse(self, written: int, now: float) -> None:
        """Ask nothing and hold nobody: the client is not read, and its answers wait among what is not.

        Answers to what was asked before judge nobody either, when they come.
        """
        self._deaf = True
        self.late = False
        self._plan(written, now)

    def hear(self, written: int, now: float) -> None:
        """Go on when the client is read again: who is not slow is taken to have read everything, who is slow has its
        time from now on."""
        self._deaf = False
        if self._rate:
            self._asked = [(number, before, now) for number, before, _ in self._asked]
        else:
            self._excused = self._number
            self._read = written
        self._plan(written, now)

    def look(self, written: int, now: float) -> None:
        """See what time has brought: an answer that is late, or the next turn of a slow client."""
        asked = self._judged_by
        if self._known and not self.late and asked is not None:
            number, _, at = asked
            if number == self._suspect:
                self.late = now >= self._suspect_at + _LOOK_TWICE_S
                self._late_up_to = self._number if self.late else self._late_up_to
            elif now >= at + self._shortest_s + _LATE_S:
                self._suspect, self._suspect_at = number, now
        self._plan(written, now)

    @property
    def _judged_by(self) -> tuple[int, int, float] | None:
        """The first ping that is to be answered in time."""
        return next((ping for ping in self._asked if ping[0] > self._excused), None)

    def _note(self, delay_s: float, now: float) -> None:
        """Keep the shortest delay of the last half minute or so: a way that has become longer is not a slow reader."""
        self._shortest_soon_s = min(self._shortest_soon_s, delay_s)
        self._shortest_s = min(self._shortest_s, delay_s)
        if now > self._shortest_since + _SHORTEST_OF_S:
            self._shortest_s, self._shortest_soon_s, self._shortest_since = self._shortest_soon_s, math.inf, now

    def _resize(self, held: bool, since: int) -> None:
        """Fit the window to what is written in the time of one answer, `since` bytes, four times over."""
        if self._read < _READ_AHEAD:
            return
        if held or since * 4 > self._window:
            self._window = min(max(2 * self._window, _PROVEN_WINDOW), UNLIMITED)
            self._grown = self._number
        elif since * 16 < self._window and self._window > _SMALL_WINDOW:
            self._window //= 2

    def _slow_down(self, read: int, delay_s: float, written: int, now: float) -> None:
        """Go on at the rate at which it was seen to read, a little less.

        When a late pong comes, the library has just begun to read again and has as much left as at the last one, and
        what was read before that is `read`: so between two of them the rate is exact.
        """
        if self._rate:
            # It may have had nothing to read at times since any of the marks: the highest is nearest to what it can.
            seen = max((read - read_then) / (now - then) for read_then, then in self._marks)
            self._rate = max(_CAUTION * seen, self._rate / 8)
            self._doubling_s = min(max(10 * delay_s, _DOUBLING_S[0]), _DOUBLING_S[1])
        else:
            # Of what was read last much may be in the library by now, not in the program.
            self._rate = max((self._read - read) / 4, _WORKED_OFF) / delay_s
            self._doubling_s = _FIRST_DOUBLING_S
            self._free_at, self._counted, self.limit = now, written, written
        self._rate = max(self._rate, _LEAST_RATE)
        self._rate_at = now
        self._marks = [(read, now)]
        self._longest_s = max(self._longest_s, delay_s)

    def _grow(self, now: float) -> None:
        """Double the rate when it has been kept for its time; past all that is slow, let the client go."""
        while self._rate and now >= self._rate_at + self._doubling_s:
            self._rate *= 2
            self._rate_at += self._doubling_s
            self._marks.append((self._read, now))
            shorter = self._doubling_s * _SHORTER, max(self._doubling_s / 2, _FIRST_DOUBLING_S)
            self._doubling_s = max(min(shorter), _FASTEST_DOUBLING_S)
            if self._rate >= _FAST_RATE:
                self._rate = self._longest_s = 0.0
                self._window = _SMALL_WINDOW

    def _plan(self, written: int, now: float) -> None:
        """Set what may be written, and when to ask again."""
        self._turn_at = math.inf
        if self._rate and not self.late:
            self._grow(now)
        if self._deaf:
            self.limit = self.ask_at = UNLIMITED
        elif not self._known:
            self.ask_at = UNLIMITED if self._asked else 0  # the first answer decides whether there is a second ping
            self.limit = UNLIMITED
        elif self._rate:
            self._plan_turn(written, now)
        else:
            self.limit = self._read + self._window
            asked = self._asked[-1][1] if self._asked else self._read
            self.ask_at = UNLIMITED if len(self._asked) >= _MOST_PINGS else asked + self._window // 2

    def _plan_turn(self, written: int, now: float) -> None:
        """Let a slow client be written something when it has had time for the last, and has read that."""
        ask_at = self._free_at - self._shortest_s
        if self._asked or self.late:
            self.limit = written
        elif written < self.limit:
            pass  # its turn is not over
        elif self._read >= written:
            self.limit = written + max(1, int(self._rate * max(_TURN_S, self._shortest_s)))
        else:
            self.limit = written
            self._turn_at = ask_at if now < ask_at else math.inf
