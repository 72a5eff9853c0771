"""Link: the ways in to NATS, and what happens when a server goes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nkeys
import pytest

from server.cluster.client import Access
from server.cluster.link import ApiError, Link, LinkDown, NotAnswered

from ..certificates import make_certificate
from ..nats_server import NatsServer, nats_servers
from ..ports import free_port
from .logs import until

PASSWORD = "a-password-for-tests"


@asynccontextmanager
async def linked(access: Access) -> AsyncIterator[Link]:
    link = Link(access, "test")
    await link.start()
    try:
        yield link
    finally:
        await link.stop()


async def asked(link: Link) -> None:
    """Ask the server something."""
    assert (await link.ask("INFO"))["type"].endswith("account_info_response")


# --- ways in


async def test_a_server_that_is_not_there_is_named() -> None:
    port = free_port()
    with pytest.raises(LinkDown, match=f"127.0.0.1:{port}"):
        async with linked(Access((f"nats://127.0.0.1:{port}",))):
            pass


async def test_user_and_password_let_in_and_a_wrong_one_is_not_repeated(tmp_path: Path) -> None:
    with nats_servers(tmp_path, more=f'authorization {{ user: ann, password: "{PASSWORD}" }}') as (server,):
        await server.ready(user="ann", password=PASSWORD)
        async with linked(Access((server.url,), user="ann", password=PASSWORD)) as link:
            await asked(link)
        async with linked(Access((server.url.replace("//", f"//ann:{PASSWORD}@"),))) as link:
            await asked(link)
        for access in (
            Access((server.url,), user="ann", password="wrong-password"),
            Access((server.url.replace("//", "//ann:wrong-password@"),)),
            Access((server.url,)),
        ):
            with pytest.raises(LinkDown, match=r"(?i)authorization") as caught:
                async with linked(access):
                    pass
            assert "wrong-password" not in str(caught.value)


async def test_a_credentials_file_lets_in(tmp_path: Path) -> None:
    operator, account, user = (nkeys.from_seed(_seed(kind)) for kind in ("O", "A", "U"))
    account_jwt = _jwt(
        operator,
        account,
        "account",
        {
            "limits": {
                "mem_storage": -1,
                "disk_storage": -1,
                "conn": -1,
                "subs": -1,
                "data": -1,
                "payload": -1,
                "imports": -1,
                "exports": -1,
                "wildcards": True,
                "leaf": -1,
                "streams": -1,
                "consumer": -1,
            }
        },
    )
    more = (
        f"operator: {_jwt(operator, operator, 'operator', {})}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {account.public_key.decode()}: {account_jwt} }}"
    )
    credentials = tmp_path / "router.creds"
    user_jwt = _jwt(account, user, "user", {"subs": -1, "data": -1, "payload": -1})
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    with nats_servers(tmp_path, more=more, jetstream=False) as (server,):
        await until(lambda: "Server is ready" in server.log)
        async with linked(Access((server.url,), credentials=credentials)) as link:
            await link.settled()
        with pytest.raises(LinkDown, match=r"(?i)authorization"):
            async with linked(Access((server.url,))):
                pass


async def test_a_certificate_is_checked_against_the_authority_that_is_named(tmp_path: Path) -> None:
    authority, certificate = make_certificate(tmp_path, "server")
    more = f'tls {{ cert_file: "{certificate}", key_file: "{certificate}", ca_file: "{authority}", verify: true }}'
    with nats_servers(tmp_path, more=more) as (server,):
        await until(lambda: "Server is ready" in server.log)
        url = server.url.replace("nats:", "tls:")
        async with linked(Access((url,), ca=authority, certificate=certificate)) as link:
            await asked(link)
        other, _ = make_certificate(tmp_path, "other")
        with pytest.raises(LinkDown, match=r"(?i)certificate"):
            async with linked(Access((url,), ca=other, certificate=certificate)):
                pass
        with pytest.raises(LinkDown):  # the server asks for one, too
            async with linked(Access((url,), ca=authority)) as link:
                await asked(link)


async def test_where_tls_is_asked_for_nothing_is_said_in_clear(tmp_path: Path) -> None:
    """Whoever answers in the server's place would have the password."""
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        with pytest.raises(LinkDown, match="TLS"):
            async with linked(Access((server.url.replace("nats:", "tls:"),), user="ann", password=PASSWORD)):
                pass


# --- servers go


async def test_what_was_listened_to_is_listened_to_on_the_next_server(tmp_path: Path) -> None:
    with nats_servers(tmp_path, 3) as servers:
        for server in servers:
            await server.ready()
        async with linked(Access(tuple(server.url for server in servers))) as link:
            downs: list[str | None] = []
            ups: list[str | None] = []
            heard: list[bytes] = []
            link.on_down.append(lambda: downs.append(link.trouble))
            link.on_up.append(lambda: ups.append(link.trouble))
            link.listen("a.>", lambda message: heard.append(message.data))
            await link.settled()
            link.send("a.b", b"before")
            await until(lambda: heard == [b"before"])
            _server_of(link, servers).kill()
            await until(lambda: bool(ups))
            assert (len(downs), downs[0] is not None, ups) == (1, True, [None])
            link.send("a.b", b"after")
            await until(lambda: heard == [b"before", b"after"])


