"""Shared compression without a socket: events in; frames out that any inflater reads, each by itself."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from actors import commands, replies
from actors.batch import Batch
from server.protocols import deflate
from server.protocols.deflate import OFFER, DeflatingCodec, DeflatingCodecs
from server.protocols.native import NativeCodec
from tests.actors.making import an_event

ROOM = "session:1"
PLAIN = NativeCodec()
DATA = {"current": 3, "total": 10, "message": "Importing customers.csv", "unit": "records"}


def payload_of(frame: bytes) -> bytes:
    size, start = frame[1], 2
    if size == 126:
        size, start = int.from_bytes(frame[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(frame[2:10], "big"), 10
    assert len(frame) == start + size, "one whole frame"
    return frame[start:]


def inflated(frame: bytes, window_bits: int = 15) -> bytes:
    """Read a frame as a client does that keeps no window between messages (RFC 7692, 7.2.2)."""
    assert frame[0] == 0xC1, "final, RSV1, text"
    inflater = zlib.decompressobj(-window_bits)
    return inflater.decompress(payload_of(frame) + b"\x00\x00\xff\xff")


@pytest.mark.parametrize("window_bits", [9, 12, 15])
def test_each_message_can_be_read_by_itself(window_bits: int) -> None:
    """Whatever came before it: a client may join at any message."""
    codec = DeflatingCodec(PLAIN, window_bits)
    for offset in (1, 2, 3, 2):
        event = an_event(offset, "progress", DATA)
        frame = codec.encode_event(ROOM, event)
        assert inflated(frame, window_bits) == payload_of(PLAIN.encode_event(ROOM, event))
        assert len(frame) < len(PLAIN.encode_event(ROOM, event))


@given(st.text(max_size=2000), st.integers(min_value=0, max_value=70_000))
def test_what_is_inflated_is_what_the_inner_codec_said(text: str, more: int) -> None:
    """Of any size: all three forms of the frame's length come up."""
    event = an_event(1, data={"text": text, "more": "x" * more})
    frame = DEFLATING.encode_event(ROOM, event)
    plain = PLAIN.encode_event(ROOM, event)
    assert frame == plain or inflated(frame) == payload_of(plain)
    assert len(frame) <= len(plain)


DEFLATING = DeflatingCodec(PLAIN, 12)


def test_a_message_that_deflate_would_not_make_smaller_is_sent_as_it_is() -> None:
    """There are short ones like that, of other protocols."""

    class Short(NativeCodec):
        def encode_event(self, room: str, event: Any) -> bytes:
            return bytes(Frame(Opcode.TEXT, b"event").serialize(mask=False))

    assert DeflatingCodec(Short(), 12).encode_event(ROOM, an_event(1)) == b"\x81\x05event"


def test_replies_go_to_one_client_and_are_not_deflated() -> None:
    pong = replies.Pong(id=1, time="x" * 5000)
    assert DEFLATING.encode(pong) == PLAIN.encode(pong)


def test_commands_are_read_by_the_inner_codec() -> None:
    assert DEFLATING.decode('{"type": "ping", "id": 4}') == (commands.Ping(id=4),)


def test_an_event_is_deflated_once_however_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a batch for those who get everything, by itself for those who filter."""
    asked: list[int] = []

    class Counting(NativeCodec):
        def encode_event(self, room: str, event: Any) -> bytes:
            asked.append(event.offset)
            return super().encode_event(room, event)

    codec = DeflatingCodec(Counting(), 12)
    events = [an_event(offset, "progress", DATA) for offset in (1, 2, 3)]
    frames = Batch(ROOM, events).frames(codec)
    for _ in range(5):
        assert b"".join(codec.encode_event(ROOM, event) for event in events) == frames
    assert asked == [1, 2, 3]


def test_an_event_at_the_same_place_of_another_history_is_another_one() -> None:
    """A room that lost its journal begins anew, and counts from 1 again."""
    codec = DeflatingCodec(PLAIN, 12)
    for number in range(3):
        event = an_event(1, "progress", {**DATA, "current": number})
        assert inflated(codec.encode_event(ROOM, event)) == payload_of(PLAIN.encode_event(ROOM, event))


def test_few_frames_are_remembered() -> None:
    codec = DeflatingCodec(PLAIN, 12)
    for offset in range(1, 1000):
        codec.encode_event(ROOM, an_event(offset))
    assert len(codec._recent) == deflate._RECENT


def test_connections_with_the_same_parameters_share_a_codec() -> None:
    codecs = DeflatingCodecs(PLAIN)
    assert codecs.of([]) is PLAIN

    def negotiated(**params: str) -> Any:
        _, extension = OFFER.process_request_params(list(params.items()), [])
        assert isinstance(extension, PerMessageDeflate)
        return codecs.of([extension])

    full = negotiated()
    assert isinstance(full, DeflatingCodec)
    assert negotiated() is full
    assert negotiated(client_max_window_bits="10") is full, "how the client sends is another matter"
    assert negotiated(server_max_window_bits="13") is full, "smaller than 13 is allowed"
    small = negotiated(server_max_window_bits="9")
    assert small is not full
    assert negotiated(server_max_window_bits="9") is small
