"""The documentation as a site: built as `make docs` does it, and looked at in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from server.http.asyncapi import describe

from ..integration.browser import Watched, browser_for_tests
from ..ports import free_port
from ..served import served
from .pages import DOCS, PAGES, REPOSITORY, name, steps

BUILD_S = 180.0


def build(repository: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a repository into a folder, where a proxy for the way out has gone."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)],
        cwd=repository,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "http_proxy": f"http://127.0.0.1:{free_port()}"},
        capture_output=True,
        text=True,
        timeout=BUILD_S,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site."""
    folder = tmp_path_factory.mktemp("site")
    done = build(REPOSITORY, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where the site can be read."""
    with served(site) as address:
        yield address


def test_every_page_of_the_documentation_is_in_the_site(site: Path) -> None:
    """With its first heading, and without what it says to these tests."""
    titles = {}
    for written in site.rglob("*.html"):
        html = written.read_text()
        assert not re.search("<!-- (reader|tested by|not run)", html), written
        heading = re.search(r"<h1[^>]*>(.*?)<a class=\"headerlink\"", html)
        titles[re.sub("<.*?>", "", heading[1]) if heading else ""] = written
    for page in PAGES:
        title = page.read_text().partition("\n")[0].removeprefix("# ").replace("`", "")
        assert title in titles, name(page)


def test_what_a_router_says_of_itself_can_be_downloaded_and_read(site: Path) -> None:
    """AsyncAPI and OpenAPI, with a heading for each message and call; names of the Python client with their words."""
    reference = site / "reference"
    asyncapi = json.loads((reference / "asyncapi.json").read_text())
    assert asyncapi == json.loads(json.dumps(describe()))
    page = (reference / "asyncapi.html").read_text()
    for side, _, tag in (each.partition(".") for each in asyncapi["components"]["messages"]):
        assert f'id="{tag}-{side}"' in page
    openapi = json.loads((reference / "openapi.json").read_text())
    page = (reference / "openapi.html").read_text()
    assert all(f" {path}</code>" in page for path in openapi["paths"])
    assert "A remote actor reference" in (reference / "python-client.html").read_text()


def test_a_page_that_is_forgotten_and_a_link_that_leads_nowhere_end_the_build(tmp_path: Path) -> None:
    """Each is named; so is a list that code hosts show as one, and this site would not."""
    repository = tmp_path / "repository"
    shutil.copytree(DOCS / "hooks", repository / "docs" / "hooks")
    shutil.copy(REPOSITORY / "mkdocs.yml", repository)
    for file, text in {
        "README.md": "# Read me\n",
        "docs/index.md": "# Map\n\n## How to\n\n- [Publish](publish.md)\n",
        "docs/publish.md": "# Publish\n\n[files](../docs/hooks/site.css)\n",
        "docs/forgotten.md": "# Forgotten\n\n[a](gone.md) [b](publish.md#gone)\n",
    }.items():
        (repository / file).write_text(text)
    done = build(repository, tmp_path / "site")
    assert done.returncode == 1
    assert "- docs/forgotten.md" in done.stderr
    assert "'docs/gone.md' is not found" in done.stderr
    assert "does not contain an anchor '#gone'" in done.stderr
    (repository / "docs" / "forgotten.md").write_text("# Forgotten\n\nThis:\n- is a list\n")
    done = build(repository, tmp_path / "site")
    assert done.returncode == 1
    assert "docs/forgotten.md: put an empty line before this list" in done.stderr


def widest(page: Path) -> int:
    """Return how wide the widest picture of a page is, in characters."""
    pictures = (block.text for block in steps(page) if not block.language)
    return max((len(line) for picture in pictures for line in picture.splitlines()), default=0)


async def test_no_picture_is_cut_on_the_screen_of_a_laptop(address: str) -> None:
    """The widest of all is written as small as it has to be; one that fits is as large as the others."""
    page_of_widest = max(DOCS.rglob("*.md"), key=widest).relative_to(DOCS).with_suffix(".html")
    async with browser_for_tests() as browser:
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        sizes = {}
        for path in (page_of_widest.as_posix(), "tutorial.html"):
            await page.goto(f"{address}/{path}")
            picture = page.locator(".language-text code").first
            assert await picture.evaluate("code => code.scrollWidth <= code.clientWidth"), path
            sizes[path] = await picture.evaluate("code => parseFloat(getComputedStyle(code).fontSize)")
        assert 9 <= sizes[page_of_widest.as_posix()] < sizes["tutorial.html"]


async def test_the_site_can_be_read_and_searched_and_asks_no_other_host(address: str) -> None:
    """A look at the front page, a search, and a page that is found by it; nothing is complained of."""
    first = (DOCS / "index.md").read_text().partition("\n")[0].removeprefix("# ")
    async with browser_for_tests() as browser:
        page = await browser.new_page()
        watched = Watched(page, {address.removeprefix("http://")})
        await page.goto(f"{address}/")
        await expect(page.locator("h1")).to_contain_text(first)
        await page.get_by_role("textbox", name="Search").fill("supervisor journal")
        await page.locator(".md-search-result__link", has_text="Supervisor journal").first.click()
        await expect(page.locator("h1")).to_contain_text("Supervisor journal")
        assert watched.complaints == []
        assert watched.foreign == []
