"""The Centrifuge door of a whole router: what is sent, what is answered, how one parts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from actors.connection import Connection
from actors.mailbox import Mailbox
from actors.messages import Frame, Joined
from server.app import Router

from ..centrifuge_client import CentrifugeClient, centrifuge_url
from ..conftest import running_router
from ..native_client import Message, NativeClient
from ..raw_client import BINARY, TEXT, RawClient, frame
from .faults import fail_on_message
from .operators import Operator
from .services import crash, publish, wait_until
from .streams import fill as filled

ROOM = "session:1"
PATH = "/connection/websocket"


def an_event(number: int, **fields: object) -> Message:
    """What `publish` takes for data."""
    return {"kind": "app.step", "data": {"n": number}, **fields}


async def fill(client: CentrifugeClient, count: int, room: str = ROOM, **fields: object) -> None:
    """Publish `count` events with `n` from 1 on."""
    for number in range(1, count + 1):
        await client.ask("publish", channel=room, data=an_event(number, **fields))


def numbers(publications: list[Message]) -> list[int]:
    """The `n` of each of them."""
    return [each["data"]["data"]["n"] for each in publications]


def place(subscribed: Message) -> Message:
    """The position that a client has after this answer."""
    return {"epoch": subscribed["epoch"], "offset": subscribed["offset"]}


# --- connecting


async def test_connect_is_answered_with_who_the_client_is_and_its_rooms(
    guarded_router: Router, token: Callable[..., str]
) -> None:
    """`subs` has the rooms that everyone joins and those of the token, each with state and position."""
    own = token("ann", subs=("doc:1",), ttl_s=3600)
    async with CentrifugeClient(centrifuge_url(guarded_router), own) as client:
        connected = client.connected
        (state,) = guarded_router.registry.states
        assert (state.id, state.client, state.protocol) == (connected["client"], "test 1", "centrifuge")
    assert connected["expires"]
    assert 3590 < connected["ttl"] <= 3600
    assert (connected["ping"], connected["pong"]) == (25, True)
    assert connected["data"]["user"] == "ann"
    assert connected["subs"].keys() == {"user:ann", "role:user", "broadcast", "system", "doc:1"}
    for sub in connected["subs"].values():
        assert sub.pop("epoch") == sub["data"].pop("epoch")
        assert sub["recoverable"] is sub["positioned"] is True
        assert sub["data"].pop("state")["status"] is None
        assert sub == {
            "recoverable": True,
            "positioned": True,
            "offset": 0,
            "data": {"offset": 0, "recovery": "fresh", "replay": 0},
        }


async def test_the_rooms_of_the_token_are_joined_by_native_clients_too(
    guarded_router: Router, token: Callable[..., str]
) -> None:
    """What it may not read is not; the others come in `welcome`."""
    own = token("ann", subs=("doc:1", "system:supervisor"))
    async with NativeClient(guarded_router.addresses.ws_url, own) as client:
        assert "doc:1" in client.welcome["rooms"]
        assert "system:supervisor" not in client.welcome["rooms"]
        assert (await client.next("revoked"))["room"] == "system:supervisor"
        await publish(guarded_router, "doc:1", "app.step", {"n": 1})
        assert (await client.next("event"))["data"] == {"n": 1}


async def test_a_client_whose_power_never_ends_has_no_ttl(router: Router) -> None:
    """Under `--dev`, without a token."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        assert client.connected["expires"] is False
        assert "ttl" not in client.connected


@pytest.mark.parametrize(
    ("made", "error", "close"), [("no token", 101, 3500), ("wrong", 101, 3500), ("expired", 109, 3005)]
)
async def test_a_token_that_does_not_count_is_refused(
    guarded_router: Router, token: Callable[..., str], made: str, error: int, close: int
) -> None:
    """With the protocol's error, which has its clients get another one or stay away, and then its close code."""
    tokens = {"no token": None, "wrong": token("ann") + "x", "expired": token("ann", ttl_s=-5)}
    params = {} if tokens[made] is None else {"token": tokens[made]}
    async with CentrifugeClient(centrifuge_url(guarded_router), connect=False) as client:
        assert (await client.refused("connect", **params))["code"] == error
        assert (await client.closed())[0] == close


async def test_what_is_said_before_connect_is_refused(router: Router) -> None:
    """And what is said right behind it, in the same frame, is obeyed after it."""
    async with CentrifugeClient(centrifuge_url(router), connect=False) as client:
        error = await client.refused("subscribe", channel=ROOM)
        assert (error["code"], error["temporary"]) == (101, False)
        assert error["message"].startswith("unauthenticated: connect first")
        await client.send({"id": 8, "connect": {}}, {"id": 9, "subscribe": {"channel": ROOM}})
        assert "connect" in await client.reply(8)
        assert "subscribe" in await client.reply(9)


