"""The JavaScript client as the router hands it out, and where the wheel has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from server.app import Router

REPOSITORY = Path(__file__).parents[2]
CLIENT = REPOSITORY / "clients" / "javascript"


@pytest.mark.parametrize(("name", "kind"), [("postroom.js", "text/javascript"), ("postroom.d.ts", "text/plain")])
async def test_pages_of_every_origin_can_import_the_client(guarded_router: Router, name: str, kind: str):
    """It comes without a token, as what it is, and once for each version. Nothing else may be read by every page."""
    url = guarded_router.addresses.api_url
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/{name}", headers={"Origin": "https://example.com"}) as response:
            assert response.status == 200
            assert await response.read() == (CLIENT / name).read_bytes()
            assert (response.content_type, response.charset) == (kind, "utf-8")
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            tag = response.headers["ETag"]
        async with session.get(f"{url}/{name}", headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")
            assert response.headers["Access-Control-Allow-Origin"] == "*"
        for other in ("/", "/console/main.js", "/readyz", "/openapi.json"):
            async with session.get(url + other, headers={"Origin": "https://example.com"}) as response:
                assert "Access-Control-Allow-Origin" not in response.headers, other


def test_a_built_router_has_the_client_and_the_console_in_it(tmp_path: Path):
    """In the repository the client lies elsewhere; what is installed holds the file itself."""
    built = tmp_path / "lib"
    command = [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q"]
    places = ["egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(built)]
    subprocess.run([*command, *places], cwd=REPOSITORY, check=True, capture_output=True, timeout=60)
    for name in ("postroom.js", "postroom.d.ts"):
        installed = built / "server" / "clients" / name
        assert not installed.is_symlink()
        assert installed.read_bytes() == (CLIENT / name).read_bytes()
    assert (built / "server" / "console" / "index.html").exists()


def test_the_repository_has_the_client_once():
    """What the router serves is a link to it."""
    for name in ("postroom.js", "postroom.d.ts"):
        assert (REPOSITORY / "server" / "clients" / name).readlink() == Path("../../clients/javascript") / name
