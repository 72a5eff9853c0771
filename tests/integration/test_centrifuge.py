"""The Centrifuge door of a whole router: what is sent, what is answered, how one parts."""

from __future__ import annotations

from server.app import Router

from ..centrifuge_client import CentrifugeClient, centrifuge_url

ROOM = "session:1"


def an_event(number: int, **fields: object) -> dict[str, object]:
    """What `publish` takes for data."""
    return {"kind": "app.step", "data": {"n": number}, **fields}


async def test_a_publication_reaches_who_has_subscribed(router: Router) -> None:
    """Connect, subscribe, publish: its data is the event without its place, its offset the room's."""
    async with CentrifugeClient(centrifuge_url(router)) as client:
        subscribed = await client.ask("subscribe", channel=ROOM)
        assert await client.ask("publish", channel=ROOM, data=an_event(1, id="one")) == {}
        push = await client.push("pub")
    assert subscribed["recoverable"] is subscribed["positioned"] is True
    assert subscribed["offset"] == 0
    assert push["channel"] == ROOM
    assert push["pub"]["offset"] == 1
    assert push["pub"]["data"].pop("time")
    assert push["pub"]["data"] == {"id": "one", "kind": "app.step", "data": {"n": 1}}