async def test_a_second_connect_is_refused(router: Router) -> None:
    """The connection goes on."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        assert (await client.refused("connect"))["code"] == 107
        assert await client.ask("ping") == {}


async def test_who_says_nothing_is_sent_away() -> None:
    """As stale."""
    async with (
        running_router(dev=True, hello_timeout_s=0.05) as router,
        CentrifugeClient(centrifuge_url(router), connect=False) as client,
    ):
        assert (await client.closed())[0] == 3502


@pytest.mark.parametrize(
    "headers",
    [("Sec-WebSocket-Protocol: centrifuge-json",), ("Sec-WebSocket-Protocol: ",), ()],
    ids=["json", "empty", "none"],
)
async def test_a_client_need_not_offer_the_subprotocol(router: Router, headers: tuple[str, ...]) -> None:
    """Some offer an empty one."""
    async with RawClient(router.addresses.ws_url) as client:
        status, answer, _ = await client.upgrade(*headers, path=PATH)
        assert status == 101
        assert answer.get("sec-websocket-protocol") == ("centrifuge-json" if "json" in "".join(headers) else None)
        await client.send(frame(TEXT, b'{"id": 1, "connect": {}}'))
        assert (await client.message())["connect"]["client"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (PATH, ("Sec-WebSocket-Protocol: centrifuge-protobuf",)),
        (f"{PATH}?format=protobuf", ()),
        (f"{PATH}?cf_protocol=protobuf", ()),
    ],
)
async def test_protobuf_is_turned_away_at_the_handshake(router: Router, path: str, headers: tuple[str, ...]) -> None:
    """With an answer that says what is spoken."""
    async with RawClient(router.addresses.ws_url) as client:
        status, _, body = await client.upgrade(*headers, path=path)
        assert status == 400
        assert b"JSON mode" in body


async def test_a_door_that_is_shut_is_not_there() -> None:
    """The setting `doors` says which are open."""
    async with running_router(dev=True, doors=()) as router, RawClient(router.addresses.ws_url) as client:
        status, _, body = await client.upgrade(path=PATH)
        assert status == 404
        assert PATH.encode() not in body


async def test_emulation_is_not_there(router: Router) -> None:
    """Only WebSocket is spoken: what a client tries when that fails is not found."""
    for path in ("/connection/http_stream", "/connection/sse", "/emulation", "/connection/webtransport"):
        async with RawClient(router.addresses.ws_url) as client:
            status, _, _ = await client.request(path=path)
            assert status == 404
    async with RawClient(router.addresses.ws_url) as client:  # as the official client begins HTTP streaming
        await client.send(b"POST /connection/http_stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.response()


# --- rooms


async def test_a_publication_reaches_who_has_subscribed(router: Router) -> None:
    """Its data is the event without its place, its offset the room's."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        subscribed = await client.ask("subscribe", channel=ROOM)
        assert await client.ask("publish", channel=ROOM, data=an_event(1, id="one", key="k")) == {}
        push = await client.push("pub")
    assert subscribed["recoverable"] is subscribed["positioned"] is True
    assert subscribed["offset"] == 0
    assert push["channel"] == ROOM
    assert push["pub"]["offset"] == 1
    assert push["pub"]["data"].pop("time")
    assert push["pub"]["data"] == {"id": "one", "kind": "app.step", "data": {"n": 1}, "key": "k"}


async def test_a_native_and_a_centrifuge_client_see_the_same_events(router: Router) -> None:
    """One history, one order."""
    async with (
        NativeClient(router.addresses.ws_url) as native,
        CentrifugeClient(centrifuge_url(router)) as client,
    ):
        await native.subscribe(ROOM)
        await client.ask("subscribe", channel=ROOM)
        for number in range(5):
            await native.ask("publish", room=ROOM, kind="app.step", data={"n": number})
            await client.ask("publish", channel=ROOM, data=an_event(100 + number))
        events = [(each["offset"], each["id"], each["data"]) for each in await native.events(10, ROOM)]
        pubs = await client.publications(10, ROOM)
        assert [(each["offset"], each["data"]["id"], each["data"]["data"]) for each in pubs] == events


