"""docs/how-to/publish-from-fastapi.md, done as it says: the application under uvicorn, beside a real router."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from postroom_client.testing import Postroom, assert_event

from .guides import WAIT_S, Program, lines, program, written

PAGE = "docs/how-to/publish-from-fastapi.md"


class Orders:
    """The page's application as it runs.

    Args:
        program: uvicorn.
        postroom: The router that it publishes to.
        url: Where uvicorn listens.
    """

    def __init__(self, program: Program, postroom: Postroom, url: str) -> None:
        self.program = program
        self.postroom = postroom
        self._url = url

    async def post(self, path: str) -> httpx.Response:
        """Do what one of the page's curl commands does."""
        assert any(line.endswith(path) for line in lines(PAGE, "curl -X POST"))
        async with httpx.AsyncClient(timeout=WAIT_S) as http:
            return await http.post(self._url + path)


@pytest.fixture
async def orders(postroom_alone: Postroom, tmp_path: Path) -> AsyncIterator[Orders]:
    """The application, started with the page's command on a free port."""
    written(PAGE, tmp_path)
    token = postroom_alone.token("orders", "service")
    (command,) = lines(PAGE, "uvicorn")
    command = command.replace("--port 8080", "--port 0")
    environment = {"POSTROOM_API_URL": postroom_alone.api_url, "POSTROOM_TOKEN": token}
    async with program(command, tmp_path, **environment) as running:
        url = await running.says(r"running on (http://[\d.:]+)")
        yield Orders(running, postroom_alone, url[1])


async def test_the_application_publishes_beside_a_router_without_one_and_at_its_end(orders: Orders) -> None:
    """While the router is away `tell` answers and `ask` is a 503; what waits comes later, and before the end."""
    ann = await orders.postroom.client("ann")
    order = await ann.subscribe("order:17")
    assert (await orders.post("/orders/17/views")).status_code == 200
    assert (await orders.post("/orders/17/payments")).json() == {"offset": 2}
    await assert_event(order, "order.seen")
    await assert_event(order, "order.paid", cents=1200)

    await orders.postroom.stop_router()
    seen = await orders.post("/orders/17/views")
    assert seen.status_code == 200
    refused = await orders.post("/orders/17/payments")
    assert refused.status_code == 503
    assert "order-17-paid" in refused.json()["detail"]
    await orders.postroom.start_router()
    await assert_event(order, "order.seen", within_s=WAIT_S, event_id=seen.json()["event_id"])
    assert (await orders.post("/orders/17/payments")).json() == {"offset": 2}

    await orders.postroom.stop_router()
    last = await orders.post("/orders/17/views")
    orders.program.process.terminate()
    await orders.program.says("Waiting for application shutdown")
    await orders.postroom.start_router()
    await assert_event(order, "order.seen", within_s=WAIT_S, event_id=last.json()["event_id"])
    await orders.program.says("Finished server process")
