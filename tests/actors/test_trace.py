"""Trace context: what is one, what is made of one that is not, and which messages carry it."""

from __future__ import annotations

import msgspec
import pytest

from actors import commands
from actors.batch import Batch
from actors.errors import ErrorCode, Refusal
from actors.events import Draft, Event
from actors.messages import (
    Append,
    AppendFailed,
    Attached,
    Committed,
    Frame,
    Publish,
    Published,
    Receipt,
    Refused,
    Sweep,
)
from actors.trace import trace_of, valid_traceparent

from .house import Ear

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_version_00_is_taken_as_it_stands(flags: str) -> None:
    """Flags that are not known yet are passed on."""
    assert valid_traceparent(f"00-{TRACE}-{PARENT}-{flags}") == f"00-{TRACE}-{PARENT}-{flags}"


@pytest.mark.parametrize("more", ["", "-", "-what-comes-later"])
@pytest.mark.parametrize(("flags", "known"), [("00", "00"), ("01", "01"), ("02", "00"), ("fd", "01")])
def test_of_a_later_version_it_is_what_is_known(more: str, flags: str, known: str) -> None:
    """Ids and the sampled flag, as version 00."""
    assert valid_traceparent(f"cc-{TRACE}-{PARENT}-{flags}{more}") == f"00-{TRACE}-{PARENT}-{known}"


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "nonsense",
        GOOD[:-1],
        GOOD[:-3],
        f"{GOOD}-",
        f"{GOOD}-01",
        f"{GOOD}0",
        f"{GOOD}\n",
        f" {GOOD}",
        f"ff-{TRACE}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01.",
        GOOD.upper(),
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-0g",
        f"00_{TRACE}_{PARENT}_01",
        f"0\u0660-{TRACE}-{PARENT}-01",
    ],
)
def test_what_is_none_is_ignored(value: object) -> None:
    """As if it were not there."""
    assert valid_traceparent(value) is None


def draft(traceparent: str | None = GOOD) -> Draft:
    return Draft("a", "app.step", 0, msgspec.Raw(b"{}"), traceparent=traceparent)


def append(traceparent: str | None = GOOD) -> Append:
    return Append(draft(traceparent), True, Ear(), None)


def batch(*traceparents: str | None) -> Batch:
    return Batch("team:1", [Event(place + 1, place, draft(each)) for place, each in enumerate(traceparents)])


COMMAND = commands.Publish(room="team:1", kind="app.step", data={}, traceparent=GOOD)
REFUSAL = Refusal(ErrorCode.BUSY, "later")


@pytest.mark.parametrize(
    "message",
    [
        draft(),
        Event(1, 0, draft()),
        Publish(rooms=("team:1",), kind="app.step", data={}, traceparent=GOOD),
        COMMAND,
        append(),
        Committed(Event(1, 0, draft()), append()),
        AppendFailed(append(), REFUSAL),
        Published(COMMAND, Receipt("team:1", "e", 1, "a", False)),
        Refused(COMMAND, REFUSAL),
        batch(None, GOOD, f"00-{TRACE}-{TRACE[:16]}-00"),
        Attached("team:1", batch(GOOD), False, 1),
        Frame(msgspec.json.encode(COMMAND).decode()),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_message_with_an_event_says_its_trace(message: object) -> None:
    """A log line about the message can name it."""
    assert trace_of(message) == GOOD


@pytest.mark.parametrize(
    "message",
    [
        None,
        Sweep(),
        append(None),
        Publish(rooms=("team:1",), kind="app.step", data={}, traceparent="nonsense"),
        batch(None, None),
        Attached("team:1", None, False, 1),
        Refused(None, REFUSAL),
        Frame("{"),
        Frame("[]"),
        Frame('{"traceparent": 7}'),
        Frame("[" * 100_000),
    ],
    ids=lambda message: type(message).__name__,
)
def test_others_say_none(message: object) -> None:
    """There is nothing to name."""
    assert trace_of(message) is None