async def test_subscribing_tells_the_state_and_the_position_in_data(router: Router) -> None:
    """From one turn of the room."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        session = {"kind": "session", "data": {"status": "started"}}
        await client.ask("publish", channel=ROOM, data=session)
        data = (await client.ask("subscribe", channel=ROOM))["data"]
        assert data["state"]["status"] == "started"
        assert (data["offset"], data["recovery"], data["replay"]) == (1, "fresh", 0)


async def test_subscribing_may_ask_for_kinds_and_for_the_last_events(router: Router) -> None:
    """In `data`: what the protocol itself has no word for."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await fill(client, 3)
        await client.ask("publish", channel=ROOM, data={"kind": "app.other", "data": {"n": 9}})
        options = {"kinds": ["app.step"], "history": 3, "state": False}
        subscribed = await client.ask("subscribe", channel=ROOM, data=options)
        assert numbers(subscribed["publications"]) == [2, 3]
        assert "state" not in subscribed["data"]
        assert "was_recovering" not in subscribed
        await client.ask("publish", channel=ROOM, data={"kind": "app.other", "data": {"n": 9}})
        await client.ask("publish", channel=ROOM, data=an_event(4))
        assert numbers(await client.publications(1, ROOM)) == [4]


async def test_a_filter_that_is_not_known_is_refused(router: Router) -> None:
    """Rather than that more is delivered than was asked for."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        for asked in ({"tf": {"op": "eq", "key": "a", "val": "b"}}, {"type": 1}, {"flag": 2}):
            assert (await client.refused("subscribe", channel=ROOM, **asked))["code"] == 107


async def test_who_recovers_gets_what_was_missed_in_the_answer(router: Router) -> None:
    """All of it: `recovered`. The position is where that begins, and each publication moves it."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await fill(client, 2)
        before = place(await client.ask("subscribe", channel=ROOM))
        await client.ask("unsubscribe", channel=ROOM)
        await fill(client, 3)
        again = await client.ask("subscribe", channel=ROOM, recover=True, **before)
        assert (again["was_recovering"], again["recovered"], again["offset"]) == (True, True, 2)
        assert [each["offset"] for each in again["publications"]] == [3, 4, 5]
        assert (again["data"]["recovery"], again["data"]["offset"]) == ("full", 5)
        await client.ask("publish", channel=ROOM, data=an_event(6))
        assert (await client.publications(1, ROOM))[0]["offset"] == 6


async def test_what_is_too_much_for_an_answer_follows_it(router: Router) -> None:
    """Nothing twice, and nothing left out; a client that is cut in between has the position to go on from."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        before = place(await client.ask("subscribe", channel="doc:1"))
        await client.ask("unsubscribe", channel="doc:1")
        await filled(router, "doc:1", 1, 400)
        again = await client.ask("subscribe", channel="doc:1", recover=True, **before)
        told = numbers(again["publications"])
        assert 0 < len(told) < 400
        assert again["recovered"] is True
        rest = await client.publications(400 - len(told), "doc:1")
        assert told + numbers(rest) == list(range(1, 401))


async def test_who_comes_back_into_many_rooms_with_much_to_recover_is_not_closed_as_slow(router: Router) -> None:
    """The answers come as the client takes them, in the order of its commands, whole, and without a gap or a repeat."""
    rooms = [f"doc:{number}" for number in range(60)]
    async with CentrifugeClient(centrifuge_url(router)) as client:
        before = {}
        for room in rooms:
            before[room] = place(await client.ask("subscribe", channel=room))
    for n in range(1, 4):
        await asyncio.gather(*(publish(router, room, "app.step", {"n": n, "x": "x" * 40_000}) for room in rooms))
    async with CentrifugeClient(centrifuge_url(router)) as client:
        recover = [{"channel": room, "recover": True, **before[room]} for room in rooms]
        await client.send(*({"id": 100 + number, "subscribe": each} for number, each in enumerate(recover)))
        for number, room in enumerate(rooms):
            answer = (await client.reply(100 + number))["subscribe"]
            assert answer["recovered"] is True
            assert numbers(answer["publications"]) == [1, 2, 3]
            await publish(router, room, "app.step", {"n": 4})
        for room in rooms:
            assert numbers(await client.publications(1, room)) == [4]


async def test_who_was_away_too_long_is_told(router: Router) -> None:
    """Another epoch: nothing is replayed, and the new position is in the answer."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await fill(client, 2)
        again = await client.ask("subscribe", channel=ROOM, recover=True, epoch="another", offset=1)
        assert (again["was_recovering"], again["recovered"], again["offset"]) == (True, False, 2)
        assert "publications" not in again
        assert again["data"]["recovery"] == "none"


