"""Socket.IO without a socket: packets in, commands out; replies and events in, packets out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import commands, replies
from actors.codec import BadMessage
from actors.commands import Position
from actors.errors import CloseCode, ErrorCode
from actors.replies import RoomJoined
from postroom_client._closing import FINAL_CLOSE_CODES
from server.protocols.socketio import SocketioDoor
from server.protocols.socketio_codec import NamespaceCodec
from tests.actors.making import an_event
from tests.server.test_native_replies import REPLIES

DOOR = SocketioDoor(("/", "/admin"), heartbeat_s=25.0, pong_timeout_s=0.5, message_bytes=1024)
LOBBY = DOOR.codec
CODEC = NamespaceCodec("/", {"/", "/admin"})
ADMIN = NamespaceCodec("/admin", {"/", "/admin"})
ROOM = "session:1"
AUTH = '{"token":"t","resume":{"doc:1":{"epoch":"e","offset":3}},"client":{"name":"app"},"pid":"x"}'


def packets(frames: bytes) -> list[str]:
    """Read what a codec wrote: whole text frames, a packet in each."""
    read = []
    while frames:
        assert frames[0] == 0x81
        length, head = frames[1], 2
        if length > 125:
            width = 2 if length == 126 else 8
            length, head = int.from_bytes(frames[2 : 2 + width], "big"), 2 + width
        read.append(frames[head : head + length].decode())
        frames = frames[head + length :]
    return read


def packet(frames: bytes) -> str:
    (only,) = packets(frames)
    return only


def refused(codec: Any, text: str) -> BadMessage:
    with pytest.raises(BadMessage) as raised:
        codec.decode(text)
    return raised.value


# --- Engine.IO


def test_the_router_opens_with_its_intervals_in_milliseconds() -> None:
    opening = packet(DOOR.greet("c-1"))
    assert opening[0] == "0"
    assert json.loads(opening[1:]) == {
        "sid": "c-1",
        "upgrades": [],
        "pingInterval": 25_000,
        "pingTimeout": 500,
        "maxPayload": 1024,
    }


@pytest.mark.parametrize("codec", [LOBBY, CODEC])
def test_packets_of_engine_io_are_understood_everywhere(codec: Any) -> None:
    assert codec.decode("3") == codec.decode("3x") == codec.decode("6") == ()
    assert codec.decode("1") == (commands.Bye(),)
    (ping,) = codec.decode("2probe")
    assert isinstance(ping, commands.Ping)
    assert packet(codec.encode(replies.Pong(id=ping.id, time="t"))) == "3probe"
    refusal = replies.Error(id=ping.id, code=ErrorCode.RATE_LIMITED, message="m", temporary=True)
    assert packet(codec.encode(refusal)) == "3probe"


@pytest.mark.parametrize("text", ["", "0", "5", "7", "x", "b4=", "9[]", "٤2"])
def test_what_is_no_packet_of_engine_io_ends_the_connection(text: str) -> None:
    assert refused(CODEC, text).fatal


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"EIO": ["4"], "transport": ["polling"]}, 0),
        ({"EIO": ["4"]}, 0),
        ({}, 0),
        ({"EIO": ["4"], "transport": ["websocket", "polling"]}, 0),
        ({"EIO": ["4"], "transport": ["websocket"], "sid": ["x"]}, 1),
        ({"EIO": ["3"], "transport": ["websocket"]}, 5),
        ({"transport": ["websocket"]}, 5),
    ],
)
def test_a_handshake_for_something_else_is_refused_with_the_reference_servers_code(
    query: dict[str, list[str]], code: int
) -> None:
    refusal = DOOR.refuse(query, [])
    assert refusal is not None
    assert (refusal.status, refusal.content_type) == (400, "application/json")
    answer = json.loads(refusal.text)
    assert answer["code"] == code
    if code == 0:
        assert 'transports: ["websocket"]' in answer["message"]


def test_a_handshake_for_a_websocket_is_let_in() -> None:
    assert DOOR.refuse({"EIO": ["4"], "transport": ["websocket"], "t": ["x"]}, []) is None


@pytest.mark.parametrize("code", CloseCode)
def test_who_may_not_come_back_by_itself_is_told_so_before_the_close(code: CloseCode) -> None:
    parting = DOOR.part(code, "why", ADMIN)
    assert parting[:2] == (code, "why")
    final = code in FINAL_CLOSE_CODES and code != CloseCode.NORMAL
    assert packets(parting.last_words) == (["41/admin,", "1"] if final else [])


def test_who_has_not_connected_to_a_namespace_is_not_disconnected_from_one() -> None:
    assert packets(DOOR.part(CloseCode.BAD_MESSAGES, "", LOBBY).last_words) == ["1"]
    assert packets(DOOR.part(CloseCode.OPERATOR, "", CODEC).last_words) == ["41", "1"]


# --- Connecting


@pytest.mark.parametrize(("text", "namespace"), [("40" + AUTH, "/"), ("40/admin," + AUTH, "/admin")])
def test_a_connect_packet_chooses_the_namespace_and_says_who_it_is(text: str, namespace: str) -> None:
    speak, hello = LOBBY.decode(text)
    assert isinstance(speak, commands.Speak)
    assert speak.codec.namespace == namespace
    assert hello == commands.Hello(
        id=namespace, token="t", resume={"doc:1": Position("e", 3)}, client=commands.Client(name="app")
    )
    (again,) = speak.codec.decode(text)
    assert again == hello


@pytest.mark.parametrize("text", ["40", "40/", "40/,", "40{}", '40{"id":7,"type":"x"}'])
def test_a_connect_packet_need_not_say_anything(text: str) -> None:
    _, hello = LOBBY.decode(text)
    assert hello == commands.Hello(id="/")


@pytest.mark.parametrize("auth", ['{"token":5}', '{"resume":[]}', '{"resume":{"no room":{"epoch":"e","offset":1}}}'])
def test_a_wrong_auth_payload_is_refused_and_the_connection_goes_on(auth: str) -> None:
    refusal = refused(LOBBY, f"40/admin,{auth}")
    assert (refusal.code, refusal.id, refusal.fatal) == (ErrorCode.BAD_MESSAGE, "/admin", False)
    assert "auth: " in refusal.message


@pytest.mark.parametrize("codec", [LOBBY, CODEC, ADMIN])
def test_an_unknown_namespace_is_refused_in_the_reference_servers_words(codec: Any) -> None:
    refusal = refused(codec, "40/nope,{}")
    assert (refusal.message, refusal.id, refusal.fatal) == ("Invalid namespace", "/nope", False)
    error = replies.Error(id=refusal.id, code=refusal.code, message=refusal.message, temporary=False)
    answer = packet(codec.encode(error))
    assert answer.startswith("44/nope,{")
    data = {"code": "not_found", "message": "Invalid namespace", "temporary": False}
    assert json.loads(answer[8:]) == {"message": "Invalid namespace", "data": data}


def test_a_second_namespace_is_refused_with_what_to_do() -> None:
    refusal = refused(CODEC, "40/admin,")
    assert (refusal.id, refusal.fatal) == ("/admin", False)
    assert "forceNew: true" in refusal.message


@pytest.mark.parametrize("text", ['42["ping"]', "41", "43[]", '451-["a"]'])
def test_who_says_something_before_connecting_is_closed(text: str) -> None:
    assert refused(LOBBY, text).fatal


def test_the_answer_to_connecting_is_a_connect_packet_and_the_welcome_as_an_event() -> None:
    joined = RoomJoined(epoch="e", offset=5, recovery="full", replay=2, state={})
    welcome = replies.Welcome(
        id="/admin",
        connection="c-1",
        user="ann",
        role="user",
        protocol=1,
        heartbeat_s=25.0,
        expires_at=None,
        expires_in_s=None,
        limits={},
        rooms={ROOM: joined},
    )
    connected, event = packets(ADMIN.encode(welcome))
    assert connected == '40/admin,{"sid":"c-1"}'
    assert event.startswith('42/admin,["welcome",{')
    name, fields = json.loads(event[len("42/admin,") :])
    assert name == "welcome"
    assert fields["rooms"] == {ROOM: {"epoch": "e", "offset": 5, "recovery": "full", "replay": 2, "state": {}}}
    assert not {"id", "type"} & fields.keys()


# --- Events of the client

POSITION = {"epoch": "e", "offset": 3}
EVENTS: list[tuple[str, Any, commands.Command]] = [
    ("subscribe", ROOM, commands.Subscribe(id=1, room=ROOM)),
    (
        "subscribe",
        {"room": ROOM, "after": POSITION, "history": 5, "kinds": ["alert"], "state": False, "more": 1},
        commands.Subscribe(id=1, room=ROOM, after=Position("e", 3), history=5, kinds=["alert"], state=False),
    ),
    ("unsubscribe", ROOM, commands.Unsubscribe(id=1, room=ROOM)),
    (
        "publish",
        {"room": ROOM, "kind": "a.b", "data": {"x": [None]}, "event_id": "e", "key": "k", "ack": "required", "id": 9},
        commands.Publish(id=1, room=ROOM, kind="a.b", data={"x": [None]}, event_id="e", key="k", ack="required"),
    ),
    ("state", ROOM, commands.State(id=1, room=ROOM)),
    ("history", {"room": ROOM, "before": 9, "limit": 2}, commands.History(id=1, room=ROOM, before=9, limit=2)),
    ("history", ROOM, commands.History(id=1, room=ROOM)),
    ("presence", {"room": ROOM, "connections": True}, commands.Presence(id=1, room=ROOM, connections=True)),
    ("ack", {"room": ROOM, "event_id": "x"}, commands.Ack(id=1, room=ROOM, event_id="x")),
    ("refresh", {"token": "t"}, commands.Refresh(id=1, token="t")),
    ("refresh", "t", commands.Refresh(id=1, token="t")),
    ("ping", {}, commands.Ping(id=1)),
]


@pytest.mark.parametrize(("name", "argument", "command"), EVENTS)
def test_events_of_the_client_are_the_native_commands(name: str, argument: Any, command: commands.Command) -> None:
    said = json.dumps([name, argument])
    assert CODEC.decode(f"421{said}") == ADMIN.decode(f"42/admin,1{said}") == (command,)
    without_id = msgspec.structs.replace(command, id=None)
    assert CODEC.decode(f"42{said}") == (without_id,)


def test_every_command_is_an_event_but_hello() -> None:
    tested = {type(command) for _, _, command in EVENTS}
    others = (commands.Hello, commands.Bye, commands.Speak, commands.Unfit)
    everything = {each for each in vars(commands).values() if isinstance(each, type(commands.Command))}
    known = {each for each in everything if issubclass(each, commands.Command) and each.__module__ == "actors.commands"}
    assert tested == {each for each in known if not each.__name__.startswith("_")} - {commands.Command, *others}


def test_an_event_without_an_argument_may_be_a_ping() -> None:
    assert CODEC.decode('427["ping"]') == CODEC.decode('427["ping",null]') == (commands.Ping(id=7),)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('["nope"]', "unknown_type"),
        ('["hello",{}]', "unknown_type"),
        ("[5]", "unknown_type"),
        ('["subscribe"]', "bad_message"),
        ('["subscribe",null]', "bad_message"),
        ('["subscribe","no room"]', "bad_message"),
        ('["subscribe","doc:1","doc:2"]', "bad_message"),
        ('["publish","doc:1"]', "bad_message"),
        ('["history",{"room":"doc:1","limit":0}]', "bad_message"),
        ('["ping",1]', "bad_message"),
    ],
)
def test_a_wrong_event_is_answered_and_the_connection_goes_on(said: str, code: str) -> None:
    refusal = refused(CODEC, f"4212{said}")
    assert (refusal.code, refusal.id, refusal.fatal) == (code, 12, False)


def test_half_of_a_surrogate_pair_is_answered_and_the_connection_goes_on() -> None:
    """JavaScript sends it where a string was cut in the middle of an emoji."""
    event = refused(CODEC, r'4212["publish",{"room":"doc:1","kind":"a.b","data":{"x":"\ud83d\ude00 \ud83d"}}]')
    assert (event.code, event.id, event.fatal) == (ErrorCode.BAD_MESSAGE, 12, False)
    assert "half of a surrogate pair" in event.message
    connect = refused(CODEC, r'40{"client":{"name":"\ud83d"}}')
    assert (connect.code, connect.id, connect.fatal) == (ErrorCode.BAD_MESSAGE, "/", False)


def test_binary_attachments_are_refused_with_an_error_that_says_so() -> None:
    event = refused(CODEC, '451-8["publish",{"_placeholder":true,"num":0}]')
    assert (event.id, event.fatal) == (8, False)
    assert "binary attachments are refused" in event.message
    answer = refused(ADMIN, '462-/admin,8[{"_placeholder":true,"num":0}]')
    assert (answer.id, answer.fatal) == (None, False)


def test_goodbyes_and_acknowledgements_are_understood() -> None:
    assert CODEC.decode("41") == ADMIN.decode("41/admin,") == (commands.Bye(),)
    assert CODEC.decode("43[]") == CODEC.decode('4312["x"]') == ADMIN.decode("43/admin,1[]") == ()


MALFORMED = [
    "4",
    "4x",
    "47[]",
    "4٢[]",
    "40[]",
    "40null",
    "40{",
    '40"x"',
    '40{"a":1}x',
    "41{}",
    "42",
    "42x",
    "42[]",
    "42{}",
    '42"ping"',
    "42[null]",
    "42[true]",
    "42[[]]",
    '42["ping"',
    '42["ping"]]',
    '42["ping",NaN]',
    '42["connect"]',
    '42["connect_error"]',
    '42["disconnect"]',
    '42["disconnecting"]',
    '42["newListener"]',
    '42["removeListener"]',
    '421234567890123456["ping"]',
    '42-1["ping"]',
    '42/admin,["ping"]',
    '42/admin["ping"]',
    "42/" + "x" * 300 + ',["ping"]',
    '42,["ping"]',
    "43",
    "43{}",
    '44{"message":"x"}',
    '45["x"]',
    '45-["x"]',
    '450-["x"]',
    '4511-["x"]',
    '45x-["x"]',
    "451-[]",
    "461-{}",
    "42" + "[" * 5000 + "]" * 5000,
    '42["subscribe",' + '{"a":' * 5000 + "1" + "}" * 5001 + "]",
    '42["history",{"room":"doc:1","after":' + "1" * 5000 + "}]",
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:24])
def test_a_malformed_packet_ends_the_connection(text: str) -> None:
    refusal = refused(CODEC, text)
    assert (refusal.code, refusal.fatal) == (ErrorCode.BAD_MESSAGE, True)


def test_an_id_of_fifteen_digits_comes_back_as_it_is() -> None:
    (ping,) = CODEC.decode('42123456789012345["ping"]')
    assert packet(CODEC.encode(replies.Pong(id=ping.id, time="t"))) == '43123456789012345[{"time":"t"}]'


# --- Replies and events of the router


@pytest.mark.parametrize(("reply", "native"), REPLIES)
def test_a_reply_has_the_native_fields_under_its_own_name(reply: replies.Reply, native: dict[str, Any]) -> None:
    """With an id it is an acknowledgement, without one an event."""
    fields = {name: value for name, value in native.items() if name not in ("type", "id")}
    if "events" in fields:
        fields["events"] = [
            {name: value for name, value in each.items() if name != "type"} for each in fields["events"]
        ]
    if isinstance(reply, replies.Welcome):
        return
    event = packet(ADMIN.encode(msgspec.structs.replace(reply, id=None)))
    assert event.startswith("42/admin,")
    assert json.loads(event[len("42/admin,") :]) == [native["type"], fields]
    answer = packet(ADMIN.encode(msgspec.structs.replace(reply, id=12)))
    assert answer.startswith("43/admin,12[")
    wrapped = {"error": fields} if isinstance(reply, replies.Error) else fields
    assert json.loads(answer[len("43/admin,12") :]) == [wrapped]


def test_an_event_is_the_envelope_under_its_kind() -> None:
    event = an_event(2, "alert", {"severity": "low", "title": "t"}, key="k", ack="required", event_id="mine")
    fields = {
        "room": ROOM,
        "offset": 2,
        "prev": 1,
        "id": "mine",
        "kind": "alert",
        "time": "2023-11-14T22:13:20.000Z",
        "data": {"severity": "low", "title": "t"},
        "key": "k",
        "ack": "required",
    }
    for codec, before in ((CODEC, "42"), (ADMIN, "42/admin,")):
        text = packet(codec.encode_event(ROOM, event))
        assert text.startswith(before)
        assert json.loads(text[len(before) :]) == ["alert", fields]


# --- Anything at all

SEEDS = [*MALFORMED, "40" + AUTH, "40/admin," + AUTH, "2probe", "3", '451-8["publish",{"_placeholder":true,"num":0}]']
SEEDS += [f"42{json.dumps([name, argument])}" for name, argument, _ in EVENTS]


def taken(text: str) -> None:
    """Decode a text as each codec does; an error can be told to the client."""
    for codec in (LOBBY, CODEC, ADMIN):
        try:
            said = codec.decode(text)
        except BadMessage as refusal:
            packets(codec.encode(replies.Error.of(refusal.id, refusal)))
        else:
            for command in said:
                packets(codec.encode(replies.Pong(id=command.id, time="t")))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_commands_or_a_bad_message(text: str) -> None:
    taken(text)
    taken(f"4{text}")
    taken(f"42{text}")


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_nearly_right_packet_is_commands_or_a_bad_message(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(text), 80)))
        end = min(len(text), at + data.draw(st.integers(0, 8)))
        text = text[:at] + data.draw(st.text(max_size=5) | st.just(text[at:end] * 2)) + text[end:]
    taken(text)
