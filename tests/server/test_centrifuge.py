"""The Centrifuge protocol without a socket: frames in, commands out; replies and events in, JSON lines out."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import commands, replies
from actors.codec import BadMessage
from actors.commands import MOST_KINDS, Position
from actors.errors import CloseCode, ErrorCode
from actors.replies import Missing, OldEvents, RoomJoined, Skipped
from server.protocols.centrifuge import CentrifugeCodec, CentrifugeDoor
from server.protocols.centrifuge_codes import CLOSE_CODES, ERROR_CODES
from server.protocols.centrifuge_commands import MOST_COMMANDS
from tests.actors.chain import messages
from tests.actors.making import a_roll, an_event

CODEC = CentrifugeCodec()
ROOM = "session:1"
EVENT = {"kind": "app.step", "data": {"n": 1}}
EVENTS = tuple(an_event(offset, "app.step", {"n": offset}, event_id=f"e{offset}") for offset in (4, 5))


def read(method: str, params: Any, id: int = 7) -> commands.Command:
    """The command that a frame holds."""
    (command,) = CODEC.decode(json.dumps({"id": id, method: params}))
    return command


def unfit(method: str, params: Any) -> commands.Unfit:
    command = read(method, params)
    assert isinstance(command, commands.Unfit)
    assert command.id == f"{method}:7"
    return command


def written(reply: replies.Reply) -> dict[str, Any]:
    (message,) = messages(CODEC.encode(reply))
    return message


def publication(offset: int) -> dict[str, Any]:
    data = {"id": f"e{offset}", "kind": "app.step", "time": "2023-11-14T22:13:20.000Z", "data": {"n": offset}}
    return {"offset": offset, "data": data}


# --- what a client says


@pytest.mark.parametrize(
    ("method", "params", "command"),
    [
        ("connect", {}, commands.Hello(id="connect:7", client=commands.Client())),
        (
            "connect",
            {
                "token": "t",
                "name": "js",
                "version": "5",
                "data": [1],
                "subs": {
                    ROOM: {"recover": True, "epoch": "e", "offset": 3},
                    "doc:1": {"epoch": "e", "offset": 3},
                    "no room": {"recover": True},
                },
            },
            commands.Hello(
                id="connect:7", token="t", client=commands.Client("js", "5"), resume={ROOM: Position("e", 3)}
            ),
        ),
        ("subscribe", {"channel": ROOM}, commands.Subscribe(id="subscribe:7", room=ROOM)),
        (
            "subscribe",
            {"channel": ROOM, "recover": True, "epoch": "e", "offset": 3, "join_leave": True, "flag": 1},
            commands.Subscribe(id="subscribe:7", room=ROOM, after=Position("e", 3), presence=True),
        ),
        (
            "subscribe",
            {"channel": ROOM, "data": {"kinds": ["a.b"], "history": 5, "state": False, "room": "doc:1"}},
            commands.Subscribe(id="subscribe:7", room=ROOM, kinds=["a.b"], history=5, state=False),
        ),
        ("unsubscribe", {"channel": ROOM}, commands.Unsubscribe(id="unsubscribe:7", room=ROOM)),
        (
            "publish",
            {"channel": ROOM, "data": {**EVENT, "id": "mine", "key": "k", "delivery": "latest", "ack": "none"}},
            commands.Publish(
                id="publish:7",
                room=ROOM,
                kind="app.step",
                data={"n": 1},
                event_id="mine",
                key="k",
                delivery="latest",
                ack="none",
            ),
        ),
        (
            "publish",
            {"channel": ROOM, "data": {**EVENT, "event_id": "mine", "room": "doc:1"}},
            commands.Publish(id="publish:7", room=ROOM, kind="app.step", data={"n": 1}, event_id="mine"),
        ),
        ("presence", {"channel": ROOM}, commands.Presence(id="presence:7", room=ROOM, connections=True)),
        ("presence_stats", {"channel": ROOM}, commands.Presence(id="presence_stats:7", room=ROOM)),
        ("history", {"channel": ROOM}, commands.History(id="history:7:position:", room=ROOM, after=0, limit=1)),
        ("history", {"channel": ROOM, "limit": -1}, commands.History(id="history:7::", room=ROOM, after=0, limit=300)),
        (
            "history",
            {"channel": ROOM, "limit": 999, "since": {"offset": 4, "epoch": "e:f"}},
            commands.History(id="history:7::e:f", room=ROOM, after=4, limit=300),
        ),
        (
            "history",
            {"channel": ROOM, "limit": 2, "since": {"offset": 4}, "reverse": True},
            commands.History(id="history:7:reverse:", room=ROOM, before=4, limit=2),
        ),
        (
            "history",
            {"channel": ROOM, "limit": 2, "reverse": True},
            commands.History(id="history:7:reverse:", room=ROOM, limit=2),
        ),
        ("ping", {}, commands.Ping(id="ping:7")),
        ("refresh", {"token": "t"}, commands.Refresh(id="refresh:7", token="t")),
        ("rpc", {"method": "state", "data": {"room": ROOM}}, commands.State(id="rpc:7", room=ROOM)),
        (
            "rpc",
            {"method": "ack", "data": {"room": ROOM, "event_id": "a", "id": 1}},
            commands.Ack(id="rpc:7", room=ROOM, event_id="a"),
        ),
        (
            "rpc",
            {"method": "publish", "data": {"room": ROOM, **EVENT}},
            commands.Publish(id="rpc:7", room=ROOM, kind="app.step", data={"n": 1}),
        ),
        ("rpc", {"method": "refresh", "data": {"token": "t"}}, commands.Refresh(id="rpc:7", token="t")),
        (
            "send",
            {"data": {"method": "ack", "data": {"room": ROOM, "event_id": "a"}}},
            commands.Ack(room=ROOM, event_id="a"),
        ),
    ],
)
def test_a_command_is_read_as_what_the_actors_obey(method: str, params: Any, command: commands.Command) -> None:
    """What kind of answer is due is in the command's id."""
    assert read(method, params) == command


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("subscribe", {"channel": "no room"}, "is no room name"),
        ("subscribe", {"channel": ROOM, "tf": {"op": "eq"}}, "no filter by tags"),
        ("subscribe", {"channel": ROOM, "type": 4}, "type 4 is not known"),
        ("subscribe", {"channel": ROOM, "flag": 3}, "getState is not known"),
        ("subscribe", {"channel": ROOM, "data": "all"}, "data is {kinds"),
        ("subscribe", {"channel": ROOM, "data": {"kinds": []}}, "kinds is empty"),
        ("subscribe", {"channel": ROOM, "data": {"history": "5"}}, "history"),
        ("publish", {"channel": ROOM}, "data is an event"),
        ("publish", {"channel": ROOM, "data": "hello"}, "data is an event"),
        ("publish", {"channel": ROOM, "data": {"kind": "app.step"}}, "data is an event"),
        ("publish", {"channel": ROOM, "data": {**EVENT, "id": 7}}, "data is an event"),
        ("publish", {"channel": "no room", "data": EVENT}, "is no room name"),
        ("unsubscribe", {"channel": "no room"}, "is no room name"),
        ("presence", {"channel": "no room"}, "is no room name"),
        ("history", {"channel": "no room"}, "is no room name"),
        ("rpc", {"method": "state"}, "data of state is an object"),
        ("rpc", {"method": "state", "data": {}}, "room"),
        ("rpc", {"method": "ack", "data": {"room": ROOM}}, "event_id"),
    ],
)
def test_what_makes_no_sense_is_answered_and_not_obeyed(method: str, params: Any, words: str) -> None:
    """The others of its frame are."""
    command = unfit(method, params)
    assert command.code is ErrorCode.BAD_MESSAGE
    assert words in command.message