async def test_what_is_partly_gone_is_not_recovered_and_the_rest_is_there() -> None:
    """`missing` says what is gone; in a subscription of the client's own and in a server-side one."""
    async with running_router(dev=True, history_events=3) as router:
        url = centrifuge_url(router)
        async with CentrifugeClient(url) as client:
            epoch = (await client.ask("subscribe", channel=ROOM))["epoch"]
            await client.ask("unsubscribe", channel=ROOM)
            await filled(router, ROOM, 1, 300)
            await filled(router, ROOM, 301, 320)
            again = await client.ask("subscribe", channel=ROOM, recover=True, epoch=epoch, offset=0)
            assert (again["was_recovering"], again["recovered"]) == (True, False)
            first = again["data"]["missing"]["to"] + 1
            assert 1 < first < 320
            told = numbers(again["publications"])
            told += numbers(await client.publications(321 - first - len(told), ROOM))
            assert told == list(range(first, 321))
        async with CentrifugeClient(url, subs={ROOM: {"epoch": epoch, "offset": 0}}) as client:
            sub = client.connected["subs"][ROOM]
            assert (sub["was_recovering"], sub["recovered"], sub["offset"]) == (True, False, first - 1)
            assert "publications" not in sub
            assert numbers(await client.publications(321 - first, ROOM)) == list(range(first, 321))


@pytest.mark.parametrize("epoch", [{"epoch": ""}, {}], ids=["empty", "none"])
async def test_who_recovers_without_an_epoch_has_recovered_nothing(router: Router, epoch: Message) -> None:
    """An offset alone names no place: the history may be another one by now."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await fill(client, 2)
        again = await client.ask("subscribe", channel=ROOM, recover=True, offset=1, **epoch)
        assert (again["was_recovering"], again["recovered"], again["offset"]) == (True, False, 2)
        assert "publications" not in again
        assert again["data"]["recovery"] == "none"
    async with CentrifugeClient(centrifuge_url(router), subs={"broadcast": {"offset": 0, **epoch}}) as client:
        sub = client.connected["subs"]["broadcast"]
        assert (sub["was_recovering"], sub["recovered"]) == (True, False)


async def test_offsets_that_will_not_come_are_told_as_a_message(router: Router) -> None:
    """Not as a publication: it moves no position, and is no gap to anybody."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        before = place(await client.ask("subscribe", channel=ROOM))
        await client.ask("unsubscribe", channel=ROOM)
        for number in range(1, 5):
            await client.ask("publish", channel=ROOM, data=an_event(number, delivery="latest"))
        again = await client.ask("subscribe", channel=ROOM, recover=True, **before)
        assert again["recovered"] is True
        assert numbers(again["publications"]) == [4]
        assert again["data"]["skipped"] == [{"from": 1, "to": 3, "reason": "conflated"}]
        await client.ask("unsubscribe", channel=ROOM)
        after = place(await client.ask("subscribe", channel=ROOM, data={"kinds": ["app.none"]}))
        for number in range(300):
            await publish(router, ROOM, "app.step", {"n": number})
        message = await client.push("message", ROOM)
        skipped = message["message"]["data"]["skipped"]
        assert (skipped["from"], skipped["reason"]) == (after["offset"] + 1, "filtered")


async def test_nobody_subscribes_twice(router: Router) -> None:
    """Not to a server-side subscription either."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await client.ask("subscribe", channel=ROOM)
        for room in (ROOM, "broadcast"):
            assert (await client.refused("subscribe", channel=room))["code"] == 105


async def test_unsubscribing_ends_what_comes_and_needs_no_subscription(router: Router) -> None:
    """An error would have the official clients connect anew."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await client.ask("subscribe", channel=ROOM)
        assert await client.ask("unsubscribe", channel=ROOM) == {}
        assert await client.ask("unsubscribe", channel=ROOM) == {}
        await client.ask("publish", channel=ROOM, data=an_event(1))
        assert await client.nothing_more() == []


