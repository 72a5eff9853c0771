"""docs/how-to/publish-from-django.md, done as it says: a project under gunicorn, beside a real router."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from postroom_client.testing import Postroom, assert_event

from .guides import WAIT_S, Program, done, lines, program, written

PAGE = "docs/how-to/publish-from-django.md"


class Shop:
    """The page's project as it runs.

    Args:
        program: gunicorn.
        postroom: The router that it publishes to.
        url: Where gunicorn listens.
    """

    def __init__(self, program: Program, postroom: Postroom, url: str) -> None:
        self.program = program
        self.postroom = postroom
        self._url = url

    async def post(self, path: str) -> httpx.Response:
        """Do what one of the page's curl commands does, for any order."""
        assert any(line.endswith(re.sub(r"\d+", "17", path)) for line in lines(PAGE, "curl -X POST"))
        async with httpx.AsyncClient(timeout=WAIT_S) as http:
            return await http.post(self._url + path)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder, set up with the page's commands."""
    folder = tmp_path_factory.mktemp("project")
    for command in lines(PAGE, "django-admin") + lines(PAGE, "python manage.py startapp"):
        done(command, folder)
    written(PAGE, folder)
    for command in lines(PAGE, "python manage.py m"):
        done(command, folder)
    return folder


@pytest.fixture
async def shop(project: Path, postroom_alone: Postroom) -> AsyncIterator[Shop]:
    """The application, started with the page's command on a free port: workers forked from a master that loaded it."""
    (command,) = lines(PAGE, "gunicorn")
    assert "--preload" in command
    token = postroom_alone.token("shop", "service")
    environment = {"POSTROOM_API_URL": postroom_alone.api_url, "POSTROOM_TOKEN": token}
    async with program(command.replace(":8080", ":0"), project, **environment) as running:
        url = await running.says(r"Listening at: (http://[\d.:]+)")
        yield Shop(running, postroom_alone, url[1])


async def test_forked_workers_publish_beside_a_router_without_one_and_at_their_end(shop: Shop) -> None:
    """What is told comes after the commit; while the router is away `ask` is a 503, and what waits comes at the end."""
    ann = await shop.postroom.client("ann")
    order = await ann.subscribe("order:17")
    assert (await shop.post("/orders/17/payments")).json() == {"cents": 1200}
    await assert_event(order, "order.paid", cents=1200)
    assert (await shop.post("/orders/17/parcels")).json() == {"offset": 2}

    await shop.postroom.stop_router()
    assert (await shop.post("/orders/18/payments")).status_code == 200
    refused = await shop.post("/orders/17/parcels")
    assert refused.status_code == 503
    assert "order-17-sent" in refused.json()["detail"]

    shop.program.process.terminate()
    await shop.program.says("Handling signal: term")
    await shop.postroom.start_router()
    await shop.program.says("Shutting down: Master")
    assert "not delivered" not in shop.program.printed
    last = await ann.subscribe("order:18", history=1)
    await assert_event(last, "order.paid", cents=1200)


def test_the_projects_tests_pass(project: Path) -> None:
    """They run with Django's own runner, as the page says."""
    (command,) = lines(PAGE, "python manage.py test")
    assert "OK" in done(command, project)
