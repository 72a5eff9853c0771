"""The operator's console, in a real browser, on real routers."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from server import demo, demo_clients
from server.addresses import Addresses
from server.app import Router

from ..conftest import RouterProcess, running_router
from ..native_client import WAIT_S, NativeClient
from .browser import browser_for_tests, open_console
from .services import publish, small_client

Token = Callable[..., str]

VIEWS = ("/", "/supervision", "/journal", "/rooms", "/rooms/session%3A1", "/connections", "/quarantine", "/alerts")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"


pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, for all tests of this file."""
    async with browser_for_tests() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def router() -> AsyncIterator[Router]:
    """A router with `--dev`, in the browser's loop."""
    async with running_router(dev=True) as router:
        yield router


@pytest_asyncio.fixture(loop_scope="module")
async def guarded_router() -> AsyncIterator[Router]:
    """A router that asks for tokens, in the browser's loop."""
    async with running_router() as router:
        yield router


async def visit(page: Page, view: str) -> None:
    """Go to a view by its address, as a link does."""
    await page.evaluate("hash => { location.hash = hash; }", f"#{view}")


async def log_in(page: Page, token: str) -> None:
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Log in").click()


async def test_only_an_admins_token_opens_the_console_and_it_stays_in_the_tab(
    browser: Browser, guarded_router: Router, token: Token
):
    """A wrong token, a user's and a service's are refused with the reason; logging out forgets the right one."""
    async with open_console(browser, guarded_router.addresses) as page:
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        await expect(page.locator(".login [role=alert]")).to_be_hidden()
        await log_in(page, "no.token.atall")
        await expect(page.locator(".login [role=alert]")).to_contain_text("Not let in")
        for role in ("user", "service"):
            await log_in(page, token("ann", role))
            await expect(page.locator(".login [role=alert]")).to_contain_text(f"the role {role}")
        await log_in(page, token("ann", "admin"))
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        await expect(page.get_by_text("ann (admin)")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        kept = await page.evaluate("[sessionStorage.length, localStorage.length, document.cookie, location.href]")
        assert kept == [1, 0, "", f"{guarded_router.addresses.api_url}/"]
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        assert await page.evaluate("sessionStorage.length") == 0


async def test_a_token_that_ends_is_announced_and_another_one_takes_its_place(browser: Browser, token: Token):
    """The page warns, keeps its connection with a new token, and asks for one where the old one has expired."""
    async with (
        running_router(token_warning_s=60.0, token_grace_s=0.1) as router,
        open_console(browser, router.addresses) as page,
    ):
        await log_in(page, token("ann", "admin", ttl_s=30))
        await expect(page.locator("#banner")).to_contain_text("about to expire")
        await page.get_by_label("New token").fill(token("ann", "admin", ttl_s=3600))
        await page.get_by_role("button", name="Renew").click()
        await expect(page.locator("#banner")).to_be_hidden()
        await page.get_by_role("button", name="Log out").click()
        await log_in(page, token("ann", "admin", ttl_s=1))
        await expect(page.locator(".login [role=alert]")).to_contain_text("expired")


async def test_a_stranger_sees_what_a_session_does(browser: Browser):
    """The session's progress and events come live, in the list and in its room; an event can be published."""
    async with running_router((demo.plugin,), dev=True) as router, open_console(browser, router.addresses) as page:
        sessions = page.get_by_role("table", name="Sessions")
        await expect(sessions.get_by_role("row", name="session:demo-1")).to_contain_text("The session runs: ")
        await sessions.get_by_role("link", name="session:demo-1").click()
        await expect(page.get_by_role("heading", name="session:demo-1")).to_be_focused()
        await expect(page.get_by_role("progressbar")).to_be_visible()
        await expect(page.locator(".verdict")).to_contain_text("of 20 files")
        await expect(page.get_by_role("table", name="Members")).to_contain_text("anonymous")
        events = page.locator(".events")
        await expect(events).to_contain_text("file 2")
        await page.reload()
        await expect(events).to_contain_text("file 3")
        await expect(page.get_by_text("This page no longer follows")).to_be_hidden()
        await page.get_by_label("Data (JSON)").fill('{"level": "info", "message": "from the console"}')
        await page.get_by_role("button", name="Publish").click()
        await expect(page.locator("#news")).to_contain_text("Published as event")
        await expect(events).to_contain_text("from the console")
        await page.get_by_label("Data (JSON)").fill('{"level": "no such"}')
        await page.get_by_role("button", name="Publish").click()
        await expect(page.get_by_text("Not published: ")).to_be_visible()


async def test_the_demonstration_alone_shows_who_is_slow_and_why_a_connection_was_restarted(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    """The overview names both first; the connection's restarts lead to what failed and what its client noticed."""
    monkeypatch.setattr(demo_clients, "FIRST_FAILURE_S", 0.1)
    async with (
        running_router((demo_clients.plugin,), dev=True) as router,
        open_console(browser, router.addresses) as page,
    ):
        look = page.locator("section").filter(has=page.get_by_role("heading", name="What needs a look"))
        await expect(look.get_by_role("link", name="demo-slow-reader 1 is")).to_contain_text("events behind")
        failure = look.get_by_role("link", name="a_failure_that_the_demo_makes")
        await expect(failure).to_contain_text("of anonymous failed")
        await visit(page, "/connections")
        await page.get_by_role("row", name="demo-failing-client").get_by_role("link", name="1: why").click()
        incident = page.get_by_role("listitem").filter(has_text="a_failure_that_the_demo_makes")
        await expect(incident).to_contain_text("Clients noticed: the notice “resumed”; the socket stayed open")
        await visit(page, f"/rooms/{quote(demo_clients.REPORTS, safe='')}")
        event = page.locator(".events details").first
        await event.locator("summary").click()
        await expect(event).to_have_attribute("open", "")
        await expect(event.locator("> code")).to_be_visible()


async def test_the_repair_of_an_actor_appears_as_it_happens(browser: Browser, router: Router):
    """What the API was told to restart is in the journal at once: why, what was done, and that nobody noticed."""
    async with NativeClient(router.addresses.ws_url) as client, open_console(browser, router.addresses) as page:
        await client.subscribe("session:1")
        await visit(page, "/journal")
        await expect(page.get_by_text("The router started")).to_be_visible()
        name = f"connection:{client.welcome['connection']}"
        url = f"{router.addresses.api_url}/v1/actors/{quote(name)}/restart"
        async with aiohttp.ClientSession() as session, session.post(url) as answer:
            assert answer.status == 200
        incident = page.get_by_role("listitem").filter(has_text="was restarted, as anonymous ordered")
        await expect(incident).to_contain_text("is repaired")
        await expect(incident).to_contain_text("rooms attached again")
        await page.get_by_label("Kind").select_option("started")
        await expect(incident).to_be_hidden()
        await page.get_by_role("button", name="Show all").click()
        await incident.get_by_text("Details").click()
        await expect(incident.get_by_text("backoff ms").first).to_be_visible()


async def test_an_operator_restarts_an_actor_from_the_tree(browser: Browser, router: Router):
    """The tree names every actor; a restart has to be confirmed, and is marked."""
    await publish(router, "session:1", "app.count", {"n": 1})
    async with open_console(browser, router.addresses) as page:
        await visit(page, "/supervision")
        await page.get_by_role("button", name="Restart room:session:1").click()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="Restart room:session:1").click()
        await page.get_by_role("dialog").get_by_role("button", name="Restart").click()
        actor = page.locator(".actor").filter(has=page.get_by_text("room:session:1", exact=True))
        await expect(actor).to_contain_text("1 restart ")
        await expect(actor).to_contain_text("restarted once in 5 min")


async def test_an_operator_sees_who_is_here_and_closes_a_connection(browser: Browser, router: Router, token: Token):
    """The list names users and how far they are behind; who is closed is told so."""
    async with (
        NativeClient(router.addresses.ws_url, token("bob")) as client,
        open_console(browser, router.addresses) as page,
    ):
        await visit(page, "/connections")
        row = page.get_by_role("row", name="bob (user)")
        await expect(row).to_contain_text("keeps up")
        await row.get_by_role("link").click()
        await expect(page.locator(".verdict")).to_contain_text("User bob (user) is up to date")
        await page.get_by_role("button", name="Close this connection").click()
        await page.get_by_role("dialog").get_by_role("button", name="Close it").click()
        async with asyncio.timeout(WAIT_S):
            await client.socket.wait_closed()
        assert client.socket.close_code == 4009
        await expect(page.get_by_role("heading", name="Connections")).to_be_visible()
        await expect(row).to_be_hidden()


async def test_a_page_whose_own_connection_is_closed_says_so_and_connects_again_when_it_is_told_to(
    browser: Browser, router: Router
):
    """An operator who closed it was asked twice; so is the page, and then it goes on."""
    async with open_console(browser, router.addresses) as page:
        await visit(page, "/rooms/session%3A1")
        await expect(page.get_by_role("table", name="Members")).to_contain_text("anonymous")
        async with aiohttp.ClientSession() as session:
            await session.delete(f"{router.addresses.api_url}/v1/users/anonymous/connections")
        await expect(page.locator("#banner")).to_contain_text("an operator closed this page's connection")
        await page.get_by_role("button", name="Connect again").click()
        await expect(page.locator("#banner")).to_be_hidden()
        await publish(router, "session:1", "app.count", {"n": 1})
        await expect(page.locator(".events")).to_contain_text('"n":1')
        await expect(page.get_by_role("table", name="Members")).to_contain_text("anonymous")


async def test_who_is_slow_is_named(browser: Browser, router: Router, token: Token):
    """A client that does not read is on the overview, with how far it is behind, and first among the connections."""
    async with (
        small_client(router.addresses.ws_url, token=token("bob", rooms=("session:1",)), max_queue=1) as client,
        open_console(browser, router.addresses) as page,
    ):
        await client.subscribe("session:1")
        for n in range(60):
            await publish(router, "session:1", "app.count", {"n": n, "text": "x" * 8000})
        await expect(page.get_by_role("link", name="bob is")).to_contain_text("events behind")
        await visit(page, "/connections")
        await expect(page.get_by_role("row").nth(1)).to_contain_text("bob (user)")
        await expect(page.get_by_role("row").nth(1)).to_contain_text("slow")
        await page.get_by_role("row").nth(1).get_by_role("link").click()
        await expect(page.get_by_role("row", name="session:1")).to_contain_text("on request")


async def test_a_script_in_an_alert_stays_text_and_the_alert_is_acknowledged(browser: Browser, router: Router):
    """Markup in what publishers send is shown as it is, in every view that shows it, and does nothing."""
    data = {"severity": "critical", "title": SCRIPT, "message": SCRIPT}
    await publish(router, "session:1", "alert", data)
    async with open_console(browser, router.addresses) as page:
        await expect(page.get_by_role("link", name=SCRIPT)).to_be_visible()
        await visit(page, "/alerts")
        row = page.get_by_role("row").filter(has_text=SCRIPT)
        await expect(row).to_contain_text("critical")
        await row.get_by_role("link").click()
        await expect(page.locator(".events")).to_contain_text(SCRIPT)
        await page.go_back()
        await row.get_by_role("button").click()
        await expect(page.get_by_text("Every alert is acknowledged.")).to_be_visible()
        await expect(page.get_by_role("heading", name="alerts")).to_be_focused()  # its button is gone
        assert await page.locator("main img, main script").count() == 0


async def test_a_room_is_deleted_once_its_name_is_typed(browser: Browser, router: Router):
    """The button does nothing before the name is there; then the room is gone."""
    await publish(router, "session:1", "app.count", {"n": 1})
    async with open_console(browser, router.addresses) as page:
        await visit(page, "/rooms")
        await page.get_by_label("Name begins with").fill("session:")
        await expect(page.get_by_text("1 room", exact=True)).to_be_visible()
        await page.get_by_role("link", name="session:1").click()
        await page.get_by_role("button", name="Delete this room").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Type session:1 to confirm").fill("session:2")
        await expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
        await dialog.get_by_label("Type session:1 to confirm").fill("session:1")
        await dialog.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="Rooms")).to_be_visible()
        assert not router.directory.known("session:1")