async def test_subscribing_unsubscribing_and_subscribing_in_one_frame_ends_subscribed(router: Router) -> None:
    """As a client does whose user changes their mind."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await client.send(
            {"id": 50, "subscribe": {"channel": ROOM}},
            {"id": 51, "unsubscribe": {"channel": ROOM}},
            {"id": 52, "subscribe": {"channel": ROOM}},
        )
        replies = [await client.reply(52), *await client.nothing_more()]
        assert {reply["id"]: [*reply][1] for reply in replies} == {50: "error", 51: "unsubscribe", 52: "subscribe"}
        await client.ask("publish", channel=ROOM, data=an_event(1))
        assert numbers(await client.publications(1, ROOM)) == [1]


# --- server-side subscriptions


async def test_server_side_subscriptions_are_recovered_with_connect(router: Router) -> None:
    """And what was missed is in the answer."""
    url = centrifuge_url(router)
    async with CentrifugeClient(url) as client:
        before = place(client.connected["subs"]["broadcast"])
        await fill(client, 2, "broadcast")
        await client.publications(2, "broadcast")
    async with CentrifugeClient(url, subs={"broadcast": {**before, "offset": 1}}) as client:
        sub = client.connected["subs"]["broadcast"]
        assert (sub["was_recovering"], sub["recovered"], sub["offset"]) == (True, True, 1)
        assert numbers(sub["publications"]) == [2]


async def test_an_operator_subscribes_a_user_and_ends_it(guarded_router: Router, token: Callable[..., str]) -> None:
    """The client is told with pushes, and is not to come back by itself."""
    operator = Operator(guarded_router, token("ops", "admin"))
    async with CentrifugeClient(centrifuge_url(guarded_router), token("ann")) as client:
        assert (await operator.call("PUT", "/v1/users/ann/rooms/doc:7"))[0] == 200
        push = await client.push("subscribe")
        assert push["channel"] == "doc:7"
        assert push["subscribe"]["recoverable"] is True
        assert (await operator.call("DELETE", "/v1/users/ann/rooms/doc:7"))[0] == 200
        push = await client.push("unsubscribe")
        assert (push["channel"], push["unsubscribe"]["code"]) == ("doc:7", 2000)
        assert push["unsubscribe"]["reason"]


# --- publishing


async def test_what_is_no_event_is_refused_with_what_it_must_be(router: Router) -> None:
    """The protocol lets a client publish anything; a room takes events."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        for data in ("hello", {"n": 1}, {"kind": "app.step"}, {"kind": "app.step", "data": 1}):
            error = await client.refused("publish", channel=ROOM, data=data)
            assert error["code"] == 107
            assert "{kind, data" in error["message"]
        error = await client.refused("publish", channel=ROOM, data={"kind": "nodot", "data": {}})
        assert error["code"] == 107
        assert error["message"].startswith("invalid_event: ")


async def test_a_publication_with_an_id_is_taken_once(router: Router) -> None:
    """Sent again, it is answered as the first time, and nobody gets it twice."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await client.ask("subscribe", channel=ROOM)
        for _ in range(3):
            await client.ask("publish", channel=ROOM, data=an_event(1, id="once"))
        await client.ask("publish", channel=ROOM, data=an_event(2))
        assert numbers(await client.publications(2, ROOM)) == [1, 2]


async def test_rights_are_those_of_the_connections_token(guarded_router: Router, token: Callable[..., str]) -> None:
    """A token of a subscription opens nothing."""
    own = token("ann", rooms=("doc:*",), publish=("doc:1",))
    async with CentrifugeClient(centrifuge_url(guarded_router), own) as client:
        await client.ask("subscribe", channel="doc:2")
        admin = token("ops", "admin")
        assert (await client.refused("subscribe", channel="team:1", token=admin))["code"] == 103
        assert (await client.refused("publish", channel="doc:2", data=an_event(1)))["code"] == 103
        assert await client.ask("publish", channel="doc:1", data=an_event(1)) == {}
        for method in ("presence", "presence_stats", "history"):
            assert (await client.refused(method, channel="team:1"))["code"] == 103


# --- questions


async def test_presence_tells_the_connections_and_their_users(
    guarded_router: Router, token: Callable[..., str]
) -> None:
    """And its statistics how many there are of each."""
    url, anns = centrifuge_url(guarded_router), token("ann", rooms=("doc:*",))
    async with (
        CentrifugeClient(url, anns) as one,
        CentrifugeClient(url, anns) as two,
        CentrifugeClient(url, token("bob", rooms=("doc:*",))) as bob,
    ):
        for client in (one, two, bob):
            await client.ask("subscribe", channel="doc:1")
        users = {one.connected["client"]: "ann", two.connected["client"]: "ann", bob.connected["client"]: "bob"}
        presence = (await bob.ask("presence", channel="doc:1"))["presence"]
        assert presence == {id: {"client": id, "user": user} for id, user in users.items()}
        assert await bob.ask("presence_stats", channel="doc:1") == {"num_clients": 3, "num_users": 2}


async def test_history_goes_either_way_from_a_position_and_within_a_limit(router: Router) -> None:
    """Without a limit it is the position alone, with -1 all that one answer may hold."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await fill(client, 5)
        position = await client.ask("history", channel=ROOM)
        epoch = position["epoch"]
        assert position == {"epoch": epoch, "offset": 5}

        async def asked(**params: Any) -> list[int]:
            answer = await client.ask("history", channel=ROOM, **params)
            assert (answer["epoch"], answer["offset"]) == (epoch, 5)
            return numbers(answer["publications"])

        assert await asked(limit=-1) == [1, 2, 3, 4, 5]
        assert await asked(limit=2) == [1, 2]
        assert await asked(limit=2, reverse=True) == [5, 4]
        assert await asked(limit=2, since={"offset": 2, "epoch": epoch}) == [3, 4]
        assert await asked(limit=2, since={"offset": 4, "epoch": epoch}, reverse=True) == [3, 2]
        assert await asked(limit=-1, since={"offset": 5}) == []


