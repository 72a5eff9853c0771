"""What a connection leaves behind when it is gone: nothing, and at once, whether the garbage is collected or not."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest

from actors.errors import CloseCode
from actors.ledger import ConnectionState
from actors.mailbox import Mailbox
from actors.messages import Close, Frame
from actors.subscription import Subscription
from server.app import Router
from server.http.heads import HeadTimer
from server.http.stream_wire import StreamWire
from server.wire import GuardedConnection, Wire

from ..conftest import running_router
from ..event_source import EventSource
from ..native_client import NativeClient
from ..raw_client import BINARY, CLOSE, TEXT, RawClient, frame
from .services import wait_until

KINDS = (ConnectionState, Frame, GuardedConnection, HeadTimer, Mailbox, StreamWire, Subscription, Wire)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Let nobody collect garbage meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held() -> Counter[str]:
    """Count what the router has of each kind."""
    kinds = (next((kind for kind in KINDS if issubclass(type(each), kind)), None) for each in gc.get_objects())
    return Counter(kind.__name__ for kind in kinds if kind is not None)


async def client_closes(client: RawClient) -> None:
    await client.open()
    await client.command("subscribe", id=1, room="team:1")
    await client.message()
    await client.send(frame(CLOSE, b"\x03\xe8"))
    await client.ended()


async def router_closes(client: RawClient) -> None:
    await client.open()
    await client.send(frame(BINARY))
    assert await client.closed() == 1003
    await client.send(frame(CLOSE, b"\x03\xeb"))
    await client.ended()


async def nobody_closes(client: RawClient) -> None:
    await client.open()


async def no_hello(client: RawClient) -> None:
    await client.open(hello=False)


async def no_upgrade(client: RawClient) -> None:
    await client.send(b"GET /v1/ws HTTP/1.1\r\n")


@pytest.mark.parametrize("goes", [client_closes, router_closes, nobody_closes, no_hello, no_upgrade])
async def test_a_connection_that_is_gone_does_not_wait_for_the_garbage_collector(
    router: Router, uncollected: None, goes: Callable[[RawClient], Awaitable[None]]
) -> None:
    """Where sockets come and go by the thousand that would be their memory over and over."""

    async def come_and_go() -> None:
        async with RawClient(router.addresses.ws_url) as client:
            await goes(client)

    others = held()["GuardedConnection"]  # of tests before, whose failures may hold them
    await come_and_go()  # opens the rooms that the others use
    await wait_until(lambda: held()["GuardedConnection"] == others, "the first one is gone")
    before = held()
    for _ in range(3):
        await come_and_go()
    await wait_until(lambda: held() == before, "nothing is left")


async def test_what_a_refused_client_goes_on_to_say_is_dropped_and_its_close_is_heard(uncollected: None) -> None:
    """It may have seconds to read why it is refused: in these it could leave megabytes that nobody takes."""
    async with running_router(dev=True, max_connections=1) as router, NativeClient(router.addresses.ws_url):
        before = held()
        async with RawClient(router.addresses.ws_url) as refused:
            await refused.upgrade()
            for _ in range(100):
                await refused.send(frame(TEXT, b"x" * 60_000))
            assert await refused.closed() == 4429
            await refused.send(frame(CLOSE, b"\x11\x4d"))
            await refused.ended()
        await wait_until(lambda: held() == before, "nothing is left")


async def reader_leaves(source: EventSource, _router: Router) -> None:
    assert (await source.next()).event == "subscribed"


async def router_ends_stream(source: EventSource, router: Router) -> None:
    await source.next()
    for state in router.registry.states:
        state.mailbox.tell(Close(CloseCode.OPERATOR, "test"))
    await source.rest()


async def stream_is_refused(source: EventSource, _router: Router) -> None:
    assert source.status == 403


@pytest.mark.parametrize(
    ("goes", "room"), [(reader_leaves, "team:1"), (router_ends_stream, "team:1"), (stream_is_refused, "team:2")]
)
async def test_a_stream_that_is_gone_does_not_wait_for_the_garbage_collector(
    guarded_router: Router,
    token: Callable[..., str],
    uncollected: None,
    goes: Callable[[EventSource, Router], Awaitable[None]],
    room: str,
) -> None:
    """However it ended, and where it never began."""

    async def come_and_go() -> None:
        async with EventSource(guarded_router.addresses.api_url, room, token("ann", rooms=("team:1",))) as source:
            await goes(source, guarded_router)

    others = held()["HeadTimer"]  # of tests before
    await come_and_go()
    await wait_until(lambda: held()["HeadTimer"] == others, "the first one is gone")
    before = held()
    for _ in range(3):
        await come_and_go()
    await wait_until(lambda: held() == before, "nothing is left")
