"""Takes the pictures of the console that the documentation shows: `make screenshots`.

A router with the demonstration, a client that reads slowly, a failure and an alert; the pictures go to `docs/images`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser
from websockets.exceptions import ConnectionClosed

from server import demo
from server.app import Router
from server.auth import issue_token

from ..conftest import SECRET, running_router
from ..native_client import NativeClient
from .browser import open_console, running_browser
from .services import crash, publish, small_client, state_of

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDE: Any = {"width": 1040, "height": 720}
HIGH: Any = {"width": 1040, "height": 1090}
PHONE: Any = {"width": 360, "height": 720}
NEWS_S = 9.0
"""How long news stays on the page, and a little more."""
SLOW_S = 20.0
"""For how long somebody is slow before they are taken."""
LOOK_S = 75.0
"""For how long the figures are gathered before the pictures are taken."""
BUSY = "session:demo-2"


async def read_slowly(client: NativeClient) -> None:
    """Be slow: pause after each message."""
    with contextlib.suppress(ConnectionClosed):
        await client.subscribe(BUSY)
        while True:
            await client.socket.recv()
            await asyncio.sleep(0.5)


async def keep_busy(router: Router) -> None:
    """Publish more than the slow client reads."""
    while True:
        await publish(router, BUSY, "app.report", {"lines": "x" * 3000})
        await asyncio.sleep(0.2)


async def take(browser: Browser, router: Router, name: str, view: str, text: str = "", **options: Any) -> None:
    """Take one picture of a view, once it says this."""
    async with open_console(browser, router.addresses, **{"viewport": WIDE, **options}) as page:
        await page.evaluate("hash => { location.hash = hash; }", f"#{view}")
        await page.wait_for_timeout(4000)
        await page.get_by_text(text).first.wait_for()
        await page.screenshot(path=IMAGES / f"{name}.png")


async def main() -> None:
    """Take all of them."""
    IMAGES.mkdir(exist_ok=True)
    bobs = issue_token(SECRET, "bob", "user", ("session:*",), (), 3600)
    async with (
        running_router((demo.plugin,), dev=True, journal="memory") as router,
        running_browser() as browser,
        NativeClient(router.addresses.ws_url, issue_token(SECRET, "ada", "admin", (), (), 3600)) as ada,
        small_client(router.addresses.ws_url, token=bobs, max_queue=1) as bob,
        open_console(browser, router.addresses, viewport=HIGH) as overview,
    ):
        for room in demo.ROOMS:
            await ada.subscribe(room)
        tasks = [asyncio.create_task(keep_up(ada))]
        await asyncio.sleep(LOOK_S - SLOW_S)
        tasks += [asyncio.create_task(each) for each in (read_slowly(bob), keep_busy(router))]
        await asyncio.sleep(SLOW_S)
        crash(state_of(router, ada).mailbox)
        crash(router.directory.room("session:demo-1"))
        alert = {"severity": "high", "title": "The disk of the build machine is nearly full"}
        await publish(router, "session:demo-1", "alert", alert, ack="required")
        await asyncio.sleep(NEWS_S)
        await overview.screenshot(path=IMAGES / "console-overview.png")
        await overview.emulate_media(color_scheme="dark")
        await overview.screenshot(path=IMAGES / "console-overview-dark.png")
        await take(browser, router, "console-room", "/rooms/session%3Ademo-1", "The session runs")
        await take(browser, router, "console-journal", "/journal")
        await take(browser, router, "console-supervision-dark", "/supervision", color_scheme="dark")
        await take(browser, router, "console-connections-dark", "/connections", color_scheme="dark")
        await take(browser, router, "console-phone", "/", viewport=PHONE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for image in sorted(IMAGES.glob("console-*.png")):
        print(f"{image.name}: {image.stat().st_size // 1024} KiB")


async def keep_up(client: NativeClient) -> None:
    """Read whatever comes."""
    while True:
        await client.socket.recv()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