async def test_a_history_since_another_epoch_is_unrecoverable(router: Router) -> None:
    """Its offsets mean nothing any more."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await fill(client, 1)
        error = await client.refused("history", channel=ROOM, limit=1, since={"offset": 1, "epoch": "x"})
        assert (error["code"], error["temporary"]) == (112, False)


async def test_a_room_that_was_never_used_is_an_unknown_channel(router: Router) -> None:
    """To all that asks."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        for method in ("presence", "presence_stats", "history"):
            assert (await client.refused(method, channel="doc:none"))["code"] == 102


async def test_calls_ask_for_the_state_and_acknowledge(router: Router) -> None:
    """`rpc`, with the fields of the native protocol as data; a publication that way is answered with its receipt."""
    async with CentrifugeClient(centrifuge_url(router)) as client:

        async def call(name: str, **data: Any) -> Any:
            return (await client.ask("rpc", method=name, data=data))["data"]

        alert = {"kind": "alert", "data": {"severity": "critical", "title": "t"}, "event_id": "a"}
        receipt = await call("publish", room=ROOM, **alert)
        assert receipt.pop("epoch")
        assert receipt == {"room": ROOM, "offset": 1, "event_id": "a", "duplicate": False}
        assert [each["event_id"] for each in (await call("state", room=ROOM))["state"]["alerts"]] == ["a"]
        assert await call("ack", room=ROOM, event_id="a") == {"room": ROOM, "event_id": "a"}
        assert (await call("state", room=ROOM))["state"]["alerts"] == []
        assert (await client.refused("rpc", method="ack", data={"room": ROOM, "event_id": "a"}))["code"] == 102
        assert (await client.refused("rpc", method="fly", data={}))["code"] == 104
        assert (await client.refused("rpc", method="state", data=[]))["code"] == 107


async def test_a_send_is_a_call_that_nobody_answers(router: Router) -> None:
    """Whatever becomes of it."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await client.ask("subscribe", channel=ROOM)
        for data in ({"room": ROOM, **an_event(1)}, {"room": ROOM}, {"room": "no room"}):
            await client.send({"send": {"data": {"method": "publish", "data": data}}})
        assert numbers(await client.publications(1, ROOM)) == [1]
        assert await client.nothing_more() == []


async def test_an_unknown_method_is_not_found(router: Router) -> None:
    """Tokens of subscriptions are refreshed by nobody."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        assert (await client.refused("sub_refresh", channel=ROOM, token="t"))["code"] == 104
        assert (await client.refused("fly"))["code"] == 104


# --- tokens


async def test_a_refresh_is_answered_with_the_next_one(guarded_router: Router, token: Callable[..., str]) -> None:
    """A token of somebody else is refused, and the connection is as it was."""
    async with CentrifugeClient(centrifuge_url(guarded_router), token("ann", ttl_s=5)) as client:
        refreshed = await client.ask("refresh", token=token("ann", ttl_s=3600))
        assert refreshed["expires"]
        assert 3590 < refreshed["ttl"] <= 3600
        assert (await client.refused("refresh", token=token("bob")))["code"] == 103
        assert (await client.refused("refresh", token=token("ann", ttl_s=-1)))["code"] == 109


async def test_a_connection_does_not_outlive_its_token(token: Callable[..., str]) -> None:
    """It ends with a code after which the clients come back with a new one."""
    async with (
        running_router(token_grace_s=0, token_warning_s=0) as router,
        CentrifugeClient(centrifuge_url(router), token("ann", ttl_s=1)) as client,
    ):
        assert client.connected["ttl"] == 1
        assert (await client.closed())[0] == 3005