@pytest.mark.parametrize("kinds", [[], ["a.b"] * (MOST_KINDS + 1), ["a." + "b" * 199]])
def test_as_many_kinds_may_be_named_as_the_reference_says(kinds: list[str]) -> None:
    """One at least, and no more than that, none of them longer."""
    assert "kinds" in unfit("subscribe", {"channel": ROOM, "data": {"kinds": kinds}}).message
    most = ["a." + "b" * 198] * MOST_KINDS
    assert read("subscribe", {"channel": ROOM, "data": {"kinds": most}}) == commands.Subscribe(
        id="subscribe:7", room=ROOM, kinds=most
    )
    assert MOST_KINDS == 32


@pytest.mark.parametrize(
    ("method", "params"),
    [("sub_refresh", {"channel": ROOM}), ("fly:7", {}), ("rpc", {"method": "fly", "data": {}})],
)
def test_an_unknown_method_is_named_with_those_that_there_are(method: str, params: Any) -> None:
    """As the protocol has it: method not found."""
    command = read(method, params)
    assert isinstance(command, commands.Unfit)
    error = replies.Error(id=command.id, code=command.code, message=command.message, temporary=False)
    assert written(error)["id"] == 7
    assert command.code is ErrorCode.UNKNOWN_TYPE
    assert "there are" in command.message


