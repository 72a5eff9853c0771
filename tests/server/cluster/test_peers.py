"""The routers of a cluster know of each other within 3 s, and answer each other's questions within one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from structlog.testing import capture_logs

from server.cluster.client import Access
from server.cluster.link import Link
from server.cluster.peers import NodeNameTaken

from ...nats_server import NatsServer
from .conftest import Side

Join = Callable[[str], Awaitable[Side]]


async def echo(body: msgspec.Raw) -> bytes:
    return bytes(body)


async def test_who_comes_and_who_says_goodbye_is_known_at_once(join: Join) -> None:
    first, second = await join("a"), await join("b.c *")
    assert second.names == ["b.c *", "a"]  # when it has started it knows who is there
    await first.until("node_joined", "b.c *")
    assert first.names == ["a", "b.c *"]
    await second.stop()
    assert await first.until("node_left", "b.c *") == "stopped"
    assert first.names == ["a"]


async def test_who_was_there_before_is_not_told_of_as_one_that_has_come(join: Join) -> None:
    await join("a")
    second = await join("b")
    third = await join("c")
    await second.until("node_joined", "c")
    assert second.told == [("node_joined", "c", None)]
    assert third.told == []


async def test_who_dies_without_a_word_is_gone_within_three_seconds(join: Join) -> None:
    first, second = await join("a"), await join("b")
    await first.until("node_joined", "b")
    changes: list[list[str]] = []
    first.peers.on_change.append(lambda: changes.append(first.names))
    await second.die()
    began = time.monotonic()
    assert await first.until("node_left", "b") == "silent"
    assert time.monotonic() - began > 1.0  # it was waited for
    assert changes == [["a"]]


async def test_a_name_can_be_had_once(join: Join, server: NatsServer) -> None:
    await join("a")
    with pytest.raises(NodeNameTaken, match="a router named a is in the cluster already"):
        await join("a")
    await join("b")


async def test_of_two_that_come_at_once_under_one_name_one_may_stay(server: NatsServer) -> None:
    """Neither is there yet when the other asks."""
    sides = [Side(server, "a"), Side(server, "a")]
    outcomes = await asyncio.gather(*(side.start() for side in sides), return_exceptions=True)
    for side in sides:
        await side.stop()
    assert sorted(str(type(each).__name__) for each in outcomes) == ["NodeNameTaken", "NoneType"]


async def test_a_node_that_was_killed_may_come_back_at_once(join: Join) -> None:
    """The others hear that the life before is over, and of the new one."""
    first, second = await join("a"), await join("b")
    await first.until("node_joined", "b")
    await second.die()
    await join("b")
    assert await first.until("node_left", "b") == "started anew"
    assert [kind for kind, _, _ in first.told] == ["node_joined", "node_left", "node_joined"]
    assert first.names == ["a", "b"]


async def test_while_nats_is_away_nobody_is_taken_for_gone(join: Join, server: NatsServer) -> None:
    """It is the router that cannot hear; when NATS is back all are there as before."""
    first, second = await join("a"), await join("b")
    await first.until("node_joined", "b")
    back = asyncio.Event()
    first.link.on_up.append(back.set)
    server.kill()
    async with asyncio.timeout(10.0):
        while first.peers.link_up:  # noqa: ASYNC110  # what is waited for is a time without an event
            await asyncio.sleep(0.05)
        answers = await first.peers.ask("echo", b"1")
        assert answers.unanswered == ("b",)
        await asyncio.sleep(2.6)  # longer than a node may be silent
        server.start()
        await back.wait()
        second.peers.answer("echo", echo)
        while not (await first.peers.ask("echo", b"1")).by_node:  # noqa: ASYNC110  # until the other is back, too
            await asyncio.sleep(0.05)
    assert first.names == ["a", "b"]
    assert [kind for kind, _, _ in first.told] == ["node_joined"]


async def test_all_others_answer_and_nobody_answers_oneself(join: Join) -> None:
    sides = [await join(name) for name in "abc"]
    for side in sides:
        side.peers.answer("echo", echo)
    answers = await sides[2].peers.ask("echo", b'{"n":1}')
    assert {node: bytes(body) for node, body in answers.by_node.items()} == {"a": b'{"n":1}', "b": b'{"n":1}'}
    assert answers.unanswered == ()
    only = await sides[2].peers.ask("echo", b"2", to="a")
    assert (list(only.by_node), only.unanswered) == (["a"], ())
    nobody = await sides[2].peers.ask("echo", b"2", to="z")
    assert (list(nobody.by_node), nobody.unanswered) == ([], ("z",))


async def test_who_does_not_answer_is_named_after_a_second(join: Join) -> None:
    asker, slow, quick = await join("a"), await join("b"), await join("c")

    async def never(_body: msgspec.Raw) -> bytes:
        await asyncio.Event().wait()
        return b""

    slow.peers.answer("echo", never)
    quick.peers.answer("echo", echo)
    await asker.until("node_joined", "c")
    began = time.monotonic()
    answers = await asker.peers.ask("echo", b"1")
    assert time.monotonic() - began < 1.5
    assert (list(answers.by_node), answers.unanswered) == (["c"], ("b",))
    assert asker.peers.unanswered == 1
    enough = await asker.peers.ask("echo", b"1", enough=lambda body: bytes(body) == b"1")
    assert (list(enough.by_node), enough.unanswered) == (["c"], ())


async def test_who_fails_or_cannot_answer_is_named_at_once(join: Join) -> None:
    """A handler that raises; a question of another version; an answer that NATS would not carry."""
    asker, other = await join("a"), await join("b")

    async def fail(_body: msgspec.Raw) -> bytes:
        raise ValueError("a bug")

    async def flood(_body: msgspec.Raw) -> bytes:
        return b'"' + b"x" * other.link.most_bytes + b'"'

    other.peers.answer("fail", fail)
    other.peers.answer("flood", flood)
    await asker.until("node_joined", "b")
    with capture_logs() as lines:
        for verb in ("fail", "flood", "unheard_of"):
            began = time.monotonic()
            answers = await asker.peers.ask(verb, b"1")
            assert (answers.by_node, answers.unanswered) == ({}, ("b",))
            assert time.monotonic() - began < 0.9
    assert {line["event"] for line in lines} == {"question_failed", "answer_too_large", "nodes_unanswered"}


async def test_of_all_nodes_one_is_responsible_for_each_room(join: Join) -> None:
    """All agree on it, and when one goes only what was its own changes hands."""
    sides = [await join(name) for name in "abc"]
    await sides[0].until("node_joined", "c")
    rooms = [f"session:{number}" for number in range(60)]
    before = {room: [side.peers.node for side in sides if side.peers.responsible(room)] for room in rooms}
    assert {len(nodes) for nodes in before.values()} == {1}
    assert {node for nodes in before.values() for node in nodes} == {"a", "b", "c"}
    await sides[2].stop()
    for side in sides[:2]:
        await side.until("node_left", "c")
    for room, (node,) in before.items():
        now = [side.peers.node for side in sides[:2] if side.peers.responsible(room)]
        assert len(now) == 1
        assert node in ("c", *now)


async def test_what_cannot_be_read_is_told_of_and_harms_nobody(join: Join, server: NatsServer) -> None:
    side = await join("a")
    stranger = Link(Access((server.url,)), "stranger")
    await stranger.start()
    with capture_logs() as lines:
        cluster = side.peers._cluster
        for subject in (f"{cluster}.nodes", f"{cluster}.ask"):
            for body in (b"", b"\xff", b"[]", b'{"node": 1}'):
                stranger.send(subject, body)
        await stranger.stop()
        await join("b")
        await side.until("node_joined", "b")
    unreadable = [line["subject"] for line in lines if line["event"] == "cluster_message_unreadable"]
    assert sorted(unreadable) == [f"{cluster}.ask", f"{cluster}.nodes"]
