"""The examples with a page, each run by its one command and used in Chromium; two people have two browsers."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from ..integration.browser import WAIT_MS, Watched, browser_for_tests
from .example import Example, running_example

SOME = re.compile(r"^[1-9]\d* %$")

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browser_for_tests() as browser:
        yield browser


@asynccontextmanager
async def used(browser: Browser, name: str, folder: Path, people: int, **environment: str) -> AsyncIterator:
    """Run an example, and open its page for so many people; in the end nothing may be wrong with a page."""
    surroundings = {**os.environ, **environment}
    with running_example(name, folder, surroundings, warns_of="alert_escalated") as example:
        await asyncio.to_thread(example.prints_what_stands_in, "README.md")
        allowed = {urlsplit(url).netloc for url in (example.page, example.router)}
        async with AsyncExitStack() as stack:
            pages = []
            for _ in range(people):
                context = await browser.new_context()
                stack.push_async_callback(context.close)
                page = await context.new_page()
                page.set_default_timeout(WAIT_MS)
                pages.append(Watched(page, allowed))
                answer = await page.goto(example.page)
                assert answer is not None
                assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
            yield example, *(watched.page for watched in pages)
            for watched in pages:
                assert watched.complaints == []
                assert watched.foreign == []


async def test_two_people_chat(browser: Browser, tmp_path: Path) -> None:
    """Each sees both messages, as text, with the names; a name is taken once, and free when its owner has left."""
    async with used(browser, "chat", tmp_path, 2) as (_, ada, bob):
        await come_in(ada, "ada")
        await bob.fill("#name", "ada")
        await bob.click("text=Come in")
        await expect(bob.locator("#refused")).to_have_text("ada is taken")
        await come_in(bob, "bob")
        for page, text in ((ada, "hello <b>Bob</b>"), (bob, "hello Ada")):
            await page.fill("#text", text)
            await page.press("#text", "Enter")
            for each in (ada, bob):
                await expect(each.locator("#messages li").last.locator("p")).to_have_text(text)
        for page, mine in ((ada, "ada"), (bob, "bob")):
            assert await page.locator("#messages b").all_text_contents() == ["ada", "bob"]
            assert await page.locator("#messages .mine b").all_text_contents() == [mine]
            await expect(page.locator("#members li")).to_have_text(["ada", "bob"])
        (cookie,) = await ada.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        await ada.click("#leave")
        await expect(bob.locator("#members li")).to_have_text(["bob"])
        await come_in(ada, "ada")
        await expect(ada.locator("#messages p")).to_have_text(["hello <b>Bob</b>", "hello Ada"])
        await expect(ada.locator("#messages .mine")).to_have_count(0)


async def come_in(page: Page, name: str) -> None:
    await page.fill("#name", name)
    await page.click("text=Come in")
    await expect(page.locator("#phase")).to_have_text("connected")


async def test_an_alert_is_open_until_somebody_acknowledges_it(browser: Browser, tmp_path: Path) -> None:
    """Both admins see it come, go to all admins when nobody takes it, and who has acknowledged it."""
    async with used(browser, "alerts_desk", tmp_path, 2, DESK_PATIENCE_S="0.5") as (example, ada, bob):
        for page, name in ((ada, "ada"), (bob, "bob")):
            await log_in(page, name, "wrong")
            await expect(page.locator("#refused")).to_have_text("that is not the password")
            await log_in(page, name, password_of(example))
            await expect(page.locator("#phase")).to_have_text("connected")
        await ada.click("#break")
        for page in (ada, bob):
            await expect(page.locator(".alert h3")).to_have_text("The shop is closed")
            await expect(page.locator(".alert .escalated")).to_contain_text("All admins were told")
            await expect(page).to_have_title("(1) Alerts desk")
        await bob.click("text=Acknowledge")
        for page in (ada, bob):
            await expect(page.locator(".alert")).to_have_count(0)
            await expect(page.locator("#done li")).to_contain_text("The shop is closed: bob")
        await ada.click("#mend")
        await expect(bob.locator("#feed li").first).to_contain_text("The shop is open again")
        told = await bob.locator("#feed li").all_text_contents()
        assert sum("Nobody acknowledged it: The shop is closed (desk:shop)" in each for each in told) == 1


async def log_in(page: Page, name: str, password: str) -> None:
    await page.fill("#name", name)
    await page.fill("#password", password)
    await page.click("text=Log in")


def password_of(example: Example) -> str:
    found = re.search(r"with the password (\S+)\. ", example.printed)
    assert found is not None
    return found[1]


async def test_a_job_is_watched_by_its_owner_alone_and_through_a_reload(browser: Browser, tmp_path: Path) -> None:
    """The bar goes on where the job is; how it ended is there for who comes later."""
    async with used(browser, "fastapi_progress", tmp_path, 2) as (_, ada, bob):
        await ada.route("**/jobs", ask_for_others)
        await ada.click("#start")
        await expect(ada.locator("#percent")).to_have_text(SOME)
        await ada.reload()
        await expect(ada.locator("#status")).to_have_text("started")
        await expect(ada.locator("#percent")).to_have_text(SOME)
        await bob.goto(ada.url)
        await expect(bob.locator("#problem")).to_contain_text("forbidden")
        await expect(ada.locator("#end")).to_contain_text("24 files in")
        await expect(ada.locator("#bar")).to_have_attribute("value", "100")
        await ada.reload()
        await expect(ada.locator("#end")).to_contain_text("24 files in")
        await ada.click("#start-broken")
        await expect(ada.locator("#end")).to_have_text("photo-5.jpg is no picture")
        await expect(ada.locator("#status")).to_have_text("failed")


async def ask_for_others(route: Route) -> None:
    """Have a job that ends badly be short, and the other long enough to be looked at in between."""
    asked = json.loads(route.request.post_data or "{}")
    await route.continue_(post_data=json.dumps({**asked, "files": 8 if asked["one_is_broken"] else 24}))