def test_a_send_that_makes_no_sense_has_nobody_to_answer() -> None:
    """It has no id, and one that it has is not used."""
    for text in ('{"send": {"data": 1}}', '{"id": 3, "send": {}}', '{"send": {"data": {"method": "fly"}}}'):
        (command,) = CODEC.decode(text)
        assert isinstance(command, commands.Unfit)
        assert command.id is None


def test_half_of_a_surrogate_pair_is_answered_and_the_rest_of_the_frame_obeyed() -> None:
    """JavaScript sends it where a string was cut in the middle of an emoji."""
    half = {"id": 7, "publish": {"channel": ROOM, "data": {"kind": "a.b", "data": {"x": "\U0001f600 \ud83d"}}}}
    said, ping = CODEC.decode(f'{json.dumps(half)}\n{{"id": 8, "ping": {{}}}}')
    assert isinstance(said, commands.Unfit)
    assert said.id == "publish:7"
    assert "half of a surrogate pair" in said.message
    assert ping == commands.Ping(id="ping:8")


def test_the_empty_command_is_a_pong_and_nothing_to_obey() -> None:
    """Alone or among others; an answer to it would be a ping to both official clients."""
    assert list(CODEC.decode("{}")) == []
    said = CODEC.decode('{}\n{"id": 1, "ping": {}}\n\n{}\n')
    assert list(said) == [commands.Ping(id="ping:1")]


def test_a_frame_may_hold_several_commands_up_to_a_bound() -> None:
    """In their order."""
    lines = [json.dumps({"id": number, "ping": {}}) for number in range(1, MOST_COMMANDS + 1)]
    assert [command.id for command in CODEC.decode("\n".join(lines))] == [
        f"ping:{number}" for number in range(1, MOST_COMMANDS + 1)
    ]
    with pytest.raises(BadMessage, match="256"):
        CODEC.decode("\n".join([*lines, "{}"]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "hello",
        "[]",
        "null",
        "7",
        "{}{}",
        "[" * 100_000,
        '{"id": 1}',
        '{"id": 1, "connect": null}',
        '{"id": 1, "connect": {}, "ping": {}}',
        '{"id": 1, "fly": {}, "swim": {}}',
        '{"fly": {}}',
        '{"id": 1, "fly": 1e999}',
        '{"id": 1, "fly": [{"x": -1e999}], "ping": null}',
        '{"fly": ' + "1" * 5000 + "}",
        '{"connect": {}}',
        '{"id": 0, "ping": {}}',
        '{"id": -1, "ping": {}}',
        '{"id": "1", "ping": {}}',
        '{"id": 4294967296, "ping": {}}',
        '{"id": 1, "connect": []}',
        '{"id": 1, "connect": {"token": 7}}',
        '{"id": 1, "connect": {"subs": {"doc:1": {"offset": -1}}}}',
        '{"id": 1, "subscribe": {}}',
        '{"id": 1, "subscribe": {"channel": 7}}',
        '{"id": 1, "history": {"channel": "doc:1", "since": {"offset": 1.5}}}',
        '{"id": 1, "refresh": {}}',
        '{"id": 1, "ping": {}}\nhello',
    ],
)
def test_what_is_no_command_ends_the_connection(text: str) -> None:
    """As the protocol has it: bad request, and do not come back."""
    with pytest.raises(BadMessage) as caught:
        CODEC.decode(text)
    assert caught.value.code is ErrorCode.BAD_MESSAGE
    assert caught.value.fatal


# --- what a client is told

OLD = OldEvents(EVENTS, (Skipped(room=ROOM, from_=2, to=3, reason="conflated"),), 5)
FULL = RoomJoined(epoch="e", offset=9, recovery="full", replay=6, state={"status": None}, old=OLD)
PARTIAL = RoomJoined(epoch="e", offset=9, recovery="partial", replay=6, missing=Missing(1, 1), old=OLD)
FRESH = RoomJoined(epoch="e", offset=9, recovery="fresh", replay=0, old=OldEvents((), (), 9))
LOST = RoomJoined(epoch="e", offset=9, recovery="none", replay=0, old=OldEvents((), (), 9))
KEPT = {"recoverable": True, "positioned": True, "epoch": "e"}
POSITION = {"epoch": "e", "offset": 9}
SKIPPED = [{"from": 2, "to": 3, "reason": "conflated"}]
FULL_JSON = {
    **KEPT,
    "offset": 1,
    "was_recovering": True,
    "recovered": True,
    "publications": [publication(4), publication(5)],
    "data": {**POSITION, "recovery": "full", "replay": 6, "state": {"status": None}, "skipped": SKIPPED},
}


