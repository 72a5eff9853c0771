"""The demonstration's own clients, over sockets like any other: one reads slowly, one fails now and then.

They are there so that a router that is tried out has somebody who is slow and something that was repaired.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import socket
from types import TracebackType
from typing import TYPE_CHECKING

from pykka.messages import ProxyCall
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from actors.loop import LoopActor
from actors.mailbox import Mailbox
from actors.messages import Publish

if TYPE_CHECKING:
    from .app import Router

__all__ = ["COMES_BACK_S", "FIRST_FAILURE_S", "REPORTS", "Clumsy", "DemoClient", "Sluggish", "plugin"]

REPORTS = "demo:reports"
"""A room with large events, for the slow one: small ones would stay in the system's buffers for minutes."""

_REPORT_BYTES = 16 * 1024
_REPORTS_EVERY_S = 0.5
_READS_EVERY_S = 1.0
_BUFFER_BYTES = 4 * 1024
FIRST_FAILURE_S = 10.0
_FAILS_EVERY_S = 60.0
COMES_BACK_S = 2.0


def plugin(router: Router) -> None:
    """Start both clients."""
    router.start_actor(Sluggish, router, name="demo slow reader")
    router.start_actor(Clumsy, router, name="demo failing client")


class DemoClient(LoopActor):
    """Connects, joins a room, does what its kind does, and comes back when it was sent away.

    Args:
        router: Whose client it is.
        mailbox: Where it lives.
    """

    client = "demo"
    room = REPORTS

    def __init__(self, router: Router, *, mailbox: Mailbox | None = None) -> None:
        super().__init__(mailbox=mailbox)
        self._router = router
        self._task: asyncio.Task[None] | None = None

    def on_start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live())

    def on_stop(self) -> None:
        self._end()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    @abc.abstractmethod
    async def behave(self, connection: ClientConnection, connection_id: str) -> None:
        """Do what this kind of client does, for as long as it is connected."""

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _live(self) -> None:
        while True:
            with contextlib.suppress(OSError, WebSocketException):  # the router has sent it away, or stops
                await self._visit()
            await asyncio.sleep(COMES_BACK_S)

    async def _visit(self) -> None:
        host, port = self._router.addresses.ws_url.removeprefix("ws://").removesuffix("/v1/ws").rsplit(":", 1)
        with socket.socket(socket.AF_INET6 if "[" in host else socket.AF_INET) as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            await asyncio.get_running_loop().sock_connect(sock, (host.strip("[]"), int(port)))
            async with connect(
                self._router.addresses.ws_url,
                sock=sock,
                subprotocols=["postroom.v1"],  # type: ignore[list-item]  # a NewType of str
                compression=None,
                max_queue=1,
                close_timeout=0,
                proxy=None,
            ) as connection:
                client = {"name": self.client, "version": "1"}
                await connection.send(json.dumps({"type": "hello", "id": "hello", "client": client}))
                welcome = json.loads(await connection.recv())
                await connection.send(json.dumps({"type": "subscribe", "id": "join", "room": self.room}))
                await self.behave(connection, welcome.get("connection", ""))


class Sluggish(DemoClient):
    """Reads one message a second of a room where twice as many come."""

    client = "demo-slow-reader"

    async def behave(self, connection: ClientConnection, connection_id: str) -> None:
        reports = asyncio.get_running_loop().create_task(self._report())
        try:
            while not self._router.draining:  # whoever stops the router is not kept waiting
                await connection.recv()
                await asyncio.sleep(_READS_EVERY_S)
        finally:
            reports.cancel()

    async def _report(self) -> None:
        text = "all files are well. " * (_REPORT_BYTES // 20)
        report = Publish(rooms=(REPORTS,), kind="app.report", data={"report": text})
        while True:
            self._router.source.tell(report)
            await asyncio.sleep(_REPORTS_EVERY_S)


class Clumsy(DemoClient):
    """Reads what comes; now and then the actor behind its connection is made to fail, and is repaired."""

    client = "demo-failing-client"
    room = "session:demo-1"

    async def behave(self, connection: ClientConnection, connection_id: str) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(FIRST_FAILURE_S, self._stumble, connection_id)
        try:
            while True:
                await connection.recv()
                if timer.when() <= loop.time():
                    timer = loop.call_later(_FAILS_EVERY_S, self._stumble, connection_id)
        finally:
            timer.cancel()

    def _stumble(self, connection_id: str) -> None:
        for state in self._router.registry.states:
            if state.id == connection_id:
                state.mailbox.tell(ProxyCall(("a_failure_that_the_demo_makes",), (), {}))
