"""The description of the WebSocket protocol: valid, complete, and true of what a real router takes and says."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest

from actors.codec import BadMessage
from actors.errors import CloseCode, Refusal
from actors.events import draft
from actors.identity import SUPERVISOR_ROOM
from server.app import Router
from server.http.asyncapi import describe
from server.protocols.native import COMMANDS, MESSAGES, NativeCodec

from ..conftest import running_router
from ..docs.pages import REFERENCE, steps
from ..native_client import WAIT_S, Message, NativeClient


class Recording(NativeClient):
    """A client that keeps all that was said, by it and to it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.said: list[Message] = []
        self.heard: list[Message] = []

    async def send(self, type: str, **fields: Any) -> None:
        """Send a message, and keep it."""
        self.said.append({"type": type, **fields})
        await super().send(type, **fields)

    async def _read(self) -> Message:
        message = await super()._read()
        self.heard.append(message)
        return message


class Judge:
    """Holds messages against the description: fields that it does not name are wrong, but in what publishers make.

    Args:
        strict: Whether fields that are not named are wrong.
    """

    def __init__(self, *, strict: bool) -> None:
        self._document = copy.deepcopy(describe())
        for name, schema in self._document["components"]["schemas"].items():
            if strict and "properties" in schema and not name.startswith("data."):
                schema["additionalProperties"] = False

    def complaints(self, side: str, message: Message) -> list[str]:
        """Return what is wrong with a message of `client` or `router`."""
        described = self._document["components"]["messages"].get(f"{side}.{message['type']}")
        if described is None:
            return [f"there is no {side}.{message['type']}"]
        schema = {**self._document, **described["payload"]}
        errors = jsonschema.Draft7Validator(schema).iter_errors(message)
        return [f"{error.json_path} of {message}: {error.message}" for error in errors]


async def test_a_router_gives_its_description_to_everybody(guarded_router: Router) -> None:
    """It is the one of this version, whole."""
    async with (
        asyncio.timeout(WAIT_S),
        aiohttp.ClientSession() as session,
        session.get(f"{guarded_router.addresses.api_url}/asyncapi.json") as response,
    ):
        assert response.status == 200
        assert await response.json() == json.loads(json.dumps(describe()))


def test_the_description_is_valid(node_modules: Path) -> None:
    """AsyncAPI's own schema takes it, and each of its references leads somewhere."""
    document = describe()
    schema = json.loads((node_modules / "@asyncapi" / "specs" / "schemas" / "3.0.0.json").read_text())
    assert list(jsonschema.Draft7Validator(schema).iter_errors(document)) == []
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        found: Any = document
        for step in reference.split("/"):
            found = found[step]


def test_every_message_and_close_code_is_described() -> None:
    """Each has an operation, and each field some words; who sends it is right."""
    document = describe()
    tags = {side: {each.__struct_config__.tag for each in types} for side, types in _SIDES.items()}
    assert document["components"]["messages"].keys() == {f"{side}.{tag}" for side in tags for tag in tags[side]}
    told = {
        message["$ref"].rpartition("/")[2]
        for operation in document["operations"].values()
        for message in (*operation["messages"], *operation.get("reply", {}).get("messages", ()))
    }
    assert told == document["components"]["messages"].keys()
    (channel,) = document["channels"].values()
    assert channel["x-close-codes"].keys() == {str(code.value) for code in CloseCode}


_SIDES = {"client": COMMANDS, "router": MESSAGES}


async def test_whatever_a_router_takes_and_says_is_as_described(token: Callable[..., str]) -> None:
    """Every message there is, said by a real router over a real socket; fields that are not described are wrong."""
    async with running_router(token_warning_s=3000.0) as router:
        url = router.addresses.ws_url
        ann = Recording(url, token("ann", rooms=("*",), publish=("*",), ttl_s=2000))
        operator = Recording(url, token("ops", "admin", publish=("*",)))
        async with ann, operator:
            await ann.next("notice")
            await ann.subscribe("team:1", presence=True, history=3)
            await operator.subscribe("team:1")
            await ann.next("joined")
            for number, (kind, data) in enumerate(_EVENTS):
                answer = await operator.ask("publish", room="team:1", kind=kind, data=data, event_id=f"e{number}")
                assert answer["type"] == "published", answer
            await operator.ask("ack", room="team:1", event_id="e1")
            await operator.send("publish", room="team:1", kind="a.b", data={}, key="k", delivery="latest")
            await ann.events(len(_EVENTS) + 2)
            for ask in ("state", "history", "presence"):
                await ann.ask(ask, room="team:1")
            await ann.ask("presence", room="team:1", connections=True)
            await ann.ask("history", room="team:1", after=2, limit=2)
            await ann.ask("subscribe", room="team:1")
            await operator.ask("unsubscribe", room="team:1")
            await ann.next("left")
            await operator.ask("subscribe", room=SUPERVISOR_ROOM, history=5)
            position = {"epoch": answer["epoch"], "offset": 1}
            await operator.subscribe("team:1", after=position, kinds=["a.b"])
            await operator.next("skipped")
            await ann.ask("ping")
            await ann.ask("refresh", token=token("ann", rooms=()))
            await ann.next("revoked")
            await ann.ask("nonsense")
            resumed = Recording(url, token("ann", rooms=("*",)), resume={"team:1": position, "team:2": position})
            async with resumed:
                await resumed.nothing_more()
    judge = Judge(strict=True)
    clients = (ann, operator, resumed)
    heard = [message for client in clients for message in client.heard]
    said = [message for client in clients for message in client.said if message["type"] != "nonsense"]
    for side, messages in (("client", said), ("router", heard)):
        assert [found for message in messages for found in judge.complaints(side, message)] == []
    assert {message["type"] for message in said} == {each.__struct_config__.tag for each in COMMANDS}
    assert {message["type"] for message in heard} == {each.__struct_config__.tag for each in MESSAGES}