def welcome(**rooms: RoomJoined) -> replies.Welcome:
    return replies.Welcome(
        id="connect:7",
        connection="c",
        user="ann",
        role="user",
        protocol=1,
        heartbeat_s=0.2,
        expires_at="t",
        expires_in_s=59.9,
        limits={"rooms": 1},
        rooms=rooms,
    )


def test_a_welcome_has_the_server_side_subscriptions() -> None:
    """With what was missed where all of it is there; whole seconds, rounded to the safe side."""
    answer = written(welcome(full=FULL, fresh=FRESH, lost=LOST))["connect"]
    assert answer.pop("version").startswith("Postroom ")
    assert answer == {
        "client": "c",
        "expires": True,
        "ttl": 59,
        "ping": 1,
        "pong": True,
        "data": {"user": "ann", "role": "user", "limits": {"rooms": 1}},
        "subs": {
            "full": FULL_JSON,
            "fresh": {**KEPT, "offset": 9, "data": {**POSITION, "recovery": "fresh", "replay": 0}},
            "lost": {
                **KEPT,
                "offset": 9,
                "was_recovering": True,
                "recovered": False,
                "data": {**POSITION, "recovery": "none", "replay": 0},
            },
        },
    }


def test_what_is_left_of_a_server_side_subscription_is_pushed_after_the_welcome() -> None:
    """The clients take no publications out of a welcome unless it says `recovered`."""
    answer, *pushes = messages(CODEC.encode(welcome(**{ROOM: PARTIAL})))
    sub = answer["connect"]["subs"][ROOM]
    assert "publications" not in sub
    assert (sub["offset"], sub["was_recovering"], sub["recovered"]) == (1, True, False)
    assert sub["data"]["missing"] == {"from": 1, "to": 1}
    assert pushes == [{"push": {"channel": ROOM, "pub": publication(offset)}} for offset in (4, 5)]