async def test_a_drain_is_said_and_the_page_comes_back_by_itself(
    browser: Browser, start_router: Callable[..., RouterProcess]
):
    """While the router drains the page says so; while it is away, that it tries again; then it goes on where it was.

    Another journal is another history: that something may be missing stands where it is.
    """
    first = start_router("--dev")
    ports = [*("--port", str(urlsplit(first.ws_url).port)), *("--api-port", str(urlsplit(first.api_url).port))]
    async with open_console(browser, Addresses(first.ws_url, first.api_url)) as page:
        await expect(page.get_by_text("connected", exact=True)).to_be_visible()
        await visit(page, "/rooms/session%3A1")
        await expect(page.get_by_role("table", name="Members")).to_contain_text("anonymous")
        first.signal(signal.SIGTERM)
        await expect(page.locator("#banner")).to_contain_text(re.compile("is draining|was drained"))
        await asyncio.to_thread(first.wait)
        await expect(page.locator("#banner")).to_contain_text("Disconnected from the router: it was drained")
        await asyncio.to_thread(start_router, "--dev", *ports)
        try_now = page.get_by_role("button", name="Try now")  # gone where the page was quicker
        await try_now.evaluate_all("buttons => buttons.forEach((each) => each.click())")
        await expect(page.get_by_text("connected", exact=True)).to_be_visible(timeout=25_000)
        await expect(page.locator("#banner")).to_be_hidden()
        await expect(page.locator(".events")).to_contain_text("Missing here: the room's history began anew")


