"""Outbox: what waits for one client, in order and within a bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.outbox import Outbox
from server.protocols.native import NativeCodec

from .making import taken

CODEC = NativeCodec()


def test_a_new_outbox_is_empty() -> None:
    outbox = Outbox(10, CODEC)
    assert outbox.size == 0
    assert taken(outbox) == b""


def test_frames_come_out_in_the_order_they_went_in() -> None:
    outbox = Outbox(10, CODEC)
    for frame in (b"one", b"two", b"three"):
        outbox.push(frame)
    assert taken(outbox) == b"onetwothree"


def test_a_single_frame_is_handed_on_without_a_copy() -> None:
    frame = b"one frame for a thousand clients"
    outbox = Outbox(100, CODEC)
    outbox.push(frame)
    assert taken(outbox) is frame


def test_what_was_taken_is_gone() -> None:
    outbox = Outbox(10, CODEC)
    outbox.push(b"one")
    taken(outbox)
    assert (outbox.size, taken(outbox)) == (0, b"")


def test_clearing_drops_everything() -> None:
    outbox = Outbox(10, CODEC)
    outbox.push(b"one")
    outbox.clear()
    assert (outbox.size, taken(outbox)) == (0, b"")


def test_it_is_over_its_bound_only_past_it() -> None:
    outbox = Outbox(10, CODEC)
    outbox.push(b"x" * 10)
    assert not outbox.over(0)
    outbox.push(b"x")
    assert outbox.over(0)


def test_bytes_in_the_sockets_buffer_count_against_the_bound() -> None:
    outbox = Outbox(10, CODEC)
    outbox.push(b"x" * 6)
    assert not outbox.over(4)
    assert outbox.over(5)


@given(st.lists(st.binary(min_size=1, max_size=20) | st.none()))
def test_its_size_is_that_of_what_waits(steps: list[bytes | None]) -> None:
    """A frame is pushed, or (None) everything is taken: nothing is lost and nothing comes twice."""
    outbox, pushed, got = Outbox(10, CODEC), b"", b""
    for frame in steps:
        if frame is None:
            got += taken(outbox)
        else:
            outbox.push(frame)
            pushed += frame
        assert outbox.size == len(pushed) - len(got)
    assert got + taken(outbox) == pushed
