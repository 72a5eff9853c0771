"""The tutorial, docs/tutorial.md, with its page in a real browser: what the page of the documentation says is done."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, expect

from ..conftest import RouterProcess
from ..integration.browser import Watched, browser_for_tests
from ..served import served
from .pages import DOCS, REPOSITORY, steps

TUTORIAL = DOCS / "tutorial.md"
WAIT_S = 30.0
SERVE = "python -m http.server 8080 --bind 127.0.0.1 --directory my-page"
JOB = "python my-page/job.py"
SPEED = {"time.sleep(1)": "time.sleep(0.1)", "capMs: 2000": "floorMs: 50, capMs: 500"}
"""What makes the job and the page's attempts to come back quicker; all else is as the tutorial has it."""

WATCH = """() => {
  const [phase, reason] = ["phase", "reason"].map((id) => document.getElementById(id));
  window.seen = [];
  const look = () => window.seen.push(`${phase.textContent} ${reason.textContent}`.trim());
  new MutationObserver(look).observe(phase, { childList: true });
}"""
"""Writes down what the page says of its connection, each time that changes: for a moment, some of it."""


class Follower:
    """Somebody with three terminals, who types the commands of the tutorial in their order.

    Args:
        folder: An empty one.
        origin: Where the page will be.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        self.folder = folder
        self.routers: list[RouterProcess] = []
        self._origin = origin
        self._same_ports: tuple[str, ...] = ()
        self._blocks = [block for block in steps(TUTORIAL) if block.save_as or block.tested_by]

    def reads(self, text: str) -> None:
        """Hold that this is what the tutorial shows next of what is for this test."""
        block = self._blocks.pop(0)
        assert block.text.strip() == text

    def saves(self, name: str) -> None:
        """Save the next block, with the addresses of this router."""
        block = self._blocks.pop(0)
        assert block.save_as == name
        router, text = self.routers[-1], block.text
        addresses = {"ws://127.0.0.1:8000/v1/ws": router.ws_url, "http://127.0.0.1:8001": router.api_url}
        for shown, real in {**SPEED, **addresses}.items():
            text = text.replace(shown, real)
        (self.folder / name).write_text(text)

    def paces(self, step_s: float) -> None:
        """Have each step of the job take this long from now on."""
        job = self.folder / "my-page" / "job.py"
        text, places = re.subn(r"time\.sleep\([\d.]+\)", f"time.sleep({step_s})", job.read_text())
        assert places == 1
        job.write_text(text)

    def serves(self, command: str) -> None:
        """Start a router where the last one was, with the journal that is there."""
        log = self.folder / f"router-{len(self.routers)}.log"
        origins = {"POSTROOM_ORIGINS": self._origin}
        arguments = command.removeprefix("postroom serve ").split()
        router = RouterProcess([*self._same_ports, *arguments], log, origins, self.folder)
        self.routers.append(router)
        ports = urlsplit(router.ws_url).port, urlsplit(router.api_url).port
        self._same_ports = "--port", str(ports[0]), "--api-port", str(ports[1])

    def works(self) -> subprocess.Popen[str]:
        """Start the job."""
        return subprocess.Popen(
            [sys.executable, *JOB.split()[1:]],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def left(self) -> list[str]:
        """Return what this test is to try and has not."""
        return [block.text for block in self._blocks]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The repository's folder, as far as the tutorial uses it."""
    (tmp_path / "my-page").mkdir()
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    return tmp_path


@pytest.fixture
def origin(folder: Path) -> Iterator[str]:
    """The page's folder, served as `python -m http.server` does."""
    with served(folder / "my-page") as origin:
        yield origin


@pytest.fixture
def follower(folder: Path, origin: str) -> Iterator[Follower]:
    follower = Follower(folder, origin)
    yield follower
    for router in follower.routers:
        router.stop()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with browser_for_tests() as browser:
        yield await browser.new_page()


