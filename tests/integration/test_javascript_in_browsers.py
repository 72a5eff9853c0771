"""The JavaScript client in a real browser: from the router itself, and on the example's page of another origin."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from postroom_client import Custom, Progress, Service, Session
from postroom_client.testing import RouterProcess
from postroom_client.testing._line import line

from ..served import served
from .browser import WAIT_MS, Watched, browser_for_tests

EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, for both tests."""
    async with browser_for_tests() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab."""
    context = await browser.new_context()
    page = await context.new_page()
    page.set_default_timeout(WAIT_MS)
    yield page
    await context.close()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The example's folder, served as `python -m http.server` does."""
    with served(EXAMPLE) as origin:
        yield origin


@pytest.fixture(scope="module")
def router(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    """A router that takes its own pages and those of the example."""
    process = RouterProcess(tmp_path_factory.mktemp("router"), settings={"dev": True})
    process.settings["origins"] = [origin, process.api_url]
    with process:
        yield process


async def test_a_page_follows_a_room_through_a_cut_and_a_restart(page: Page, router: RouterProcess):
    """It imports the client from the router, and gets every event once and in order; the room is resumed in full."""
    async with line(router.port) as between, Service(router.api_url) as service:
        await page.goto(f"{router.api_url}/healthz")
        await page.evaluate(
            """async (url) => {
              const { connect } = await import("/postroom.js");
              window.client = await connect(url, { backoff: { floorMs: 5, capMs: 100 } });
              window.session = await client.subscribe("session:1");
              window.seen = [];
              session.addEventListener("event", ({ detail }) => seen.push(detail.data.number));
            }""",
            between.url,
        )
        for number in range(30):
            if number == 10:
                await page.wait_for_function("seen.length === 10")
                between.cut()
            if number == 20:
                await asyncio.to_thread(router.kill)
                await asyncio.to_thread(router.start)
            await service.ask(Custom("session:1", "app.count", {"number": number}), timeout=20)
        await page.wait_for_function("seen.length >= 30")
        assert await page.evaluate("seen") == list(range(30))
        assert await page.evaluate("[session.recovery, client.phase]") == ["full", "open"]
        assert between.connections > 2
        assert await page.evaluate("client.close().then(() => client.phase)") == "ended"


async def test_the_examples_page_shows_a_session_of_a_router_of_another_origin(
    page: Page, origin: str, router: RouterProcess
):
    """Its origin is among the router's; it shows state and events, and goes on after a break."""
    async with line(router.port) as between, Service(router.api_url) as service:
        await service.ask(Session("session:2", "started"))
        await service.ask(Progress("session:2", 1, 4))
        watched = Watched(page, {urlsplit(each).netloc for each in (origin, between.url, router.api_url)})
        query = urlencode({"api": router.api_url, "ws": between.url, "room": "session:2"})
        await page.goto(f"{origin}/?{query}")
        await expect(page.locator("#phase")).to_have_text("open")
        await expect(page.locator("#session")).to_have_text("started")
        await expect(page.locator("#progress")).to_have_attribute("value", "25")
        between.cut()
        await service.ask(Progress("session:2", 3, 4))
        await service.ask(Session("session:2", "completed"))
        await expect(page.locator("#session")).to_have_text("completed")
        await expect(page.locator("#events li")).to_have_count(4)
        lines = await page.locator("#events li").all_text_contents()
        shown = [" ".join(re.findall(r"^#\d+ \w+", each)) for each in reversed(lines)]
        assert shown == ["#1 session", "#2 progress", "#3 progress", "#4 session"]
        assert watched.complaints == []
        assert watched.foreign == []


async def test_a_page_of_an_origin_that_is_not_allowed_is_told_what_to_do(page: Page, origin: str, tmp_path: Path):
    """Browsers say that it failed, and not why: the client asks. The command that it shows lets the page in."""
    with RouterProcess(tmp_path, settings={"dev": True}) as router:
        query = urlencode({"api": router.api_url, "ws": router.url, "room": "session:1"})
        command = f"POSTROOM_ORIGINS={origin},{router.api_url} postroom serve --dev"
        async with page.expect_console_message(lambda message: command in message.text):
            await page.goto(f"{origin}/?{query}")
        await expect(page.locator("#reason")).to_contain_text(command)
        assert f'"event": "origin_refused", "logger": "postroom.origins", "origin": "{origin}"' in router.log
        assert command in router.log
        router.stop()
        router.settings["origins"] = [origin, router.api_url]
        router.start()
        await page.reload()
        await expect(page.locator("#phase")).to_have_text("open")


async def test_a_page_of_a_proxy_is_no_reason(page: Page, origin: str, tmp_path: Path):
    """Only plain text is shown; without it the client says what it says of any connection that did not come about."""
    with RouterProcess(tmp_path, settings={"dev": True}) as router:

        async def as_a_proxy(route: Route) -> None:
            any_page = {"Access-Control-Allow-Origin": "*"}
            await route.fulfill(status=403, content_type="text/html", headers=any_page, body="<h1>Forbidden</h1>")

        await page.route(f"http{router.url.removeprefix('ws')}", as_a_proxy)
        query = urlencode({"api": router.api_url, "ws": router.url, "room": "session:1"})
        await page.goto(f"{origin}/?{query}")
        await expect(page.locator("#reason")).to_contain_text("no WebSocket connection to")
        await expect(page.locator("#reason")).not_to_contain_text("Forbidden")


async def test_the_console_says_why_the_router_does_not_let_it_connect(page: Page, tmp_path: Path):
    """With a list of origins only the list counts, and this one has not the console's own."""
    with RouterProcess(tmp_path, settings={"dev": True, "origins": ["http://127.0.0.1:8080"]}) as router:
        watched = Watched(page, {urlsplit(url).netloc for url in (router.url, router.api_url)})
        await page.goto(router.api_url)
        await expect(page.locator("body")).to_contain_text(f"{router.api_url} added to POSTROOM_ORIGINS")
        assert watched.complaints == []
