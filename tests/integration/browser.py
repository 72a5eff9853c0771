"""A real browser, Chromium, with the console in it: for tests and for the pictures in the documentation."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Request, async_playwright, expect

from server.addresses import Addresses

__all__ = ["WAIT_MS", "Watched", "browser_for_tests", "chromium_for_tests", "open_console", "running_browser"]

WAIT_MS = 10_000
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _chromium() -> str | None:
    """Return where this machine's Chromium is; None: it has none."""
    return next(filter(None, map(shutil.which, _CHROMIUM)), None)


class Watched:
    """A page, and what it did that it should not.

    Args:
        page: The page.
        allowed: Hosts that it may ask.
    """

    def __init__(self, page: Page, allowed: set[str]) -> None:
        self.page = page
        self.complaints: list[str] = []
        """What the browser or the page's program complained of: violations of the policy among it."""
        self.foreign: list[str] = []
        """What it asked other hosts for."""
        self.dialogs: list[str] = []
        self._allowed = allowed
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)
        page.on("websocket", lambda socket: self._opened(socket.url))
        page.on("dialog", lambda dialog: self.dialogs.append(dialog.message))

    def _heard(self, kind: str, text: str) -> None:
        # That a request was refused or not answered is what some tests are about, and the page says it itself.
        if kind in ("error", "warning") and not text.startswith(
            ("Failed to load resource", "WebSocket connection to", "Postroom: ")
        ):
            self.complaints.append(text)

    def _asked(self, request: Request) -> None:
        self._opened(request.url)

    def _opened(self, url: str) -> None:
        if urlsplit(url).netloc not in self._allowed and not url.startswith("data:"):
            self.foreign.append(url)


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Run this machine's Chromium; Playwright's own is not downloaded."""
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


def chromium_for_tests() -> str:
    """Return where Chromium is; without it tests are skipped, but not where everything has to be tested."""
    found = _chromium()
    if found is None:
        reason = f"a page is tested in Chromium, and there is none: {' or '.join(_CHROMIUM)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@asynccontextmanager
async def browser_for_tests() -> AsyncIterator[Browser]:
    """Run Chromium for tests; see `chromium_for_tests`."""
    chromium_for_tests()
    async with running_browser() as browser:
        yield browser


@asynccontextmanager
async def open_console(browser: Browser, addresses: Addresses, **options: Any) -> AsyncIterator[Page]:
    """Open the console of a router in a tab that knows nothing; nothing may be wrong with it in the end.

    Args:
        browser: See `running_browser`.
        addresses: Of the router.
        options: Those of Playwright's `new_context`.
    """
    context = await browser.new_context(**options)
    try:
        page = await context.new_page()
        page.set_default_timeout(WAIT_MS)
        watched = Watched(page, {urlsplit(url).netloc for url in addresses})
        await page.goto(addresses.api_url)
        yield page
        assert watched.complaints == []
        assert watched.foreign == []
        assert watched.dialogs == []
    finally:
        await context.close()