_EVENTS: list[tuple[str, Message]] = [
    ("notification", {"level": "info", "message": "hello", "more": 1}),
    ("alert", {"severity": "critical", "title": "disk full"}),
    ("session", {"status": "started", "owner": "ann"}),
    ("progress", {"current": 3, "total": 10, "unit": "files"}),
    ("session", {"status": "completed", "result": {"files": 10}}),
    ("system", {"status": "degraded", "component": "mail"}),
    ("build.finished", {"artifact": "a.tar"}),
]


@pytest.mark.parametrize("wrong", [False, True])
def test_what_is_described_as_wrong_is_what_the_router_refuses(wrong: bool) -> None:
    """Commands at their bounds, on either side, are judged alike by the description and by the router's code."""
    judge = Judge(strict=False)
    for command in _WRONG if wrong else _RIGHT:
        complaints = judge.complaints("client", command)
        assert bool(complaints) is wrong, complaints or command
        try:
            NativeCodec().decode(json.dumps(command))
            if command["type"] == "publish":
                optional = {name: command[name] for name in ("key", "delivery", "ack") if name in command}
                id = command.get("event_id", "e")
                draft(command["kind"], command["data"], event_id=id, time_ms=0, **optional)
        except (BadMessage, Refusal):
            assert wrong, command
        else:
            assert not wrong, command


_PUBLISH: Message = {"type": "publish", "room": "team:1", "kind": "a.b", "data": {}}
_SUBSCRIBE: Message = {"type": "subscribe", "room": "team:1"}
_HISTORY: Message = {"type": "history", "room": "team:1"}
_ALERT: Message = {**_PUBLISH, "kind": "alert", "data": {"severity": "high", "title": ""}}
_RIGHT: list[Message] = [
    {"type": "hello"},
    {"type": "hello", "token": "x", "client": {"name": "n", "more": 1}, "resume": {"a:b": {"epoch": "", "offset": 0}}},
    *({**_SUBSCRIBE, "room": room} for room in ("broadcast", "system", "a:b", "team:" + "x" * 200)),
    {**_SUBSCRIBE, "id": "x", "kinds": ["a" * 200] * 32, "history": 0, "state": False, "more": [1]},
    {**_HISTORY, "limit": 1},
    {**_HISTORY, "limit": 300, "after": 0},
    {**_PUBLISH, "event_id": "e" * 200, "key": "k", "delivery": "ephemeral"},
    {**_ALERT, "ack": "none"},
    {**_PUBLISH, "kind": "progress", "data": {"current": 0, "percent": 100, "message": None}},
    {**_PUBLISH, "kind": "session", "data": {"status": "failed", "result": [1]}},
]
_WRONG: list[Message] = [
    {"type": "subscribe"},
    *(
        {**_SUBSCRIBE, "room": room}
        for room in ("", "team", "Team:1", "team:", "team:a b", "team:*", "team:" + "x" * 201)
    ),
    *({**_SUBSCRIBE, "kinds": kinds} for kinds in ([], ["a"] * 33, ["a" * 201], "a.b")),
    {**_SUBSCRIBE, "history": -1},
    {**_SUBSCRIBE, "id": 1.5},
    {**_SUBSCRIBE, "after": {"epoch": "x", "offset": -1}},
    {**_SUBSCRIBE, "after": {"epoch": "x"}},
    {**_HISTORY, "limit": 0},
    {**_HISTORY, "limit": 301},
    {"type": "ack", "room": "team:1"},
    {"type": "refresh"},
    *(
        {**_PUBLISH, "kind": kind}
        for kind in ("", "word", "A.b", "a.", "alert", "alert.acknowledged", "alert.escalated")
    ),
    {**_PUBLISH, "data": []},
    {**_PUBLISH, "event_id": ""},
    {**_PUBLISH, "key": "k" * 201},
    {**_PUBLISH, "delivery": "soon"},
    {**_ALERT, "ack": "yes"},
    {**_ALERT, "data": {"severity": "odd", "title": ""}},
    {**_PUBLISH, "kind": "progress", "data": {"current": -1}},
    {**_PUBLISH, "kind": "progress", "data": {"current": 1, "percent": 101}},
    {**_PUBLISH, "kind": "session", "data": {}},
]


def test_json_in_the_protocol_reference_is_as_described() -> None:
    """Every line of the `json` blocks of protocol.md is a message of a client or of the router."""
    judge = Judge(strict=True)
    for block in steps(REFERENCE / "protocol.md"):
        for line in block.text.splitlines() if block.language == "json" else ():
            message = json.loads(line)
            sides = [side for side in ("client", "router") if not judge.complaints(side, message)]
            assert sides, (judge.complaints("client", message), judge.complaints("router", message))
