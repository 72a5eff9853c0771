"""One client of a router without sockets: what it says goes to a supervised Connection actor, what it hears is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from actors import replies
from actors.child import ChildSpec
from actors.connection import Connection
from actors.errors import CloseCode, ErrorCode, Refusal
from actors.identity import ANONYMOUS, Identity
from actors.ledger import ConnectionState
from actors.mailbox import Exit, Mailbox
from actors.messages import Frame, Shutdown, StartChild, WireClosed
from actors.outbox import Outbox
from actors.ports import ConnectionLimits, ConnectionPorts
from actors.streams import leave_all
from actors.supervisor import SupervisorStart
from server.protocols.native import NativeCodec

from .fake_clock import settled
from .fake_wire import FakeWire
from .house import House

__all__ = ["Client", "FakeAdmission", "FakeAuthenticator", "Hall", "fail_to_encode_once"]

CODEC = NativeCodec()
Reply = Callable[[Identity | Refusal], None]


class FakeAuthenticator:
    """`actors.ports.Authenticator` whose tokens are names in a table; it answers at once, or later when `slow`."""

    def __init__(self) -> None:
        self.tokens: dict[str, Identity | Refusal] = {}
        self.slow = False
        self.waiting: list[Callable[[], None]] = []

    def check(self, token: str, reply: Reply) -> None:
        outcome = self.tokens.get(token, Refusal(ErrorCode.UNAUTHENTICATED, "the token is unknown"))
        if self.slow:
            self.waiting.append(lambda: reply(outcome))
        else:
            reply(outcome)


class FakeAdmission:
    """`actors.ports.Admission` that lets in until told otherwise."""

    refusal: str | None = None

    def __init__(self) -> None:
        self.entered: list[tuple[str, str]] = []

    def enter(self, connection: str, identity: Identity) -> str | None:
        self.entered.append((connection, identity.user))
        return self.refusal


class Hall:
    """A house with a supervisor for connections and everything that they work with.

    Args:
        limits: What one client may cost.
        anonymous: Who a client without a token is.
        house: The rooms; None: with usual limits.
    """

    def __init__(
        self,
        limits: ConnectionLimits | None = None,
        anonymous: Identity | None = ANONYMOUS,
        house: House | None = None,
    ) -> None:
        self.house = house if house is not None else House()
        self.clock = self.house.clock
        self.authenticator = FakeAuthenticator()
        self.admission = FakeAdmission()
        self.connections = Mailbox(name="connections")
        self.connections_start = SupervisorStart("connections", self.clock)
        self.connections_start(self.connections)
        self.limits = limits if limits is not None else ConnectionLimits()
        self.ports = ConnectionPorts(
            source=self.house.source,
            directory=self.house.directory,
            authenticator=self.authenticator,
            admission=self.admission,
            clock=self.clock,
            limits=self.limits,
            anonymous=anonymous,
        )
        self._count = 0

    def client(self, offered_token: str | None = None) -> Client:
        """Open a connection."""
        self._count += 1
        return Client(self, f"c{self._count}", offered_token)

    async def welcomed(self, token: str | None = None, **hello: Any) -> Client:
        """Open a connection and say hello."""
        client = self.client()
        await client.ask("hello", **({} if token is None else {"token": token}), **hello)
        return client

    async def end(self) -> None:
        """Stop everybody; nobody may be left in a room."""
        self.connections.tell(Shutdown())
        await settled()
        assert len(self.house.ledger) == 0, "subscriptions left in the ledger"
        await self.house.end()


class Client:
    """One connection of a hall."""

    def __init__(self, hall: Hall, name: str, offered_token: str | None) -> None:
        self.mailbox = Mailbox(name=f"connection:{name}")
        self.wire = FakeWire(self.mailbox)
        self.state = ConnectionState(
            id=name,
            mailbox=self.mailbox,
            wire=self.wire,
            outbox=Outbox(hall.limits.outbox_bytes, CODEC),
            offered_token=offered_token,
        )
        spec = ChildSpec(
            self.mailbox.name,
            lambda box: Connection.start(self.state, hall.ports, mailbox=box),
            restart="transient",
            on_give_up=self._given_up,
        )
        self._ids = 0
        hall.connections.tell(StartChild(spec, self.mailbox))

    def _given_up(self, _how: Exit) -> None:
        leave_all(self.state)
        self.wire.close(CloseCode.GIVEN_UP, "given up")

    def put(self, text: str) -> None:
        """Let a text frame come in."""
        self.wire.begin()
        self.mailbox.tell(Frame(text))

    def by_mail(self, room: str) -> None:
        """Have the events of a room come through the mailbox, not by the line."""
        self.state.subscriptions[room].direct = False

    def say(self, type: str, **fields: Any) -> None:
        """Let a command come in."""
        self.put(json.dumps({"type": type, **fields}))

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Say it with an id; return the answer, or nothing when there is none."""
        self._ids += 1
        self.say(type, id=self._ids, **fields)
        await settled()
        return next((message for message in self.wire.told if message.get("id") == self._ids), {})

    async def subscribe(self, room: str, **fields: Any) -> dict[str, Any]:
        """Subscribe and return the answer."""
        answer = await self.ask("subscribe", room=room, **fields)
        assert answer["type"] == "subscribed", answer
        return answer

    async def hang_up(self) -> None:
        """Close the socket from the other side."""
        self.mailbox.tell(WireClosed())
        await settled()

    def offsets(self, room: str) -> list[int]:
        """Offsets of the events of a room that the client got, in order."""
        return self.wire.chains[room].offsets


def fail_to_encode_once(monkeypatch: pytest.MonkeyPatch, kind: type[replies.Reply]) -> None:
    """Let the first answer of this type fail before a byte of it is there."""
    encode, failures = NativeCodec.encode, [1]

    def failing(self: NativeCodec, reply: replies.Reply) -> bytes:
        if isinstance(reply, kind) and failures:
            failures.pop()
            raise RuntimeError("made to fail")
        return encode(self, reply)

    monkeypatch.setattr(NativeCodec, "encode", failing)
