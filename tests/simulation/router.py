"""Router: one life of the process, wired as `server.app` wires it, on simulated outsides."""

from __future__ import annotations

import random
from collections.abc import Callable

import pykka

from actors.child import ChildSpec
from actors.connection import Connection
from actors.directory import RoomDirectory
from actors.errors import CloseCode, ErrorCode, Refusal
from actors.identity import Identity
from actors.ledger import ConnectionState, Ledger
from actors.mailbox import Exit, Mailbox
from actors.messages import StartChild
from actors.outbox import Outbox
from actors.ports import ConnectionLimits, ConnectionPorts
from actors.pressure import Pressure
from actors.quarantine import Quarantine
from actors.rooms import RoomLimits
from actors.source import NotificationSource
from actors.streams import leave_all
from actors.supervisor import SupervisorStart

from ..actors.fake_clock import FakeClock
from .disk import Disk
from .link import CODEC, Link

__all__ = ["Router", "Tokens"]


class Tokens:
    """`actors.ports.Authenticator` whose tokens are names in a table; some answers take their time.

    Args:
        source: Decides.
        known: What each token says.
    """

    def __init__(self, source: random.Random, known: dict[str, Callable[[], Identity]]) -> None:
        self._source = source
        self._known = known
        self.waiting: list[Callable[[], None]] = []

    def check(self, token: str, reply: Callable[[Identity | Refusal], None]) -> None:
        outcome = self._known[token]()
        if self._source.random() < 0.1:
            outcome = Refusal(ErrorCode.BUSY, "the key cannot be fetched")
        if self._source.random() < 0.3:
            self.waiting.append(lambda: reply(outcome))
        else:
            reply(outcome)

    def answer(self) -> None:
        """Give one answer that was waited for."""
        self.waiting.pop(self._source.randrange(len(self.waiting)))()


class _Everybody:
    """`actors.ports.Admission`: lets everybody in."""

    def enter(self, connection: str, identity: Identity) -> str | None:
        return None


class Router:
    """Everything that dies with the process.

    Args:
        clock: Its time.
        disk: Its log, which does not die.
        tokens: Who knows tokens.
        room_limits: What a room holds.
        limits: What one client may cost.
    """

    def __init__(
        self, clock: FakeClock, disk: Disk, tokens: Tokens, room_limits: RoomLimits, limits: ConnectionLimits
    ) -> None:
        self._clock = clock
        self._limits = limits
        self.tokens = tokens
        self.connected: dict[str, ConnectionState] = {}
        """Every connection that there was, by its name."""
        self.failed = False
        """Whether the root supervisor has failed: the process ends."""
        self.root = Mailbox(name="root")
        self.root.monitor = self._root_ended
        SupervisorStart("root", clock)(self.root)
        self.rooms = self._supervisor("rooms")
        self.ledger = Ledger()
        quarantine = Quarantine(clock)
        self.directory = RoomDirectory(
            supervisor=self.rooms,
            log=disk,
            ledger=self.ledger,
            clock=clock,
            limits=room_limits,
            pressure=Pressure(),
            quarantine=quarantine,
        )
        self.source = Mailbox(name="source")
        self._child(
            "source", self.source, lambda box: NotificationSource.start(self.directory, clock, quarantine, mailbox=box)
        )
        self.directory.open_watched()
        self.connections = self._supervisor("connections")
        self._ports = ConnectionPorts(
            source=self.source,
            directory=self.directory,
            authenticator=tokens,
            admission=_Everybody(),
            clock=clock,
            limits=limits,
            anonymous=None,
        )

    def _root_ended(self, how: Exit) -> None:
        self.failed = True

    def _supervisor(self, name: str) -> Mailbox:
        mailbox = Mailbox(name=name)
        start = SupervisorStart(name, self._clock)
        self.root.tell(StartChild(ChildSpec(name, start, stop=SupervisorStart.stop), mailbox))
        return mailbox

    def _child(self, name: str, mailbox: Mailbox, start: Callable[[Mailbox], object]) -> None:
        self.root.tell(StartChild(ChildSpec(name, start), mailbox))

    def accept(self, name: str, make_link: Callable[[Mailbox], Link]) -> Link:
        """Let a client in at the door."""
        mailbox = Mailbox(name=f"connection:{name}")
        link = make_link(mailbox)
        outbox = Outbox(self._limits.outbox_bytes, CODEC)
        state = ConnectionState(id=name, mailbox=mailbox, wire=link, outbox=outbox, offered_token=None)
        self.connected[name] = state

        def given_up(_how: Exit) -> None:
            leave_all(state)
            link.close(CloseCode.GIVEN_UP, "given up")

        spec = ChildSpec(
            mailbox.name,
            lambda box: Connection.start(state, self._ports, mailbox=box),
            restart="transient",
            on_give_up=given_up,
        )
        self.connections.tell(StartChild(spec, mailbox))
        return link

    def die(self) -> None:
        """End at once: nobody is told anything."""
        for ref in pykka.ActorRegistry.get_all():
            pykka.ActorRegistry.unregister(ref)