async def test_a_call_that_fails_is_said_and_the_view_goes_on(browser: Browser, router: Router):
    """A view shows what is wrong with its call, in the router's words, and shows the answer when there is one."""
    async with open_console(browser, router.addresses) as page:
        problem = {"code": "internal", "detail": "the router failed while it handled this"}
        await page.route("**/v1/supervisor?*", lambda route: route.fulfill(status=500, json=problem))
        await visit(page, "/supervision")
        await expect(page.get_by_text("the router failed while it handled this")).to_be_visible()
        await page.unroute("**/v1/supervisor?*")
        await expect(page.get_by_role("button", name="Restart source")).to_be_visible()
        await expect(page.get_by_text("the router failed while it handled this")).to_be_hidden()


BASICS = """() => {
  const wrong = [];
  const name = (node) => node.getAttribute("aria-label") || node.labels?.[0]?.textContent || node.textContent || "";
  for (const node of document.querySelectorAll("a, button, input, select, textarea, progress, [role=img], summary")) {
    if (!name(node).trim()) wrong.push(`no name: ${node.outerHTML.slice(0, 100)}`);
  }
  const visible = [...document.querySelectorAll("h1")].filter((node) => node.offsetParent !== null);
  if (visible.length !== 1) wrong.push(`${visible.length} level 1 headings`);
  for (const part of ["main", "nav", "header"]) if (!document.querySelector(part)) wrong.push(`no ${part}`);
  if (!document.documentElement.lang) wrong.push("no language");
  if (document.querySelectorAll("nav [aria-current=page]").length !== 1) wrong.push("the current view is not marked");
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  if (new Set(ids).size < ids.length) wrong.push("an id is there twice");
  for (const node of document.querySelectorAll("[style]")) wrong.push(`inline style: ${node.outerHTML.slice(0, 100)}`);
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) wrong.push(`${wide} px too wide`);
  for (const node of document.querySelectorAll(".table")) {
    if (node.scrollWidth > node.clientWidth) wrong.push("a table is cut");
  }
  return wrong;
}"""