async def test_the_tutorials_page_follows_its_job_through_everything(
    page: Page, follower: Follower, origin: str
) -> None:
    """It shows the job's progress through a reload, a restart, cuts and crashes, and misses no offset."""
    follower.serves("postroom serve --dev")
    router = follower.routers[-1]
    follower.saves("my-page/page.html")
    follower.reads(SERVE)
    watched = Watched(page, {urlsplit(url).netloc for url in (origin, router.ws_url, router.api_url)})
    await page.goto(f"{origin}/page.html")
    await expect(page.locator("#phase")).to_have_text("open")
    await expect(page.locator("#status")).to_have_text("not started")

    follower.saves("my-page/job.py")
    follower.reads(JOB)
    with follower.works() as job:
        await bar_from(page, 20)
        await page.reload()
        await bar_from(page, 20)
        follower.reads(printed(job))
    await ended(page, 22)
    await page.reload()
    await expect(page.locator("#status")).to_have_text("completed")  # from the state alone
    await expect(page.locator("#percent")).to_have_text("100 %")
    await page.evaluate(WATCH)

    follower.paces(0.25)  # the router is to be stopped in the middle of it
    follower.reads(JOB)
    with follower.works() as job:
        await bar_between(page, 20, 60)
        assert router.stop() == 0
        await expect(page.locator("#phase")).to_have_text("waiting")
        follower.reads("postroom serve --dev")
        follower.serves("postroom serve --dev")
        waits, done = printed(job).splitlines()
        assert re.match(r"\d+ events wait for http://127\.0\.0\.1:\d+/v1/publish, next attempt in ", waits)
        assert done == "done; the last event is #44"
    await ended(page, 44)
    assert "The router says: draining" in await page.locator("#events").inner_text()

    follower.paces(0.1)
    follower.reads("postroom serve --dev --plugin examples.mishap:cut")
    follower.routers[-1].stop()
    follower.serves("postroom serve --dev --plugin examples.mishap:cut")
    await expect(page.locator("#phase")).to_have_text("open")
    follower.reads(JOB)
    with follower.works() as job:
        await page.wait_for_function("window.seen.some((text) => text === 'waiting cut on purpose')")
        assert printed(job) == "done; the last event is #66"
    await ended(page, 66)

    follower.reads("postroom serve --dev --plugin examples.mishap:crash")
    follower.routers[-1].stop()
    follower.serves("postroom serve --dev --plugin examples.mishap:crash")
    await expect(page.locator("#phase")).to_have_text("open")
    await page.evaluate("window.seen.length = 0")
    follower.reads(JOB)
    with follower.works() as job:
        await expect(page.locator("#events li", has_text="The router says: resumed").first).to_be_visible()
        assert printed(job) == "done; the last event is #88"
    await ended(page, 88)
    assert await page.evaluate("window.seen") == []
    log = follower.routers[-1].log
    assert all(f'"event": "{event}"' in log for event in ("actor_failed", "actor_restarted", "connection_repaired"))

    listed = await page.locator("#events li").all_text_contents()
    assert offsets(listed) == list(range(23, 89))
    assert not [line for line in listed if "missing" in line]
    assert follower.left() == []
    assert watched.complaints == []
    assert watched.foreign == []
    follower.routers[-1].signal(signal.SIGINT)
    assert follower.routers[-1].wait() == 0


def printed(job: subprocess.Popen[str]) -> str:
    """Wait for the end of the job and return what it printed."""
    out, _ = job.communicate(timeout=WAIT_S)
    assert job.returncode == 0, out
    return out.strip()


async def bar_from(page: Page, least: float) -> None:
    await page.wait_for_function(f"document.getElementById('bar').value >= {least}")


async def bar_between(page: Page, least: float, most: float) -> None:
    """Wait until the bar is there: at the beginning it shows what the job before left."""
    await page.wait_for_function(f"(bar => bar.value >= {least} && bar.value < {most})(document.getElementById('bar'))")


async def ended(page: Page, offset: int) -> None:
    """Wait until the page has the last event."""
    await expect(page.locator("#events li", has_text=f"#{offset} session completed")).to_be_visible()
    await expect(page.locator("#status")).to_have_text("completed")
    await expect(page.locator("#percent")).to_have_text("100 %")


def offsets(listed: list[str]) -> list[int]:
    """Return every offset that the page lists, oldest first: of events, and of those that gave way to newer ones."""
    found: list[int] = []
    for line in reversed(listed):
        if skipped := re.match(r"#(\d+) to #(\d+): newer ones", line):
            found.extend(range(int(skipped[1]), int(skipped[2]) + 1))
        elif event := re.match(r"#(\d+) ", line):
            found.append(int(event[1]))
    return found