REPLIES: list[tuple[replies.Reply, dict[str, Any]]] = [
    (
        replies.Subscribed(
            id="subscribe:7",
            room=ROOM,
            epoch="e",
            offset=9,
            recovery="full",
            replay=6,
            state={"status": None},
            old=OLD,
        ),
        {"id": 7, "subscribe": FULL_JSON},
    ),
    (
        replies.Subscribed(room=ROOM, epoch="e", offset=9, recovery="fresh", replay=0),
        {
            "push": {
                "channel": ROOM,
                "subscribe": {**KEPT, "offset": 9, "data": {**POSITION, "recovery": "fresh", "replay": 0}},
            }
        },
    ),
    (replies.Unsubscribed(id="unsubscribe:7", room=ROOM), {"id": 7, "unsubscribe": {}}),
    (
        replies.Published(id="publish:7", room=ROOM, epoch="e", offset=1, event_id="x", duplicate=False),
        {"id": 7, "publish": {}},
    ),
    (
        replies.Published(id="rpc:7", room=ROOM, epoch="e", offset=1, event_id="x", duplicate=False),
        {
            "id": 7,
            "rpc": {"data": {"room": ROOM, "epoch": "e", "offset": 1, "event_id": "x", "duplicate": False}},
        },
    ),
    (
        replies.State(id="rpc:7", room=ROOM, epoch="e", offset=1, state={"a": 1}),
        {"id": 7, "rpc": {"data": {"room": ROOM, "epoch": "e", "offset": 1, "state": {"a": 1}}}},
    ),
    (
        replies.Acknowledged(id="rpc:7", room=ROOM, event_id="x"),
        {"id": 7, "rpc": {"data": {"room": ROOM, "event_id": "x"}}},
    ),
    (
        replies.Refreshed(id="refresh:7", expires_at="t", expires_in_s=0.5),
        {"id": 7, "refresh": {"expires": True, "ttl": 1}},
    ),
    (
        replies.Refreshed(id="refresh:7", expires_at=None, expires_in_s=None),
        {"id": 7, "refresh": {"expires": False}},
    ),
    (
        replies.Refreshed(id="rpc:7", expires_at="t", expires_in_s=9.0),
        {"id": 7, "rpc": {"data": {"expires_at": "t", "expires_in_s": 9.0}}},
    ),
    (replies.Pong(id="ping:7", time="t"), {"id": 7, "ping": {}}),
    (
        replies.History(id="history:7::", room=ROOM, epoch="e", offset=9, events=EVENTS, more=True),
        {"id": 7, "history": {**POSITION, "publications": [publication(4), publication(5)]}},
    ),
    (
        replies.History(id="history:7:reverse:e", room=ROOM, epoch="e", offset=9, events=EVENTS, more=True),
        {"id": 7, "history": {**POSITION, "publications": [publication(5), publication(4)]}},
    ),
    (
        replies.History(id="history:7:position:e", room=ROOM, epoch="e", offset=9, events=EVENTS[:1], more=True),
        {"id": 7, "history": POSITION},
    ),
    (
        replies.Presence(id="presence:7", room=ROOM, roll=a_roll(c="ann"), connections=True),
        {"id": 7, "presence": {"presence": {"c": {"client": "c", "user": "ann"}}}},
    ),
    (
        replies.Presence(id="presence_stats:7", room=ROOM, roll=a_roll(c="ann", d="ann", e="bob")),
        {"id": 7, "presence_stats": {"num_clients": 3, "num_users": 2}},
    ),
    (
        replies.Skipped(room=ROOM, from_=2, to=3, reason="conflated"),
        {"push": {"channel": ROOM, "message": {"data": {"skipped": SKIPPED[0]}}}},
    ),
    (
        replies.MemberJoined(room=ROOM, user="ann", connection="c"),
        {"push": {"channel": ROOM, "join": {"info": {"client": "c", "user": "ann"}}}},
    ),
    (
        replies.MemberLeft(room=ROOM, user="ann", connection="c"),
        {"push": {"channel": ROOM, "leave": {"info": {"client": "c", "user": "ann"}}}},
    ),
    (
        replies.Revoked(room=ROOM, reason="no"),
        {"push": {"channel": ROOM, "unsubscribe": {"code": 2000, "reason": "no"}}},
    ),
    (
        replies.Error(id="publish:7", code=ErrorCode.BUSY, message="wait", temporary=True, retry_after_ms=9),
        {"id": 7, "error": {"code": 503, "message": "busy: wait", "temporary": True}},
    ),
    (
        replies.Error(id="unsubscribe:7", code=ErrorCode.NOT_SUBSCRIBED, message="no", temporary=False),
        {"id": 7, "unsubscribe": {}},
    ),
]
NO_WORD: list[replies.Reply] = [
    replies.Notice(code="draining", reconnect_in_ms=5),
    replies.Error(code=ErrorCode.BAD_MESSAGE, message="no", temporary=False),
    replies.State(room=ROOM, epoch="e", offset=1, state={}),
    replies.Acknowledged(room=ROOM, event_id="x"),
]


@pytest.mark.parametrize(("reply", "message"), REPLIES, ids=lambda value: type(value).__name__)
def test_a_reply_is_what_its_command_asked_for(reply: replies.Reply, message: dict[str, Any]) -> None:
    """Whole, and nothing beside."""
    assert written(reply) == message


def test_a_history_of_another_epoch_is_refused() -> None:
    """The offsets of `since` mean nothing in it."""
    reply = replies.History(id="history:7::f:g", room=ROOM, epoch="e", offset=9, events=EVENTS, more=False)
    error = written(reply)["error"]
    assert (error["code"], error["temporary"]) == (112, False)
    assert "f:g" in error["message"]


def test_without_anything_old_the_position_is_that_of_the_answer() -> None:
    """All that was skipped is behind it."""
    old = OldEvents((), (Skipped(room=ROOM, from_=8, to=9, reason="filtered"),), 9)
    reply = replies.Subscribed(id="subscribe:7", room=ROOM, epoch="e", offset=9, recovery="full", replay=0, old=old)
    assert written(reply)["subscribe"]["offset"] == 9


@pytest.mark.parametrize("reply", NO_WORD, ids=lambda reply: type(reply).__name__)
def test_for_some_the_protocol_has_no_word(reply: replies.Reply) -> None:
    """Advice, and answers to what had no id."""
    assert CODEC.encode(reply) == b""


