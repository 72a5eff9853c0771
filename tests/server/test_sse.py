"""Server-Sent Events without a socket: replies and events in, blocks of text out."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import replies
from actors.codec import BadMessage
from actors.commands import Position
from actors.errors import ErrorCode, Refusal
from actors.replies import Missing
from server.protocols.sse import PING, Opening, SseCodec, SseCodecs, parting, position
from tests.actors.making import an_event
from tests.event_source import Block, parse

ROOM = "session:1"
CODEC = SseCodec("e")


def block(written: bytes, last_event_id: str = "") -> Block:
    assert written.endswith(b"\n\n")
    assert b"\n\n" not in written[:-2], "more than one block"
    read = parse(written[:-2].decode(), last_event_id)
    assert read is not None
    return read


def subscribed(**fields: Any) -> replies.Subscribed:
    return replies.Subscribed(**{"room": ROOM, "epoch": "e", "offset": 5, "recovery": "fresh", "replay": 0, **fields})


def test_an_event_is_a_block_under_its_kind_with_the_position_after_it() -> None:
    read = block(CODEC.encode_event(ROOM, an_event(2, "app.step", {"n": 1})))
    assert (read.event, read.id, read.retry) == ("app.step", "e:2", None)
    assert read.data["type"] == "event"
    assert (read.data["room"], read.data["offset"], read.data["prev"]) == (ROOM, 2, 1)
    assert read.data["data"] == {"n": 1}


_TEXTS = st.text() | st.sampled_from(["\n\nevent: x\n\n", "\r", "\u2028", "\u0085", "data: x", "\0"])
_JSON = st.dictionaries(_TEXTS, _TEXTS | st.integers(-(2**53), 2**53) | st.none(), max_size=4)


@given(data=_JSON, key=st.none() | st.text(min_size=1, max_size=9).filter(str.isprintable))
def test_whatever_is_in_an_event_it_is_one_block(data: dict[str, Any], key: str | None) -> None:
    """No text in it can end the block or begin a line of its own."""
    read = block(CODEC.encode_event(ROOM, an_event(1, "app.thing", data, key=key)))
    assert (read.event, read.id, read.data["data"]) == ("app.thing", "e:1", data)


def test_line_ends_between_values_do_not_end_a_block() -> None:
    """Data comes as the log gives it back, and JSON may have them there."""
    event = an_event(1, "app.thing", {})
    draft = msgspec.structs.replace(event.draft, data=msgspec.Raw(b'{"a":\n\r\n 1\r}'))
    assert block(CODEC.encode_event(ROOM, msgspec.structs.replace(event, draft=draft))).data["data"] == {"a": 1}


def test_subscribed_is_the_position_where_nothing_follows_from_before_it() -> None:
    """With old events to come the client stays where it is: it would lose them if it were cut before they are there."""
    read = block(CODEC.encode(subscribed(id=1, state={"status": None})), "old:1")
    assert (read.event, read.id) == ("subscribed", "e:5")
    assert read.retry is not None
    assert "id" not in read.data
    assert read.data["state"] == {"status": None}
    read = block(CODEC.encode(subscribed(recovery="partial", replay=2, missing=Missing(2, 3))), "e:1")
    assert read.id == "e:1"
    assert read.data["missing"] == {"from": 2, "to": 3}


def test_skipped_moves_the_position() -> None:
    read = block(CODEC.encode(replies.Skipped(room=ROOM, from_=3, to=7, reason="conflated")), "e:2")
    assert (read.event, read.id) == ("skipped", "e:7")
    assert (read.data["from"], read.data["to"], read.data["reason"]) == (3, 7, "conflated")


def test_what_concerns_no_position_leaves_it() -> None:
    for reply, name in (
        (replies.Revoked(room=ROOM, reason="r"), "revoked"),
        (replies.Notice(code="token_expiring", expires_at="t"), "notice"),
        (replies.Error(code=ErrorCode.INTERNAL, message="m", temporary=True), "failed"),
    ):
        read = block(CODEC.encode(reply), "e:2")
        assert (read.event, read.id, read.retry) == (name, "e:2", None)
    read = block(parting(1001, "it\nstops"), "e:2")
    assert (read.event, read.id, read.data) == ("closed", "e:2", {"code": 1001, "reason": "it\nstops"})


@pytest.mark.parametrize(("slot_ms", "retry_ms"), [(0, 2000), (7500, 7500)])
def test_a_drain_says_when_to_come_back(slot_ms: int, retry_ms: int) -> None:
    """Not at once: the router that one would come back to is still the one that stops."""
    read = block(CODEC.encode(replies.Notice(code="draining", reconnect_in_ms=slot_ms)))
    assert read.retry == retry_ms
    assert read.data["code"] == "draining"


def test_a_ping_is_no_event() -> None:
    assert parse(PING.decode()) is None


def test_all_in_an_epoch_share_a_codec_and_so_the_frames() -> None:
    codecs = SseCodecs()
    first = codecs.of("e")
    assert codecs.of("e") is first
    assert codecs.of("f") is not first


def test_before_the_rooms_answer_a_refusal_is_the_answer_and_advice_waits() -> None:
    refused: list[Refusal] = []
    codecs = SseCodecs()
    opening = Opening(codecs, refused.append)
    assert opening.encode(replies.Notice(code="draining", reconnect_in_ms=1)) == b""
    assert opening.encode_event(ROOM, an_event(1)) == b""
    assert opening.codec is None
    error = replies.Error(code=ErrorCode.BUSY, message="m", temporary=True, retry_after_ms=70)
    assert opening.encode(error) == b""
    assert [(each.code, each.message, each.retry_after_ms) for each in refused] == [("busy", "m", 70)]
    first, notice, rest = opening.encode(subscribed()).partition(b"retry: 2000\nevent: notice")
    assert block(first).id == "e:5"
    assert block(notice + rest, "e:5").id == "e:5"
    assert opening.codec is codecs.of("e")
    assert opening.encode_event(ROOM, an_event(6)) == CODEC.encode_event(ROOM, an_event(6))


def test_nothing_is_read_from_a_streams_client() -> None:
    for codec in (CODEC, Opening(SseCodecs(), print)):
        with pytest.raises(BadMessage):
            codec.decode(json.dumps({"type": "ping"}))


@pytest.mark.parametrize("text", [None, ""])
def test_without_a_last_event_id_a_client_begins_now(text: str | None) -> None:
    assert position(text) is None


@given(epoch=st.text(min_size=1, max_size=20), offset=st.integers(0, 2**63))
def test_a_last_event_id_is_read_as_it_was_written(epoch: str, offset: int) -> None:
    assert position(f"{epoch}:{offset}") == Position(epoch, offset)


@pytest.mark.parametrize(
    "text", ["x", ":1", "e:", "e:-1", "e:1.5", "e:\N{ARABIC-INDIC DIGIT ONE}", "e: 1", "e" * 300 + ":1"]
)
def test_a_last_event_id_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="EPOCH:OFFSET"):
        position(text)


@given(text=st.text(max_size=300))
def test_any_last_event_id_is_read_or_refused(text: str) -> None:
    with suppress(Refusal):
        position(text)