# --- who comes and who goes


async def test_who_asks_is_told_who_comes_and_who_goes(router: Router) -> None:
    """Nobody is told of itself, nor is who did not ask."""
    url = centrifuge_url(router)
    async with CentrifugeClient(url) as listening, CentrifugeClient(url) as other:
        info = {"client": other.connected["client"], "user": "anonymous"}
        await listening.ask("subscribe", channel=ROOM, join_leave=True)
        await other.ask("subscribe", channel=ROOM)
        assert await listening.push() == {"channel": ROOM, "join": {"info": info}}
        await other.ask("unsubscribe", channel=ROOM)
        assert await listening.push() == {"channel": ROOM, "leave": {"info": info}}
        assert await other.nothing_more() == await listening.nothing_more() == []


async def test_native_clients_may_ask_for_it_too(router: Router) -> None:
    """`presence` of `subscribe`; the messages are `joined` and `left`."""
    async with NativeClient(router.addresses.ws_url) as native:
        await native.subscribe(ROOM, presence=True)
        async with CentrifugeClient(centrifuge_url(router)) as client:
            await client.ask("subscribe", channel=ROOM)
            about = {"room": ROOM, "user": "anonymous", "connection": client.connected["client"]}
            assert await native.next() == {"type": "joined", **about}
        assert await native.next() == {"type": "left", **about}


# --- several commands, and frames that hold none


async def test_several_commands_may_share_a_frame(router: Router) -> None:
    """Each is answered; one that makes no sense spoils none of the others."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await client.send(
            {"id": 50, "ping": {}},
            {"id": 51, "subscribe": {"channel": "no room"}},
            {"id": 52, "publish": {"channel": ROOM, "data": "no event"}},
            {"id": 53, "ping": {}},
        )
        assert "ping" in await client.reply(53)
        replies = {each["id"]: each for each in await client.nothing_more()}
        assert replies.keys() == {50, 51, 52}
        assert replies[51]["error"]["code"] == replies[52]["error"]["code"] == 107


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "[]",
        '{"id": 1}',
        '{"subscribe": {"channel": "doc:1"}}',
        '{"id": 1, "subscribe": 7}',
        "\n".join(["{}"] * 257),
        '{"id": 1, "fly": 1e999}',
    ],
    ids=["no JSON", "no object", "no method", "no id", "wrong type", "too many", "no number"],
)
async def test_a_frame_that_is_no_command_ends_the_connection(router: Router, text: str) -> None:
    """With a code after which the client does not come back: it would do it again."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        (state,) = router.registry.states
        await client.socket.send(text)
        assert (await client.closed())[0] == 3501
        assert state.restarts == 0


async def test_a_binary_frame_ends_the_connection(router: Router) -> None:
    """It is Protobuf, which is not spoken here."""
    async with RawClient(router.addresses.ws_url) as client:
        await client.upgrade(path=PATH)
        await client.send(frame(BINARY, b"\x01"))
        assert await client.closed() == 3501


# --- pings


async def test_both_sides_ping_and_a_pong_is_not_answered() -> None:
    """The empty command, each way; a client that answers it stays, and one that does not is cut."""
    async with running_router(dev=True, heartbeat_s=0.1, pong_timeout_s=0.1) as router:
        url = centrifuge_url(router)
        async with CentrifugeClient(url) as client, CentrifugeClient(url) as silent:
            assert client.connected["ping"] == 1
            async with asyncio.timeout(10):
                while client.pings < 3:
                    await client.ask("ping")
                    await asyncio.sleep(0.02)
            assert await client.nothing_more() == []
            await wait_until(lambda: len(router.registry) == 1, "the silent one is gone")
            silent._kept.clear()


# --- how one parts


async def test_an_operator_closes_a_connection_for_good(guarded_router: Router, token: Callable[..., str]) -> None:
    """3503: force disconnect."""
    operator = Operator(guarded_router, token("ops", "admin"))
    async with CentrifugeClient(centrifuge_url(guarded_router), token("ann")) as client:
        assert (await operator.call("DELETE", f"/v1/connections/{client.connected['client']}"))[0] == 200
        assert (await client.closed())[0] == 3503


async def test_one_connection_too_many_is_to_come_back_later(token: Callable[..., str]) -> None:
    """3013: with back-off."""
    async with running_router(max_connections_per_user=1) as router:
        url = centrifuge_url(router)
        async with CentrifugeClient(url, token("ann")), CentrifugeClient(url, connect=False) as second:
            await second.send({"id": 1, "connect": {"token": token("ann")}})
            assert (await second.closed())[0] == 3013


