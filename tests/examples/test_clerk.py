"""The chat's clerk: what users say reaches the lobby once, and with the right name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

import postroom_client
from examples.chat.clerk import LOBBY, Clerk, said_by
from postroom_client import BufferFull, Client, CommandError, Message, Service, Subscription
from server.app import Router

from ..native_client import WAIT_S

ADA, BOB = "ada.00000001", "bob.00000002"
Tokens = Callable[..., str]


def connecting(router: Router, user: str, token: Tokens) -> AbstractAsyncContextManager[Client]:
    rights = {"rooms": (LOBBY,), "publish": (said_by(user),)}
    return postroom_client.connect(router.addresses.ws_url, token=token(user, **rights), proxy=None)


async def at_work(router: Router, token: Tokens, user: str, text: str, ada: Client, lobby: Subscription) -> list[str]:
    """Have a clerk follow a user, who says something; return what comes to the lobby until then."""
    service_token = token("clerk", "service", rooms=(said_by("*"),))
    async with (
        asyncio.timeout(WAIT_S),
        Service(router.addresses.api_url, token=service_token) as service,
        postroom_client.connect(router.addresses.ws_url, token=service_token, proxy=None) as client,
    ):
        clerk = Clerk(client, service)
        await clerk.follow(user)
        await clerk.follow(user)
        await ada.publish(said_by(user), "chat.said", {"text": text})
        heard: list[str] = []
        while not heard or not heard[-1].endswith(text):
            message = (await anext(lobby)).data
            heard.append(f"{message['from']}: {message['text']}")
        await clerk.leave(user)
        return heard


async def test_what_was_said_while_no_clerk_was_there_is_copied_and_nothing_twice(
    guarded_router: Router, token: Tokens
) -> None:
    """The second clerk begins with the history, and the router takes each event id once."""
    async with connecting(guarded_router, ADA, token) as ada:
        lobby = await ada.subscribe(LOBBY)
        assert await at_work(guarded_router, token, ADA, "one", ada, lobby) == [f"{ADA}: one"]
        await ada.publish(said_by(ADA), "chat.said", {"text": "two", "from": "bob"})
        assert await at_work(guarded_router, token, ADA, "three", ada, lobby) == [f"{ADA}: two", f"{ADA}: three"]


class OnceFull(Service):
    """A service that has no room for the first event."""

    full = True

    def tell(self, message: Message) -> str:
        """Take the event, but not the first."""
        if self.full:
            self.full = False
            raise BufferFull(1, 1)
        return super().tell(message)


async def test_a_clerk_that_had_to_stop_copies_what_was_said_when_it_is_asked_again(
    guarded_router: Router, token: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    """The page asks for tokens again and again, and each time the clerk is to follow."""
    addresses, service_token = guarded_router.addresses, token("clerk", "service", rooms=(said_by("*"),))
    async with (
        asyncio.timeout(WAIT_S),
        connecting(guarded_router, ADA, token) as ada,
        OnceFull(addresses.api_url, token=service_token) as service,
        postroom_client.connect(addresses.ws_url, token=service_token, proxy=None) as client,
    ):
        lobby = await ada.subscribe(LOBBY)
        clerk = Clerk(client, service)
        await ada.publish(said_by(ADA), "chat.said", {"text": "one"})
        hearing = asyncio.create_task(anext(lobby))
        while not hearing.done():
            await clerk.follow(ADA)
            await asyncio.wait([hearing], timeout=0.05)
        assert hearing.result().data == {"from": ADA, "text": "one"}
        assert f"what {ADA} says is not copied" in caplog.text
        await clerk.leave(ADA)


@pytest.mark.parametrize("data", [{}, {"text": 7}, {"text": "  "}, {"text": "a" * 501}])
async def test_what_is_not_fit_for_others_stays_where_it_is(
    guarded_router: Router, token: Tokens, data: dict[str, object]
) -> None:
    """The next message is the first in the lobby."""
    async with connecting(guarded_router, ADA, token) as ada:
        lobby = await ada.subscribe(LOBBY)
        await ada.publish(said_by(ADA), "chat.said", data)
        assert await at_work(guarded_router, token, ADA, "fit", ada, lobby) == [f"{ADA}: fit"]


@pytest.mark.parametrize("room", [LOBBY, said_by(BOB)])
async def test_nobody_speaks_in_the_lobby_or_in_the_name_of_others(
    guarded_router: Router, token: Tokens, room: str
) -> None:
    """The token says so, and the router keeps to it."""
    async with connecting(guarded_router, ADA, token) as ada:
        with pytest.raises(CommandError, match="forbidden"):
            await ada.publish(room, "chat.said", {"text": "I am Bob"})
