"""Any command in any state: each gets the one answer that the protocol has for it, and a close is the last word."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.errors import ErrorCode, Refusal
from actors.identity import Identity
from actors.ports import ConnectionLimits
from actors.rooms import RoomLimits

from .client import Client, Hall
from .fake_clock import settled
from .house import House
from .protocol_model import BURST, HELLO_S, MOST_ROOMS, PER_S, ProtocolModel

LIMITS = ConnectionLimits(rooms=MOST_ROOMS, commands_per_s=PER_S, commands_burst=BURST, hello_s=HELLO_S)
FOR_EVER_S = 1e9
ROOM_LIMITS = RoomLimits(history_s=FOR_EVER_S, idle_s=FOR_EVER_S, dedupe_s=FOR_EVER_S, escalate_after_s=0)
REFUSED = {
    "old": Refusal(ErrorCode.TOKEN_EXPIRED, "it is old"),
    "later": Refusal(ErrorCode.BUSY, "no keys yet"),
}
SILENT = {"published", "acknowledged", "unsubscribed"}
"""Answers that a command without an id does not get."""

rooms = st.sampled_from(["team:1", "team:2", "team:3", "session:1", "other:1", "broadcast", "user:ann"])
event_ids = st.sampled_from(["a", "b"])
positions = st.fixed_dictionaries({"epoch": st.just("e"), "offset": st.sampled_from([0, 1, 10**30])})
with_id = st.booleans()
COMMANDS = st.one_of(
    st.tuples(st.just("ping"), st.just({})),
    st.tuples(
        st.just("subscribe"),
        st.fixed_dictionaries(
            {"room": rooms},
            optional={
                "after": positions,
                "history": st.integers(0, 3),
                "kinds": st.just(["alert"]),
                "state": st.booleans(),
                "later_version": st.just(1),
            },
        ),
    ),
    st.tuples(st.just("unsubscribe"), st.fixed_dictionaries({"room": rooms})),
    st.tuples(st.just("state"), st.fixed_dictionaries({"room": rooms})),
    st.tuples(st.just("presence"), st.fixed_dictionaries({"room": rooms})),
    st.tuples(
        st.just("history"),
        st.fixed_dictionaries({"room": rooms}, optional={"after": st.sampled_from([-1, 0, 3, 10**30])}),
    ),
    st.tuples(st.just("ack"), st.fixed_dictionaries({"room": rooms, "event_id": event_ids})),
    st.tuples(
        st.just("refresh"), st.fixed_dictionaries({"token": st.sampled_from(["ann", "bob", "unknown", "later"])})
    ),
)
EVENTS = st.one_of(
    st.tuples(st.just("app.thing"), st.just({"x": 1})),
    st.tuples(st.just("nodot"), st.just({})),
    st.tuples(st.just("alert"), st.sampled_from([{"severity": "critical", "title": "t"}, {"severity": "critical"}])),
    st.tuples(st.just("progress"), st.just({"current": 1})),
    st.tuples(st.just("session"), st.sampled_from([{"status": "started", "owner": "ann"}, {"status": "completed"}])),
)
NO_COMMAND = st.one_of(
    st.sampled_from(
        ["", "nonsense", "[]", "5", '{"id": 1', '{"type": "ping", "id": []}', '{"type": "ping", "id": 1.5}']
    ),
    st.text(max_size=20).filter(lambda text: not text.lstrip().startswith("{")),
)
WRONG = st.sampled_from(
    [
        {"type": "nope"},
        {"type": 5},
        {},
        {"type": "subscribe"},
        {"type": "subscribe", "room": "no room"},
        {"type": "subscribe", "room": "team:1", "after": {"epoch": "e", "offset": -1}},
        {"type": "subscribe", "room": "team:1", "kinds": []},
        {"type": "unsubscribe", "room": 5},
        {"type": "publish", "room": "team:1", "kind": "a.b", "data": []},
        {"type": "publish", "room": "team:1", "data": {}},
        {"type": "history", "room": "team:1", "limit": 0},
        {"type": "history", "room": "team:1", "after": 1, "before": 2},
        {"type": "ack", "room": "team:1"},
        {"type": "refresh"},
        {"type": "hello", "token": 5},
        {"type": "hello", "resume": {"no room": {"epoch": "e", "offset": 1}}},
    ]
)


class Conversation(RuleBasedStateMachine):
    """One client and its Connection actor, next to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.ids = 0
        self.logs = structlog.testing.LogCapture()
        self.before = structlog.get_config()["processors"]
        structlog.configure(processors=[self.logs])

    @initialize(
        role=st.sampled_from(["user", "user", "admin", "service"]),
        clumsy=st.sampled_from([False, False, True]),
        polite=st.sampled_from([True, True, True, False]),
    )
    def connect(self, role: str, clumsy: bool, polite: bool) -> None:
        """Who is not clumsy makes no mistakes of form, and so comes farther; who is polite says hello first."""
        self.clumsy = clumsy
        self.model = ProtocolModel(role)
        self.runner.run(self._connect(role))
        if polite:
            self.hello("ann", True)

    async def _connect(self, role: str) -> None:
        self.hall = Hall(LIMITS, house=House(ROOM_LIMITS))
        rights = {"rooms": ("team:*",), "publish": ("team:*", "session:*")} if role == "user" else {}
        self.hall.authenticator.tokens.update(REFUSED)
        for token in ("ann", "bob"):
            self.hall.authenticator.tokens[token] = Identity(user=token, role=role, **rights)
        self.client = self.hall.client()
        await settled()

    @precondition(lambda self: self.clumsy or not self.model.welcomed)
    @rule(token=st.sampled_from(["ann", "ann", "ann", "later", "unknown", "old"]), with_id=with_id)
    def hello(self, token: str, with_id: bool) -> None:
        self.say("hello", {"token": token}, with_id)

    @rule(command=COMMANDS, with_id=with_id)
    def command(self, command: tuple[str, dict[str, Any]], with_id: bool) -> None:
        self.say(*command, with_id)

    @rule(room=rooms, with_id=with_id)
    def subscribe(self, room: str, with_id: bool) -> None:
        self.say("subscribe", {"room": room}, with_id)

    @precondition(lambda self: self.model.welcomed)
    @rule(count=st.sampled_from([BURST // 2, BURST]))
    def burst(self, count: int) -> None:
        for _ in range(count):
            self.say("ping", {}, True)

    @rule(room=rooms, event=EVENTS, event_id=event_ids, with_id=with_id)
    def publish(self, room: str, event: tuple[str, dict[str, Any]], event_id: str, with_id: bool) -> None:
        kind, data = event
        known = self.model.rooms.get(room)
        first = None if known is None else known.events.get(event_id)
        answer = self.say("publish", {"room": room, "kind": kind, "data": data, "event_id": event_id}, with_id)
        if answer is not None and answer["type"] == "published":
            assert answer["duplicate"] is (first is not None)
            assert answer["offset"] == (self.model.rooms[room].top if first is None else first)

    @precondition(lambda self: self.clumsy)
    @rule(message=WRONG, with_id=with_id)
    def wrong_field(self, message: dict[str, Any], with_id: bool) -> None:
        self.ids += with_id
        self._bad(json.dumps({**message, **({"id": self.ids} if with_id else {})}), self.ids if with_id else None)

    @precondition(lambda self: self.clumsy)
    @rule(text=NO_COMMAND)
    def not_json(self, text: str) -> None:
        self.no_command(text)

    def no_command(self, text: str) -> None:
        self._bad(text, None)

    @precondition(lambda self: self.clumsy and self.model.welcomed)
    @rule(gap_s=st.sampled_from([6.6, 6.7]))
    def ten_mistakes(self, gap_s: float) -> None:
        """Just within a minute, or just not."""
        for _ in range(10):
            self.no_command("nonsense")
            self.time_passes(gap_s)

    @rule(seconds=st.sampled_from([0.1, 4.9, 5.1, 30.0]))
    def later(self, seconds: float) -> None:
        self.time_passes(seconds)

    def time_passes(self, seconds: float) -> None:
        self.runner.run(self.hall.clock.advance(seconds))
        self.model.advance(seconds)

    @precondition(lambda self: self.model.closed is None)
    @rule()
    def somebody_publishes(self) -> None:
        self.runner.run(self._publish_from_elsewhere())
        self.model._open("team:1").top += 1

    async def _publish_from_elsewhere(self) -> None:
        await self.hall.house.publish("team:1")

    def say(self, type: str, fields: dict[str, Any], with_id: bool) -> dict[str, Any] | None:
        """Say it; the answer, if there has to be one, is the model's."""
        closed = self.model.closed is not None
        self.ids += with_id
        id = self.ids if with_id else None
        told = self.hear(json.dumps({"type": type, **fields, **({"id": id} if with_id else {})}))
        if closed:
            assert told == []
            return None
        expected = self.model.hello(**fields) if type == "hello" else self.model.command(type, fields)
        answers = [message for message in told if message["type"] not in ("event", "skipped")]
        if not with_id and expected in SILENT:
            assert answers == []
            return None
        (answer,) = answers
        self.check(answer, expected, id)
        return answer

    def _bad(self, text: str, id: int | None) -> None:
        closed = self.model.closed is not None
        told = self.hear(text)
        if closed:
            assert told == []
            return
        expected = self.model.bad()
        (answer,) = told
        self.check(answer, "unknown_type" if answer.get("code") == "unknown_type" else expected, id)

    def check(self, answer: dict[str, Any], expected: str, id: int | None) -> None:
        """Hold an answer against what it has to be."""
        if answer["type"] == "error":
            assert answer["code"] == expected, answer
            assert answer["temporary"] is (expected in ("rate_limited", "busy", "journal_unavailable", "internal"))
            assert answer["message"]
            assert ("retry_after_ms" in answer) == (expected == "rate_limited")
        else:
            assert answer["type"] == expected, answer
        assert answer.get("id") == id, answer

    def hear(self, text: str) -> list[dict[str, Any]]:
        """Let a frame come in; return what is written because of it."""
        return self.runner.run(self._hear(self.client, text))

    async def _hear(self, client: Client, text: str) -> list[dict[str, Any]]:
        before = len(client.wire.told)
        client.put(text)
        await settled()
        assert client.wire.under_way == 0, "it counts as under way for ever"
        return client.wire.told[before:]

    @invariant()
    def is_as_open_as_the_model(self) -> None:
        if not hasattr(self, "client"):
            return
        closed = self.client.wire.closed
        assert (None if closed is None else closed[0]) == self.model.closed
        if closed is None and self.model.welcomed:
            assert set(self.client.state.subscriptions) == self.model.joined

    def teardown(self) -> None:
        try:
            if hasattr(self, "hall"):
                self.runner.run(self._end())
        finally:
            self.runner.close()
            structlog.configure(processors=self.before)
        failed = [line for line in self.logs.entries if line["event"] in ("actor_failed", "actor_given_up")]
        assert not failed, failed[0]

    async def _end(self) -> None:
        await self.client.hang_up()
        await self.hall.end()


TestConversation = pytest.mark.usefixtures("nothing_left")(Conversation.TestCase)
TestConversation.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