async def test_a_command_over_the_rate_is_refused_for_now(token: Callable[..., str]) -> None:
    """111, and temporary."""
    async with (
        running_router(commands_per_s=1, commands_burst=2) as router,
        CentrifugeClient(centrifuge_url(router), token("ann")) as client,
    ):
        await client.ask("ping")
        await client.ask("ping")
        error = await client.refused("ping")
        assert (error["code"], error["temporary"]) == (111, True)


async def test_a_client_that_does_not_read_is_closed_and_resumes() -> None:
    """3008, when its outbox is full; what it missed is there when it comes back."""
    async with running_router(dev=True, outbox_bytes=65_536, stall_s=30.0) as router:
        async with RawClient(router.addresses.ws_url, receive_bytes=4096) as slow:
            await slow.upgrade(path=PATH)
            await slow.send(frame(TEXT, b'{"id": 1, "connect": {}}\n{"id": 2, "subscribe": {"channel": "doc:1"}}'))
            await slow.message()
            subscribed = (await slow.message())["subscribe"]
            slow.stop_reading()
            text = "x" * 20_000
            async with NativeClient(router.addresses.ws_url) as writer:
                for number in range(400):
                    await writer.ask("publish", room="doc:1", kind="app.step", data={"n": number, "text": text})
                    if len(router.registry) == 1 or any(state.closed for state in router.registry.states):
                        break
                else:
                    raise AssertionError("it was not closed")
                last = number
            slow.resume_reading()
            assert await slow.closed() in (3008, None)  # the kernel may have had no room for the close frame
        async with CentrifugeClient(centrifuge_url(router)) as client:
            again = await client.ask("subscribe", channel="doc:1", recover=True, **place(subscribed))
            assert again["recovered"] is True
            told = numbers(again.get("publications", []))
            told += numbers(await client.publications(last + 1 - len(told), "doc:1"))
            assert told == list(range(last + 1))


# --- failures


async def test_a_connection_that_fails_under_an_open_socket_goes_on(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command on which it failed is answered; nothing that is published meanwhile is lost or repeated."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await client.ask("subscribe", channel=ROOM)
        await fill(client, 2)
        fault = fail_on_message(monkeypatch, Connection, Frame, when=lambda frame: "presence" in frame.text)
        error = await client.refused("presence", channel=ROOM)
        assert fault.struck == 1
        assert (error["code"], error["temporary"]) == (100, True)
        await fill(client, 3)
        assert [each["offset"] for each in await client.publications(5, ROOM)] == [1, 2, 3, 4, 5]
        assert await client.nothing_more() == []


async def test_a_subscription_on_which_the_connection_fails_is_refused_for_now(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And may be tried again."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        fail_on_message(monkeypatch, Connection, Joined)
        error = await client.refused("subscribe", channel=ROOM)
        assert (error["code"], error["temporary"]) == (100, True)
        await client.ask("subscribe", channel=ROOM)
        await fill(client, 1)
        assert numbers(await client.publications(1, ROOM)) == [1]


async def test_a_room_that_fails_is_noticed_by_nobody(router: Router) -> None:
    """Its subscribers go on where they were."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        await client.ask("subscribe", channel=ROOM, join_leave=True)
        await fill(client, 2)
        room: Mailbox = router.directory.room(ROOM)
        crash(room)
        await fill(client, 2)
        assert [each["offset"] for each in await client.publications(4, ROOM)] == [1, 2, 3, 4]
        assert await client.nothing_more() == []


async def test_a_connection_that_is_given_up_has_the_client_come_back(router: Router) -> None:
    """3004; its position is good."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        (state,) = router.registry.states
        closed = asyncio.create_task(client.closed())
        while not closed.done():
            crash(state.mailbox)
            await asyncio.sleep(0.01)
        assert (await closed)[0] == 3004


async def test_events_may_be_compressed() -> None:
    """Where the setting `compression` has this door, and the client can read it."""
    async with (
        running_router(dev=True, compression=("centrifuge",)) as compressing,
        CentrifugeClient(centrifuge_url(compressing), compression="deflate") as client,
    ):
        assert client.socket.protocol.extensions
        await client.ask("subscribe", channel=ROOM)
        text = json.dumps(list(range(300)))
        await client.ask("publish", channel=ROOM, data={"kind": "app.step", "data": {"n": text}})
        assert numbers(await client.publications(1, ROOM)) == [text]