def test_there_is_a_word_or_none_for_everything_that_the_actors_say() -> None:
    """Each kind of reply is among the examples here."""
    records = [getattr(replies, name) for name in replies.__all__]
    kinds = {each for each in records if isinstance(each, type) and issubclass(each, replies.Reply)} - {replies.Reply}
    assert {type(reply) for reply in (*(reply for reply, _ in REPLIES), *NO_WORD, welcome())} == kinds


def test_an_event_is_pushed_with_all_that_belongs_to_it() -> None:
    """But for its place, which is the publication's."""
    event = an_event(2, "alert", {"severity": "low", "title": "t"}, key="k", ack="required", event_id="mine")
    (push,) = messages(CODEC.encode_event(ROOM, event))
    assert push == {
        "push": {
            "channel": ROOM,
            "pub": {
                "offset": 2,
                "data": {
                    "id": "mine",
                    "kind": "alert",
                    "time": "2023-11-14T22:13:20.000Z",
                    "data": {"severity": "low", "title": "t"},
                    "key": "k",
                    "ack": "required",
                },
            },
        }
    }


# --- codes


def test_every_error_code_has_a_number_of_the_protocol() -> None:
    """Theirs where there is one, else one from 400 on; the text begins with our own."""
    assert ERROR_CODES.keys() == set(ErrorCode)
    for code, number in ERROR_CODES.items():
        assert 100 <= number <= 112 or 400 <= number < 2000
        reply = replies.Error(id="publish:7", code=code, message="why", temporary=code.temporary)
        error = written(reply)["error"]
        assert error == {"code": number, "message": f"{code}: why", "temporary": code.temporary}


def test_a_close_code_tells_the_clients_whether_to_come_back() -> None:
    """They do after 3000 to 3499 and after those of WebSocket itself, and do not from 3500 on."""
    back = {CloseCode.DRAINING, CloseCode.GIVEN_UP, CloseCode.TOKEN_EXPIRED, CloseCode.SLOW_CONSUMER}
    back |= {CloseCode.TOO_MANY_CONNECTIONS}
    for ours, theirs in CLOSE_CODES.items():
        assert (3000 <= theirs < 3500) is (ours in back)
        assert 3000 <= theirs < 4000
    assert all(code in CLOSE_CODES or code < 3000 for code in CloseCode)
    parting = CentrifugeDoor().part(CloseCode.SLOW_CONSUMER, "slow", CODEC)
    assert parting == (3008, "slow", b"")
    assert CentrifugeDoor().part(CloseCode.TOO_BIG, "", CODEC).code == 1009


# --- whatever comes in

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "channel",
    "data",
    "token",
    "subs",
    "recover",
    "epoch",
    "offset",
    "limit",
    "since",
    "reverse",
    "method",
    "flag",
)
PARAMS = st.dictionaries(st.sampled_from(NAMES), JSON | st.just(ROOM), max_size=4)
METHODS = ("connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "ping", "send")
PACKETS = st.fixed_dictionaries(
    {}, optional={"id": st.integers(-1, 2**33) | JSON, **{each: PARAMS | JSON for each in (*METHODS, "rpc", "refresh")}}
)


@given(st.text() | PACKETS.map(json.dumps) | st.lists(PACKETS.map(json.dumps), max_size=4).map("\n".join))
def test_whatever_is_sent_is_commands_or_a_bad_message(text: str) -> None:
    """And nothing else is raised; what is read can be answered."""
    try:
        said = CODEC.decode(text)
    except BadMessage:
        return
    for command in said:
        assert isinstance(command, commands.Command)
        CODEC.encode(replies.Error(id=command.id, code=ErrorCode.INTERNAL, message="x", temporary=True))


@given(st.binary(max_size=200), st.integers(0, 199), st.sampled_from(["connect", "subscribe", "publish", "history"]))
def test_a_command_with_bytes_changed_is_commands_or_a_bad_message(noise: bytes, place: int, method: str) -> None:
    """Whatever the bytes are, as long as they are text."""
    whole = json.dumps(
        {"id": 7, method: {"channel": ROOM, "data": EVENT, "since": {"offset": 1}, "token": "t", "subs": {ROOM: {}}}}
    ).encode()
    text = (whole[:place] + noise + whole[place + len(noise) :]).decode(errors="replace")
    with suppress(BadMessage):
        CODEC.decode(text)