async def test_what_is_listened_to_is_soon_heard_whoever_waits_for_it(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with linked(Access((server.url,))) as here, linked(Access((server.url,))) as there:
            heard = asyncio.Event()
            here.listen("news", lambda _message: heard.set())

            def said_again() -> bool:
                there.send("news", b"")
                return heard.is_set()

            await until(said_again)


async def test_once_it_is_settled_the_server_knows_what_is_listened_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question whether it does stays behind the subscription, on the wire too."""
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with linked(Access((server.url,))) as link:
            assert link._client is not None
            transport, written = link._client._transport, list[bytes]()
            assert transport is not None
            write, writelines = transport.write, transport.writelines
            monkeypatch.setattr(transport, "write", lambda data: (written.append(data), write(data)))
            monkeypatch.setattr(transport, "writelines", lambda lines: (written.extend(lines), writelines(lines)))
            link.listen("news", lambda _message: None)
            await link.settled()
            said = b"".join(written)
            assert 0 <= said.find(b"SUB news") < said.find(b"PING")


async def test_a_server_that_does_not_move_is_left(tmp_path: Path) -> None:
    with nats_servers(tmp_path, 3) as servers:
        for server in servers:
            await server.ready()
        async with linked(Access(tuple(server.url for server in servers))) as link:
            ups: list[None] = []
            link.on_up.append(lambda: ups.append(None))
            frozen = _server_of(link, servers)
            frozen.freeze()
            await until(lambda: bool(ups))
            assert _server_of(link, servers) is not frozen
            frozen.thaw()


async def test_a_server_that_does_not_move_is_given_up_although_much_waits_to_be_sent(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with linked(Access((server.url,))) as link:
            server.freeze()
            try:
                for _ in range(500):
                    link.send("a", bytes(100_000))
                async with asyncio.timeout(30.0):
                    await until(lambda: link.trouble is not None)
            finally:
                server.thaw()
            await until(lambda: link.trouble is None)
            heard: list[bytes] = []
            link.listen("b", lambda message: heard.append(message.data))
            await link.settled()
            for number in range(5):
                link.send("b", b"%d" % number)
                await until(lambda: len(heard) > number)  # noqa: B023  # it is awaited here
            server.freeze()
            for _ in range(500):
                link.send("a", bytes(100_000))
            async with asyncio.timeout(30.0):
                await link.stop()


async def test_while_there_is_no_connection_questions_are_refused_and_messages_dropped(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with linked(Access((server.url,))) as link:
            heard: list[bytes] = []
            link.listen("a", lambda message: heard.append(message.data))
            await link.settled()
            server.kill()
            await until(lambda: link.trouble is not None)
            link.send("a", b"dropped")
            with pytest.raises(LinkDown, match=str(server.port)):
                await link.ask("INFO")
            with pytest.raises(LinkDown):
                await link.gather("a", b"", lambda answers: bool(answers))
            with pytest.raises(LinkDown):
                await link.settled()
            server.start()
            await until(lambda: link.trouble is None)
            link.send("a", b"sent")
            await until(lambda: bool(heard))
            assert heard == [b"sent"]


async def test_a_link_that_is_just_connecting_can_be_stopped(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        for frozen in (False, True):
            link = Link(Access((server.url,)), "test")
            await link.start()
            (server.freeze if frozen else server.kill)()
            await until(lambda: link.trouble is not None)  # noqa: B023  # it is awaited here
            async with asyncio.timeout(20.0):
                await link.stop()
            (server.thaw if frozen else server.start)()
            await server.ready()


async def test_what_is_asked_on_a_connection_that_is_lost_waits_no_longer(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with linked(Access((server.url,))) as link:
            server.freeze()
            request = asyncio.create_task(link.request("$JS.API.INFO", b"", wait_s=60.0))
            gather = asyncio.create_task(link.gather("$JS.API.INFO", b"", bool, wait_s=60.0))
            await until(lambda: link.trouble is not None)
            async with asyncio.timeout(20.0):
                for question in (request, gather):
                    with pytest.raises(LinkDown, match=str(server.port)):
                        await question
            server.thaw()
            await until(lambda: link.trouble is None)
            await asked(link)


async def test_a_question_that_nobody_answers_and_one_that_is_refused_are_told_apart(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as (server,):
        await server.ready()
        async with linked(Access((server.url,))) as link:
            with pytest.raises(NotAnswered):
                await link.request("nobody", b"")
            with pytest.raises(ApiError, match="stream not found"):
                await link.ask("STREAM.INFO.none")
            answers, over = await link.gather("nobody", b"", lambda answers: len(answers) > 1, wait_s=0.05)
            assert ([(answer.headers or {})["Status"] for answer in answers], over) == (["503"], False)


def _server_of(link: Link, servers: list[NatsServer]) -> NatsServer:
    assert link._client is not None
    assert link._client.connected_url is not None
    (server,) = [server for server in servers if server.port == link._client.connected_url.port]
    return server


def _seed(kind: str) -> bytes:
    prefixes = {"O": 14 << 3, "A": 0, "U": 20 << 3}
    return nkeys.encode_seed(os.urandom(32), prefixes[kind])


def _jwt(issuer: Any, subject: Any, kind: str, claims: dict[str, Any]) -> str:
    """Return a token as NATS has them: signed with a key of its own kind."""
    body = {
        "jti": "test",
        "iat": int(time.time()),
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": kind,
        "nats": {**claims, "type": kind, "version": 2},
    }
    parts = [_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body)]
    signed = ".".join(parts)
    return f"{signed}.{_base64(issuer.sign(signed.encode()))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
