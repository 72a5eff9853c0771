"""Story: what everybody does next, drawn from the seed; and in the end rest, and what is wrong.

Each seed has a temper of its own: which faults there are, how often, how much a room keeps, how fast anybody reads.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from actors import commands, replies
from actors.identity import Identity
from actors.messages import Acknowledge, Publish, Query
from actors.ports import ConnectionLimits
from actors.rooms import RoomLimits

from ..actors.fake_clock import FakeClock
from ..actors.house import Ear
from .attempts import IN_PROCESS, Attempt, Attempts
from .disk import Disk
from .faults import Crash, Faults
from .knobs import small
from .link import Link
from .peer import Peer
from .router import Router, Tokens
from .schedule import SeededDispatcher
from .verdict import Verdict

__all__ = ["Story"]

ADMIN = Identity(user="ops", role="admin", publish=("*",))
ROOMS = ("session:1", "session:2", "team:1")
FILTER = ["app.thing", "progress"]
PUBLISHED = (
    ("session", {"status": "started", "owner": "ann"}),
    ("session", {"status": "started", "owner": "bob"}),
    ("session", {"status": "completed"}),
    ("progress", {"current": 1, "total": 10}),
    ("progress", {"current": 2, "total": 10}),
    ("progress", {"current": 3, "total": 10}),
    ("system", {"status": "degraded"}),
    ("alert", {"severity": "critical", "title": "disk full"}),
    ("alert", {"severity": "low", "title": "nobody need see to it"}),
    ("app.thing", {"x": "y" * 40}),
    ("app.thing", {"x": "y" * 400}),
)
ESCALATE_S = 40.0
IDLE_S = 60.0
REST_S = 1200.0
"""Longer than every back-off, time-out and escalation."""
_TURNS = 200_000
_STEPS = (300, 1000)


class Story:
    """One history.

    Args:
        seed: Decides everything.
        note: Is told what happens: time in seconds, who, what. None: nobody reads it.
    """

    def __init__(self, seed: int, note: Callable[[float, str, str], None] | None = None) -> None:
        self._source = source = random.Random(seed)
        self._told = note
        who = None if note is None else self._note
        self._clock = FakeClock()
        self._attempts = Attempts()
        self._faults = Faults(source, self._note)
        self._room_limits = RoomLimits(
            history_events=source.choice((5, 20, 1000, 1000)),
            history_s=1e6,
            idle_s=IDLE_S,
            dedupe_s=1e6,
            escalate_after_s=source.choice((0.0, ESCALATE_S)),
        )
        self._limits = ConnectionLimits(outbox_bytes=source.choice((3000, 20_000, 1 << 20)))
        self._calm = source.random() < 0.2
        """Whether nothing fails."""
        self._faults_every = source.choice((0, 0, 30, 100, 400, 2000))
        self._refuse_commits = source.choice((0.0, 0.0, 0.02, 0.2))
        self._refuse_opening = source.choice((0.0, 0.0, 0.1))
        self._disk_speed = source.choice((0.02, 0.1, 0.5, 1.0))
        self._network_speed = source.choice((0.05, 0.3, 1.0))
        self._peers = [
            Peer("ops", ("ops",), source, who),
            Peer("ann", ("ann", "ann less"), source, who),
            Peer("bob", ("bob", "bob for a while"), source, who),
            Peer("cil", ("cil",), source, who),
        ]
        self._links: list[Link] = []
        """Those that are not over for both sides."""
        self._life = 0
        self._moves = self._draw_moves()

    def _note(self, who: str, what: str) -> None:
        if self._told is not None:
            self._told(self._clock.monotonic(), who, what)

    # --- the whole of it

    def tell(self) -> list[str]:
        """Live through it; return what is wrong.

        Raises:
            AssertionError: Something was wrong on the way.
        """
        with small(self._source), self._faults.in_force():
            self._disk = Disk(self._source)
            self._start()
            for peer in self._peers:
                self._connect(peer)
            moves, weights = zip(*self._moves.items(), strict=True)
            for _ in range(self._source.choice(_STEPS)):
                self._advance_actors(self._source.choice((0, 1, 3, 10)))
                move = self._source.choices(moves, weights)[0]
                move()
                if self._router.failed:
                    self._restart()
            self._come_to_rest()
            verdict = Verdict(self._disk, self._attempts.made, self._peers)
            verdict.check_connections(self._router, self._links)
            verdict.check_rooms(self._states(), escalated=self._room_limits.escalate_after_s > 0)
            verdict.check_publishers(self._life)
            return verdict.check_records()

    def _draw_moves(self) -> dict[Callable[[], None], float]:
        """Weigh what may happen: in some histories something never does, in some it does all the time."""
        source = self._source
        moves: dict[Callable[[], None], float] = {
            self._publish: 5.0,
            self._publish_again: 1.0,
            self._publish_over_the_wire: 2.0,
            self._burst: 0.4,
            self._acknowledge: 0.5,
            self._connect_somebody: 1.5,
            self._subscribe: 2.0,
            self._unsubscribe: 0.4,
            self._ask: 1.0,
            self._refresh: 0.4,
            self._hang_up: 0.2,
            self._stall: 0.3,
            self._go_on: 0.5,
            self._commit: 8.0 * self._disk_speed,
            self._network: 30.0 * self._network_speed,
            self._check_tokens: 1.0,
            self._pass_time: 1.5,
        }
        faults: dict[Callable[[], None], float] = {
            self._kill_an_actor: 0.3,
            self._cut: 0.3,
            self._fail_a_write: 0.3,
            self._refuse: 5.0 * self._refuse_commits,
            self._restart: 0.08,
            self._jump: 0.1,
        }
        optional = [self._burst, self._unsubscribe, self._refresh, self._hang_up, self._stall, self._publish_again]
        for move in optional:
            moves[move] *= source.choice((0.0, 1.0, 1.0, 5.0))
        for fault, weight in faults.items():
            moves[fault] = 0.0 if self._calm else weight * source.choice((0.0, 1.0, 1.0, 4.0))
        return moves

    # --- lives of the router

    def _start(self) -> None:
        self._life += 1
        self._note("story", f"the router starts, life {self._life}")
        self._faults.every(0 if self._calm else self._faults_every)
        self._disk.refuse_opening = 0.0 if self._calm else self._refuse_opening
        self._dispatcher = SeededDispatcher(
            asyncio.get_running_loop(), self._source, None if self._told is None else self._note
        )
        tokens = Tokens(
            self._source,
            {
                "ops": lambda: ADMIN,
                "ann": lambda: Identity(user="ann", rooms=("team:*", "session:*"), publish=("team:*", "session:*")),
                "ann less": lambda: Identity(user="ann", rooms=("team:*",), publish=("team:*",)),
                "bob": lambda: Identity(user="bob", rooms=("team:*",)),
                "bob for a while": lambda: Identity(
                    user="bob", rooms=("team:*",), expires_at=self._clock.time() + self._source.uniform(1.0, 100.0)
                ),
                "cil": lambda: Identity(user="cil", role="service", rooms=("*",)),
            },
        )
        self._router = Router(self._clock, self._disk, tokens, self._room_limits, self._limits)

    def _restart(self) -> None:
        written = self._disk.crash()
        self._note("story", f"the process dies; the disk had written {written} calls that nobody was told of")
        self._clock.forget_timers()
        self._router.die()
        links, self._links = self._links, []
        for link in links:
            link.process_died()
        self._start()

    # --- what may happen

    def _advance_actors(self, turns: int) -> None:
        for _ in range(turns):
            if not self._dispatcher.busy:
                return
            self._dispatcher.step()

    def _attempt(self, service: str) -> Attempt:
        source = self._source
        return self._attempts.make(service, source.choice(ROOMS), named=source.random() < 0.7, life=self._life)

    def _event(self, number: int) -> dict[str, object]:
        source = self._source
        kind, data = source.choice(PUBLISHED)
        event: dict[str, object] = {"kind": kind, "data": {**data, "number": number}}
        if kind not in ("session", "alert"):
            event["delivery"] = source.choice((None, None, None, "keep", "latest", "ephemeral"))
            event["key"] = source.choice((None, None, "a", "b"))
        return event

    def _publish(self) -> None:
        attempt = self._attempt(IN_PROCESS)
        self._hand_in(attempt, self._event(attempt.number))

    def _hand_in(self, attempt: Attempt, event: dict[str, object]) -> None:
        attempt.event = event
        self._note(IN_PROCESS, f"publishes number {attempt.number} to {attempt.room}: {event}")
        self._router.source.tell(
            Publish(rooms=(attempt.room,), event_id=attempt.event_id, reply_to=attempt, **event)  # type: ignore[arg-type]
        )

    def _publish_again(self) -> None:
        """Try an event again whose outcome is known or unknown, as a careful publisher does."""
        recent = [each for each in self._attempts.made[-30:] if each.in_process and each.event_id is not None]
        named = [each for each in recent if each.event.get("delivery") != "ephemeral"]  # of those nothing is remembered
        if named:
            attempt = self._source.choice(named)
            again = self._attempts.again(attempt, self._life)
            self._hand_in(again, attempt.event)

    def _publish_over_the_wire(self) -> None:
        peer = self._somebody(("ops", "ann", "cil"))
        if peer is not None:
            attempt = self._attempt(peer.name)
            peer.publish(attempt, **self._event(attempt.number))

    def _burst(self) -> None:
        room_name = self._source.choice(ROOMS)
        for _ in range(self._source.choice((5, 20, 60))):
            attempt = self._attempts.make(IN_PROCESS, room_name, named=False, life=self._life)
            self._hand_in(attempt, self._event(attempt.number))

    def _acknowledge(self) -> None:
        room_name = self._source.choice(ROOMS)
        alerts = [event.draft.id for event in self._disk.committed.get(room_name, {}).values() if event.draft.ack]
        if not alerts:
            return
        event_id = self._source.choice(alerts[-5:])
        peer = self._somebody(("ops", "ann"))
        if peer is not None and self._source.random() < 0.5:
            peer.ask("ack", room=room_name, event_id=event_id)
        else:
            self._router.directory.room(room_name).tell(Acknowledge(event_id, ADMIN, Ear(), None))

    def _somebody(self, names: tuple[str, ...] = ()) -> Peer | None:
        peers = [peer for peer in self._peers if peer.welcome and (not names or peer.name in names)]
        return self._source.choice(peers) if peers else None

    def _connect_somebody(self) -> None:
        peers = [peer for peer in self._peers if not peer.connected]
        if peers:
            self._connect(self._source.choice(peers))

    def _connect(self, peer: Peer) -> None:
        self._note(peer.name, "connects")
        peer.connect(self._accept)

    def _accept(self, name: str, peer: Peer) -> Link:
        link = self._router.accept(name, lambda mailbox: Link(mailbox, self._source, peer.hear, peer.gone))
        self._links.append(link)
        return link

    def _subscribe(self) -> None:
        peer = self._somebody()
        if peer is not None:
            kinds = self._source.choice((None, None, None, FILTER))
            peer.subscribe(self._source.choice(ROOMS), kinds, self._source.choice((None, None, 3, 20)))

    def _unsubscribe(self) -> None:
        peer = self._somebody()
        if peer is not None:
            peer.unsubscribe(self._source.choice(ROOMS))

    def _ask(self) -> None:
        peer = self._somebody()
        if peer is not None:
            what = self._source.choice(("state", "history", "presence", "ping"))
            peer.ask(what, **({} if what == "ping" else {"room": self._source.choice(ROOMS)}))

    def _refresh(self) -> None:
        peer = self._somebody(("ann", "bob"))
        if peer is not None:
            peer.ask("refresh", token=self._source.choice(peer.tokens))

    def _hang_up(self) -> None:
        if self._links:
            self._source.choice(self._links).hang_up()

    def _stall(self) -> None:
        if self._links:
            self._source.choice(self._links).stalled = True

    def _go_on(self) -> None:
        if self._links:
            self._source.choice(self._links).stalled = False

    def _commit(self) -> None:
        if self._disk.waiting:
            self._note("disk", "commits")
            self._disk.work()

    def _refuse(self) -> None:
        if self._disk.waiting:
            self._note("disk", "refuses what waits")
            self._disk.fail()

    def _network(self) -> None:
        busy = [link for link in self._links if link.busy]
        if busy:
            self._source.choice(busy).step()
            self._links = [link for link in self._links if not (link.router_knows and link.client_is_gone)]

    def _check_tokens(self) -> None:
        if self._router.tokens.waiting:
            self._router.tokens.answer()

    def _pass_time(self) -> None:
        self._let_pass(self._source.choice((0.01, 0.1, 1.0, 5.0, 30.0)), turns=5)

    def _let_pass(self, seconds: float, turns: int) -> None:
        end_s = self._clock.monotonic() + seconds
        while self._clock.fire_next(end_s):
            self._advance_actors(turns)

    def _jump(self) -> None:
        self._clock.jump_wall(self._source.uniform(-200.0, 200.0))

    def _kill_an_actor(self) -> None:
        source, router = self._source, self._router
        rooms = [mailbox for mailbox in router.directory._rooms.values() if mailbox.occupied]
        connections = [link.mailbox for link in self._links if not link.mailbox.closed]
        mailbox = source.choice([router.source, router.rooms, router.connections, *rooms * 3, *connections * 3])
        self._note("story", f"kills {mailbox.name}")
        mailbox.tell(Crash())

    def _cut(self) -> None:
        if self._links:
            self._source.choice(self._links).cut()

    def _fail_a_write(self) -> None:
        if self._links:
            self._source.choice(self._links).failing = True

    # --- the end

    def _come_to_rest(self) -> None:
        """Let everything that was begun come to its end, with everybody connected and reading."""
        self._note("story", "comes to rest")
        self._faults.every(0)
        self._disk.refuse_opening = 0.0
        for peer in self._peers:
            peer.tokens = peer.tokens[:1]
        for _ in range(6):
            self._settle()
            if self._router.failed:
                self._restart()
            self._let_pass(REST_S / 6, turns=_TURNS)
            for peer in self._peers:
                if not peer.connected:
                    self._connect(peer)
        self._settle()

    def _settle(self) -> None:
        """Let actors, disk and network work until nobody has anything to do."""
        for link in self._links:
            link.stalled = link.failing = False
        for _ in range(_TURNS):
            if self._dispatcher.busy:
                self._dispatcher.step()
            elif self._disk.waiting:
                self._disk.work()
            elif self._router.tokens.waiting:
                self._router.tokens.answer()
            elif any(link.busy for link in self._links):
                self._network()
            else:
                return
        raise AssertionError(f"no rest within {_TURNS} turns")

    def _states(self) -> list[replies.State]:
        """Ask every room where it is."""
        states = []
        for room_name in {**dict.fromkeys(ROOMS), **self._disk.committed}:
            ear = Ear()
            self._router.directory.room(room_name).tell(Query(commands.State(room=room_name), ADMIN, ear))
            self._settle()
            states.append(ear.only(replies.State))
        return states
