"""The console's files as the API hands them out, and what they may do in a browser."""

from __future__ import annotations

import re
from importlib import resources

import aiohttp
import pytest
from yarl import URL

from server.app import Router

PAGE = resources.files("server").joinpath("console")
NAMES = sorted(each.name for each in PAGE.iterdir())
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@pytest.fixture
def url(guarded_router: Router) -> str:
    return guarded_router.addresses.api_url


async def test_every_file_comes_without_a_token_with_its_type_and_its_guards(url: str):
    """The page is public; what it shows is not. Nothing of it is taken for another type, framed or kept unasked."""
    async with aiohttp.ClientSession() as session:
        for path, name in [("/", "index.html"), *((f"/console/{name}", name) for name in NAMES)]:
            async with session.get(url + path) as response:
                assert response.status == 200, path
                assert await response.read() == PAGE.joinpath(name).read_bytes()
                assert response.content_type == TYPES[name.rpartition(".")[2]]
                assert response.charset == "utf-8"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Referrer-Policy"] == "no-referrer"
                assert response.headers["Cache-Control"] == "no-cache"


async def test_a_file_that_is_known_already_is_not_sent_again(url: str):
    """With the tag that came with it, the answer is 304 and empty; with another one, the file."""
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            tag = response.headers["ETag"]
        async with session.get(url, headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")
        async with session.get(url, headers={"If-None-Match": '"another"'}) as response:
            assert response.status == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2F..%2Fapp.py", "%2e%2e%2fapp.py", "__init__.py", "main.js%00"])
async def test_there_are_no_files_but_the_pages_own(url: str, name: str):
    """A name that is none of them is not found, wherever it would lead to."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(f"{url}/console/{name}", encoded=True)) as response,
    ):
        assert response.status in (400, 404)
        assert response.content_type in ("application/problem+json", "text/plain")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1:8001", "127.0.0.1"),
        ("ops.example.com", "ops.example.com"),
        ("[::1]:8001", "*"),
        ("evil.com; script-src *", ""),
        ("a b", ""),
        ("x:1:2", ""),
    ],
)
async def test_the_policy_lets_the_page_connect_to_its_own_host_only(guarded_router: Router, host: str, name: str):
    """The host that the page came from and the WebSocket port; nothing else of a `Host` header gets into the policy."""
    port = guarded_router.addresses.ws_url.split(":")[2].partition("/")[0]
    async with (
        aiohttp.ClientSession() as session,
        session.get(guarded_router.addresses.api_url, headers={"Host": host}) as response,
    ):
        policy = response.headers["Content-Security-Policy"]
    allowed = [f"{scheme}://{name}:{port}" for scheme in ("ws", "wss", "http", "https") if name]
    directives = dict(each.strip().partition(" ")[::2] for each in policy.split(";"))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": " ".join(["'self'", *allowed]),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_the_page_names_no_other_host_and_makes_no_markup_of_data():
    """It works offline, and what comes from the router can only become text."""
    for name in NAMES:
        text = PAGE.joinpath(name).read_text()
        hosts = set(re.findall(r"(?:https?|wss?)://([^/\"'`]*)", text)) - {"www.w3.org", "${location.hostname}:${port}"}
        assert not hosts, f"{name} names {hosts}"
        for markup in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", "<style"):
            assert markup not in text, f"{name} has {markup}"