async def test_every_view_can_be_used_on_a_phone_and_by_a_screen_reader(browser: Browser, router: Router):
    """Everything has a name, headings and landmarks are there, 360 px are wide enough; contrasts suffice."""
    await publish(router, "session:1", "session", {"status": "started"})
    await publish(router, "session:1", "progress", {"current": 3, "total": 10, "message": "long-word" * 12})
    await publish(router, "session:1", "alert", {"severity": "critical", "title": "long-word" * 20})
    size: Any = {"width": 360, "height": 740}
    async with open_console(browser, router.addresses, viewport=size, reduced_motion="reduce") as page:
        for view in VIEWS:
            await visit(page, view)
            await expect(page.locator("nav [aria-current=page]")).to_have_count(1)
            await expect(page.locator("main h1").last).to_be_visible()
            assert await page.evaluate(BASICS) == [], view
            assert await page.evaluate(CONTRASTS) == [], view
        await visit(page, "/connections")
        await expect(page.get_by_role("row", name="postroom-console")).to_be_visible()
        for width in (768, 840, 1040):
            await page.set_viewport_size({"width": width, "height": 720})
            assert await page.evaluate(BASICS) == [], width


CONTRASTS = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => {
      const each = part / 255;
      return each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const { rgb, a } = parse(getComputedStyle(each).backgroundColor);
      if (a === 1) return rgb;
    }
    return [255, 255, 255];
  };
  const wrong = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.offsetParent === null || node.disabled || node.closest("noscript")) continue;
    const [one, other] = [luminance(parse(getComputedStyle(node).color).rgb), luminance(behind(node))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) wrong.push(`${ratio.toFixed(2)}: ${node.outerHTML.slice(0, 100)}`);
  }
  return wrong;
}"""


async def test_the_page_uses_the_keyboard_alone(browser: Browser, router: Router):
    """The first stop skips to the content; the views are links; a dialog gives the focus back."""
    async with open_console(browser, router.addresses) as page:
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("main")).to_be_focused()
        await page.get_by_role("link", name="Supervision", exact=True).focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Supervision")).to_be_focused()
        restart = page.get_by_role("button", name="Restart source")
        await restart.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(restart).to_be_focused()
