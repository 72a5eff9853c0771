"""Peers: the other routers of the cluster. Beats go out and come in; questions to all of them out, answers back.

Nothing else is known of everybody: what concerns the whole cluster is asked when it is wanted.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from nats.aio.msg import Msg

from actors.clock import Clock, Timer
from actors.errors import PostroomError
from actors.report import Report, unreported
from server import __version__

from . import subjects
from .link import Link, LinkDown, Listening, NotAnswered
from .members import BEAT_S, Beat, Members, NodeFacts
from .questions import Answer, Answers, Collected, Question

__all__ = ["ASK_S", "NodeNameTaken", "Peers"]

log = structlog.get_logger("postroom.cluster")

ASK_S = 1.0
"""How long a question waits for its answers."""
_LOOK_S = 0.3
"""How long a node that starts listens for those that are there."""
_TICK_S = 0.25
_STOOD_STILL_S = 1.0
"""A tick that comes so late: the process stood still, and heard nobody meanwhile."""
_MOST_ANSWERING = 256
"""Questions that are being answered; those past that are dropped, and this node is named as one that did not answer."""
_SAY_AGAIN_S = 10.0
_ENVELOPE_BYTES = 1024
"""What an answer has beside its body, at most."""
_SILENT = "silent"
_WHO = "who"
"""The question who has a name."""


class NodeNameTaken(PostroomError):
    """A router of this name is in the cluster; `str()` says what to do."""


class Peers:
    """The other routers. Used on the event loop.

    Args:
        link: The connection to NATS.
        cluster: The cluster's name.
        node: This router's name.
        clock: For the beats.
        report: Is told `node_joined` and `node_left`.
    """

    def __init__(self, link: Link, *, cluster: str, node: str, clock: Clock, report: Report = unreported) -> None:
        self._link = link
        self._cluster = cluster
        self.node = node
        """This router's name."""
        self._clock = clock
        self._report = report
        self._life = secrets.token_hex(8)
        self._started_at = time.time()
        self._members = Members(node, self._life)
        self._listenings: list[Listening] = []
        self._timer: Timer | None = None
        self._looking = False
        """Whether it is finding out who is there: nobody of these has come just now."""
        self._rival: Beat | None = None
        """Who has the same name, and was first."""
        self._beat_at = self._ticked_at = -math.inf
        self._handlers: dict[str, Callable[[msgspec.Raw], Awaitable[bytes]]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._said_at: dict[str, float] = {}
        self._facts: Callable[[], NodeFacts] = NodeFacts
        self.on_change: list[Callable[[], None]] = []
        """Called when a node has come or gone."""
        self.unanswered = 0
        """How often a node did not answer in time, in all."""

    async def start(self) -> None:
        """Find out who is there, and be there; the link has to be up.

        Raises:
            NodeNameTaken: A router of the same name is there.
            LinkDown: The connection is lost meanwhile.
        """
        await self._look_for_namesake()
        self._listenings = [
            self._link.listen(subjects.nodes(self._cluster), self._heard),
            self._link.listen(subjects.ask(self._cluster), self._asked),
            self._link.listen(subjects.ask_of(self._cluster, self.node), self._asked),
        ]
        await self._link.settled()
        self._looking = True
        self._tell("hello")
        await asyncio.sleep(_LOOK_S)
        self._looking = False
        if self._rival is not None:
            self.stop()
            raise NodeNameTaken(_taken(self.node, self._rival.api))
        self._link.on_up.append(self._back)
        self._ticked_at = self._clock.monotonic()
        self._tick()
        log.info("cluster_joined", node=self.node, others=[beat.node for beat in self._members.others])

    def stop(self) -> None:
        """Say goodbye; it goes out with what the link sends last. Does no harm when it was not started, or twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._listenings:
            self._tell("goodbye")
        for listening in self._listenings:
            listening.stop()
        self._listenings = []
        if self._back in self._link.on_up:
            self._link.on_up.remove(self._back)
        for task in self._answering:
            task.cancel()

    def describe(self, facts: Callable[[], NodeFacts]) -> None:
        """Let the others know how this router is: now, and with each beat."""
        self._facts = facts
        self._tell("here")

    # --- who is there

    @property
    def nodes(self) -> list[Beat]:
        """What each node said of itself last, this one first."""
        return [self._own("here"), *self._members.others]

    @property
    def link_up(self) -> bool:
        """Whether there is a connection to NATS."""
        return self._link.trouble is None

    def known(self, node: str) -> bool:
        """Tell whether a node of this name is there, this one included."""
        return node == self.node or bool(self._members.named(node))

    def responsible(self, name: str) -> bool:
        """Tell whether of all nodes this one sees to `name`, a room's for example. See `on_change`."""
        return self._members.responsible(name)

    # --- questions

    def answer(self, verb: str, handler: Callable[[msgspec.Raw], Awaitable[bytes]]) -> None:
        """Have `handler` answer the others' questions of this name: JSON in, JSON out."""
        self._handlers[verb] = handler

    async def ask(
        self,
        verb: str,
        body: bytes,
        *,
        to: str | None = None,
        wait_s: float = ASK_S,
        enough: Callable[[msgspec.Raw], bool] | None = None,
    ) -> Answers:
        """Ask all others at once, or one of them.

        Args:
            verb: What is asked.
            body: The question, as JSON.
            to: Only the node of this name. None: all others.
            wait_s: How long to wait for those that do not answer.
            enough: Whether with this answer no others are waited for. None: they are.
        """
        asked = [each for each in self._members.others if to is None or each.node == to]
        if not asked:
            return Answers({}, () if to is None else (to,))
        collected = Collected({beat.life for beat in asked}, enough)
        subject = subjects.ask(self._cluster) if to is None else subjects.ask_of(self._cluster, to)
        question = msgspec.json.encode(Question(self._life, verb, msgspec.Raw(body)))
        try:
            await self._link.gather(subject, question, collected.over, wait_s=wait_s)
        except LinkDown as error:
            log.debug("question_lost", verb=verb, reason=str(error))
        silent = () if collected.is_enough else tuple(each.node for each in asked if each.life not in collected.lives)
        self.unanswered += len(silent)
        if silent:
            log.warning("nodes_unanswered", verb=verb, nodes=list(silent), waited_s=wait_s)
        return Answers(collected.by_node, silent)

    def _asked(self, message: Msg) -> None:
        try:
            question = msgspec.json.decode(message.data, type=Question)
        except msgspec.MsgspecError as error:
            self._unreadable(message, error)
            return
        if question.asker == self._life or len(self._answering) >= _MOST_ANSWERING:
            return
        task = asyncio.create_task(self._answer(question, message.reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, question: Question, reply: str) -> None:
        self._link.send(reply, msgspec.json.encode(await self._answer_to(question)))

    async def _answer_to(self, question: Question) -> Answer:
        if question.verb == _WHO:
            return Answer(self.node, self._life, msgspec.Raw(msgspec.json.encode(self._own("here"))))
        handler = self._handlers.get(question.verb)
        if handler is None:  # it is starting, or of another version
            return Answer(self.node, self._life, failed=True)
        try:
            body = await handler(question.body)
        except (NotAnswered, msgspec.MsgspecError) as error:  # it is of another version
            log.warning("question_not_understood", verb=question.verb, reason=str(error))
            return Answer(self.node, self._life, failed=True)
        except Exception:
            log.exception("question_failed", verb=question.verb)
            return Answer(self.node, self._life, failed=True)
        if len(body) + _ENVELOPE_BYTES > self._link.most_bytes:
            log.error("answer_too_large", verb=question.verb, size_bytes=len(body), most_bytes=self._link.most_bytes)
            return Answer(self.node, self._life, failed=True)
        return Answer(self.node, self._life, msgspec.Raw(body))

    # --- beats

    async def _look_for_namesake(self) -> None:
        question = msgspec.json.encode(Question(self._life, _WHO, msgspec.Raw(b"null")))
        try:
            message = await self._link.request(subjects.ask_of(self._cluster, self.node), question, wait_s=ASK_S)
        except NotAnswered:
            return
        answer = msgspec.json.decode(message.data, type=Answer)
        raise NodeNameTaken(_taken(self.node, msgspec.json.decode(answer.body, type=Beat).api))

    def _own(self, says: str) -> Beat:
        facts = self._facts()
        return Beat(
            node=self.node,
            life=self._life,
            started_at=self._started_at,
            version=__version__,
            says=says,  # type: ignore[arg-type]  # one of the three
            **facts._asdict(),
        )

    def _tell(self, says: str) -> None:
        self._beat_at = self._clock.monotonic()
        self._link.send(subjects.nodes(self._cluster), msgspec.json.encode(self._own(says)))

    def _tick(self) -> None:
        self._timer = self._clock.call_later(_TICK_S, self._tick)
        now = self._clock.monotonic()
        if not self.link_up or now - self._ticked_at >= _STOOD_STILL_S:
            self._members.forgive(now)
        self._ticked_at = now
        if now - self._beat_at >= BEAT_S - _TICK_S / 2:
            self._tell("here")
        self._changed([], self._members.silent(now), _SILENT)

    def _back(self) -> None:
        """There is a connection again: find out who is there."""
        self._members.forgive(self._clock.monotonic())
        self._tell("hello")

    def _heard(self, message: Msg) -> None:
        try:
            beat = msgspec.json.decode(message.data, type=Beat)
        except msgspec.MsgspecError as error:
            self._unreadable(message, error)
            return
        if beat.life == self._life:
            return
        if beat.node == self.node and beat.says != "goodbye":
            self._meet_namesake(beat)
        came, gone = self._members.take(beat, self._clock.monotonic())
        self._changed(came, gone, "stopped" if beat.says == "goodbye" else "started anew")
        if beat.says == "hello":
            self._tell("here")

    def _meet_namesake(self, beat: Beat) -> None:
        if self._looking:
            if (beat.started_at, beat.life) < (self._started_at, self._life):
                self._rival = beat
        elif self._may_say(f"namesake {beat.life}"):
            log.error("node_name_twice", node=self.node, api=beat.api)

    def _changed(self, came: list[Beat], gone: list[Beat], reason: str) -> None:
        if self._looking or not (came or gone):
            return
        for beat in gone:
            log.log(
                logging.INFO if reason != _SILENT else logging.WARNING,
                "node_left",
                peer=beat.node,
                life=beat.life,
                reason=reason,
            )
            self._report("node_left", peer=beat.node, life=beat.life, reason=reason)
        for beat in came:
            log.info("node_joined", peer=beat.node, life=beat.life, version=beat.version)
            self._report("node_joined", peer=beat.node, life=beat.life, version=beat.version)
        for call in self.on_change:
            call()

    def _unreadable(self, message: Msg, error: Exception) -> None:
        if self._may_say(message.subject):
            log.warning("cluster_message_unreadable", subject=message.subject, reason=str(error))

    def _may_say(self, what: str) -> bool:
        """Tell whether something that repeats itself was not said for a while."""
        now = self._clock.monotonic()
        if now < self._said_at.get(what, -math.inf) + _SAY_AGAIN_S:
            return False
        self._said_at[what] = now
        return True


def _taken(node: str, api: str) -> str:
    where = f" (its API is at {api})" if api else ""
    return f"a router named {node} is in the cluster already{where}: stop it, or set another node"
