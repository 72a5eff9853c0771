"""An echo made of the protocol's `ping`: any text in its `id`, in a message of any size, and the text back."""

from __future__ import annotations

import json

from server.app import Router

from ...native_client import NativeClient
from ...raw_client import PING, PONG, TEXT, RawClient, frame

__all__ = ["EVIL", "LIMIT", "Echo", "message_of_size", "message_with"]

LIMIT = 65_536
"""Bytes of a message, at most (`message_bytes`)."""
EVIL = frame(TEXT, json.dumps({"type": "publish", "room": "doc:1", "kind": "a.b", "data": {"evil": True}}).encode())
"""Sent behind what ends a connection: it must not be obeyed."""
_LEAST = len('{"type":"ping","id":""}')


def message_with(text: bytes) -> bytes:
    """Return a message whose echo is this text."""
    return b'{"type":"ping","id":"' + text + b'"}'


def message_of_size(size: int) -> bytes:
    """Return a message of exactly so many bytes."""
    return message_with(b"x" * (size - _LEAST))


class Echo:
    """A client of bytes, and another client in the same router that must not notice anything of it.

    Args:
        router: Whom both talk to.
        headers: For the handshake.
    """

    def __init__(self, router: Router, *headers: str) -> None:
        self._router = router
        self._headers = headers
        self.client = RawClient(router.addresses.ws_url)
        self._other = NativeClient(router.addresses.ws_url)

    async def __aenter__(self) -> Echo:
        await self.client.__aenter__()
        await self.client.open(*self._headers)
        await self._other.__aenter__()
        await self._other.subscribe("doc:1")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        try:
            if error is None:
                assert (await self._other.ask("publish", room="doc:1", kind="a.b", data={"good": True}))[
                    "duplicate"
                ] is False
                (event,) = await self._other.nothing_more()
                assert event["data"] == {"good": True}, "something was obeyed that came behind the end"
        finally:
            await self._other.__aexit__(None, None, None)
            await self.client.__aexit__(None, None, None)

    async def send(self, *frames: bytes) -> None:
        """Send frames in one piece."""
        await self.client.send(b"".join(frames))

    async def hears(self, text: str) -> None:
        """Check that this is the next echo."""
        message = await self.client.message()
        assert (message["type"], message.get("id")) == ("pong", text)

    async def frames(self, count: int) -> list[tuple[int, bytes]]:
        """Read so many frames; pings of the router's own are answered on the way."""
        heard: list[tuple[int, bytes]] = []
        while len(heard) < count:
            opcode, payload = await self.client.read()
            if opcode == PING:
                await self.send(frame(PONG, payload))
            else:
                heard.append((opcode, payload))
        return heard

    async def answers(self) -> None:
        """Check that the connection is as it was."""
        await self.send(frame(PING, b"still there"), frame(TEXT, message_with(b"and listening")))
        assert await self.frames(1) == [(PONG, b"still there")]
        await self.hears("and listening")

    async def ends(self, code: int, *frames: bytes) -> None:
        """Send frames and something evil behind them; check that the connection ends with this code."""
        await self.send(*frames, EVIL)
        assert await self.client.closed() == code
