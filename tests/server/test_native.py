"""The native protocol without a socket: text in, commands out, or an error that says what is wrong."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors import commands, replies
from actors.codec import BadMessage
from actors.commands import Position
from actors.errors import ErrorCode
from server.protocols.native import SUBPROTOCOL, NativeCodec
from tests.actors.making import an_event

CODEC = NativeCodec()
ROOM = "session:1"


def decoded(**message: Any) -> commands.Command:
    (command,) = CODEC.decode(json.dumps(message))
    return command


def bad(text: str) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        CODEC.decode(text)
    return caught.value


def test_the_subprotocol_is_versioned() -> None:
    assert SUBPROTOCOL == "postroom.v1"


COMMANDS: list[tuple[dict[str, Any], commands.Command]] = [
    ({"type": "hello"}, commands.Hello()),
    (
        {
            "type": "hello",
            "token": "t",
            "client": {"name": "n", "version": "1"},
            "resume": {ROOM: {"epoch": "e", "offset": 3}},
        },
        commands.Hello(token="t", client=commands.Client("n", "1"), resume={ROOM: Position("e", 3)}),
    ),
    ({"type": "subscribe", "room": ROOM}, commands.Subscribe(room=ROOM)),
    (
        {
            "type": "subscribe",
            "room": ROOM,
            "after": {"epoch": "e", "offset": 0},
            "history": 5,
            "kinds": ["alert"],
            "state": False,
        },
        commands.Subscribe(room=ROOM, after=Position("e", 0), history=5, kinds=["alert"], state=False),
    ),
    ({"type": "unsubscribe", "room": ROOM}, commands.Unsubscribe(room=ROOM)),
    (
        {"type": "publish", "room": ROOM, "kind": "a.b", "data": {"x": [1]}},
        commands.Publish(room=ROOM, kind="a.b", data={"x": [1]}),
    ),
    (
        {
            "type": "publish",
            "room": ROOM,
            "kind": "alert",
            "data": {},
            "event_id": "e",
            "delivery": "keep",
            "key": "k",
            "ack": "required",
        },
        commands.Publish(room=ROOM, kind="alert", data={}, event_id="e", delivery="keep", key="k", ack="required"),
    ),
    ({"type": "state", "room": ROOM}, commands.State(room=ROOM)),
    ({"type": "history", "room": ROOM}, commands.History(room=ROOM, limit=100)),
    ({"type": "history", "room": ROOM, "after": 3, "limit": 300}, commands.History(room=ROOM, after=3, limit=300)),
    ({"type": "history", "room": ROOM, "before": 3, "limit": 1}, commands.History(room=ROOM, before=3, limit=1)),
    ({"type": "presence", "room": ROOM}, commands.Presence(room=ROOM)),
    ({"type": "ack", "room": ROOM, "event_id": "e"}, commands.Ack(room=ROOM, event_id="e")),
    ({"type": "refresh", "token": "t"}, commands.Refresh(token="t")),
    ({"type": "ping"}, commands.Ping()),
]


@pytest.mark.parametrize(("message", "command"), COMMANDS)
def test_every_command_is_read(message: dict[str, Any], command: commands.Command) -> None:
    assert decoded(**message) == command


@pytest.mark.parametrize("id", [0, 7, -1, 2**63, 10**30, "a", "", "ä"])
@pytest.mark.parametrize("message", [message for message, _ in COMMANDS[:3]])
def test_every_command_may_carry_an_id(message: dict[str, Any], id: int | str) -> None:
    assert decoded(**message, id=id).id == id


@pytest.mark.parametrize("message", [message for message, _ in COMMANDS])
def test_unknown_fields_and_null_for_optional_ones_are_fine(message: dict[str, Any]) -> None:
    assert decoded(**message, new_in_version_2={"a": [1]}, id=None).id is None


@pytest.mark.parametrize("text", ["", " ", "nonsense", "{", '{"type": "ping"', '{"type": "ping"}}', "{'type': 'ping'}"])
def test_what_is_not_json_is_a_bad_message(text: str) -> None:
    error = bad(text)
    assert (error.code, error.id) == (ErrorCode.BAD_MESSAGE, None)
    assert "not JSON" in error.message


@pytest.mark.parametrize("text", ["[]", "5", "null", '"ping"', "true", '[{"type": "ping"}]'])
def test_json_that_is_no_object_is_a_bad_message(text: str) -> None:
    error = bad(text)
    assert error.code is ErrorCode.BAD_MESSAGE
    assert "JSON object" in error.message


def test_a_message_without_a_type_is_a_bad_message() -> None:
    error = bad('{"id": 3}')
    assert (error.code, error.id) == (ErrorCode.BAD_MESSAGE, 3)
    assert "no `type`" in error.message


@pytest.mark.parametrize("kind", ["nope", "", "Ping", "welcome", 5, True, [], {}, ["ping"], {"ping": 1}, 1.5])
def test_an_unknown_type_is_named_and_the_known_ones_are_listed(kind: object) -> None:
    error = bad(json.dumps({"type": kind, "id": 3}))
    assert (error.code, error.id) == (ErrorCode.UNKNOWN_TYPE, 3)
    assert str(kind) in error.message
    assert "subscribe" in error.message


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "subscribe"}, "`room`"),
    ({"type": "subscribe", "room": 5}, "$.room"),
    ({"type": "subscribe", "room": "no room"}, "'no room'"),
    ({"type": "subscribe", "room": "team:*"}, "'team:*'"),
    ({"type": "subscribe", "room": ROOM, "after": 5}, "$.after"),
    ({"type": "subscribe", "room": ROOM, "after": {"epoch": "e"}}, "`offset`"),
    ({"type": "subscribe", "room": ROOM, "after": {"epoch": "e", "offset": -1}}, "-1"),
    ({"type": "subscribe", "room": ROOM, "after": {"epoch": "e", "offset": 1.5}}, "offset"),
    ({"type": "subscribe", "room": ROOM, "history": -1}, "-1"),
    ({"type": "subscribe", "room": ROOM, "kinds": []}, "kinds"),
    ({"type": "subscribe", "room": ROOM, "kinds": "alert"}, "$.kinds"),
    ({"type": "subscribe", "room": ROOM, "state": "yes"}, "$.state"),
    ({"type": "publish", "room": ROOM, "kind": "a.b"}, "`data`"),
    ({"type": "publish", "room": ROOM, "kind": "a.b", "data": []}, "$.data"),
    ({"type": "publish", "room": ROOM, "kind": 5, "data": {}}, "$.kind"),
    ({"type": "publish", "room": ROOM, "kind": "a.b", "data": {}, "event_id": 5}, "$.event_id"),
    ({"type": "history", "room": ROOM, "limit": 0}, "limit 0"),
    ({"type": "history", "room": ROOM, "limit": 301}, "limit 301"),
    ({"type": "history", "room": ROOM, "after": 1, "before": 2}, "exclude"),
    ({"type": "ack", "room": ROOM}, "`event_id`"),
    ({"type": "refresh"}, "`token`"),
    ({"type": "hello", "token": 5}, "$.token"),
    ({"type": "hello", "client": "me"}, "$.client"),
    ({"type": "hello", "resume": {ROOM: 5}}, "$.resume"),
    ({"type": "hello", "resume": {ROOM: {"epoch": "e", "offset": -1}}}, "-1"),
    ({"type": "hello", "resume": {"no room": {"epoch": "e", "offset": 1}}}, "'no room'"),
]


@pytest.mark.parametrize(("message", "what"), WRONG)
def test_a_wrong_field_is_named_and_the_answer_finds_its_command(message: dict[str, Any], what: str) -> None:
    error = bad(json.dumps({**message, "id": "mine"}))
    assert (error.code, error.id) == (ErrorCode.BAD_MESSAGE, "mine")
    assert what in error.message
    assert error.message.startswith(f"{message['type']}: ")


@pytest.mark.parametrize("id", [True, 1.5, [], {}, [1]])
def test_an_id_that_is_none_is_a_bad_message_without_one(id: object) -> None:
    error = bad(json.dumps({"type": "ping", "id": id}))
    assert (error.code, error.id) == (ErrorCode.BAD_MESSAGE, None)


def test_an_error_does_not_repeat_a_huge_name() -> None:
    assert len(bad(json.dumps({"type": "subscribe", "room": "x" * 60_000})).message) < 500
    assert len(bad(json.dumps({"type": "x" * 60_000})).message) < 500


DEEP = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEP,
        "[" * DEEP + "]" * DEEP,
        '{"type": "ping", "x": ' + "[" * DEEP + "]" * DEEP + "}",
        '{"type": "publish", "room": "system", "kind": "a.b", "data": ' + '{"x":' * DEEP + "1" + "}" * (DEEP + 1),
        '{"a":' * DEEP,
    ],
    ids=["open", "arrays", "unknown field", "data", "objects"],
)
def test_nesting_past_all_bounds_is_a_bad_message(text: str) -> None:
    assert bad(text).code is ErrorCode.BAD_MESSAGE


@pytest.mark.parametrize("number", ["1" * 5000, "1e400", "-1e999999", "1e", "0x10", "NaN", "Infinity"])
def test_numbers_that_nothing_can_hold_are_a_bad_message(number: str) -> None:
    assert bad(f'{{"type": "ping", "id": {number}}}').code is ErrorCode.BAD_MESSAGE
    assert bad(f'{{"type": "subscribe", "room": "system", "history": {number}}}').code is ErrorCode.BAD_MESSAGE


def test_half_of_a_surrogate_pair_is_answered_with_the_commands_id() -> None:
    """JavaScript sends it where a string was cut in the middle of an emoji; who waits for the answer gets one."""
    text = json.dumps({"type": "publish", "id": 7, "room": ROOM, "kind": "a.b", "data": {"x": "\U0001f600 \ud83d"}})
    error = bad(text)
    assert (error.code, error.id, error.fatal) == (ErrorCode.BAD_MESSAGE, 7, False)
    assert "publish: a string has half of a surrogate pair" in error.message


@given(st.text())
@example('{"type":[]}')
@example('{"type":"ping","id":"\\ud800"}')
def test_any_text_is_a_command_or_a_bad_message(text: str) -> None:
    try:
        (command,) = CODEC.decode(text)
    except BadMessage as error:
        assert error.message  # noqa: PT017  # both ways out are fine
    else:
        assert isinstance(command, commands.Command)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("type", "id", "room", "after", "before", "limit", "history", "kinds", "kind", "data", "resume", "client")
TYPES = [message["type"] for message, _ in COMMANDS]
FRAMES = st.dictionaries(st.sampled_from(FIELDS), VALUES | st.sampled_from([ROOM, "a.b"])).flatmap(
    lambda message: st.sampled_from(TYPES).map(lambda kind: {"type": kind, **message})
)


@given(FRAMES)
def test_any_object_is_a_command_or_a_bad_message_with_its_id(message: dict[str, Any]) -> None:
    try:
        (command,) = CODEC.decode(json.dumps(message))
    except BadMessage as error:
        assert error.id is None or error.id == message["id"]  # noqa: PT017  # both ways out are fine
    else:
        assert command.id == message.get("id")


def test_one_codec_serves_every_connection() -> None:
    """It keeps nothing between calls: what failed before changes nothing for the next one."""
    before = CODEC.encode_event(ROOM, an_event(2))
    bad("nonsense")
    with pytest.raises((TypeError, msgspec.ValidationError)):
        CODEC.encode(replies.State(room=ROOM, epoch="e", offset=0, state={"x": object()}))
    assert CODEC.encode_event(ROOM, an_event(2)) == before
    assert decoded(type="ping") == commands.Ping()
