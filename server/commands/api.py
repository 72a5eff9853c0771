"""One call of the HTTP API: a request in, its answer out, or a failure that says what would help."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Annotated

import aiohttp
import typer
from yarl import URL

from .failure import CommandFailed

__all__ = ["NEW_TOKEN", "TIMEOUT_S", "ApiUrl", "Token", "call_api", "no_router"]

ApiUrl = Annotated[
    str, typer.Option("--url", envvar="POSTROOM_API_URL", help="The router's HTTP API.", show_envvar=True)
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="POSTROOM_TOKEN",
        help="Token to present; better set as the variable, as options show in process lists.",
        show_envvar=True,
    ),
]

TIMEOUT_S = 10.0
NEW_TOKEN = "make one with the router's secret: export POSTROOM_TOKEN=$(postroom token --user me --role service)"
"""What helps when a token is missing or refused."""


def call_api(
    method: str, url: str, path: str, *, body: object = None, token: str | None = None
) -> tuple[int, dict[str, object]]:
    """Send one request and return status and JSON object. Blocks.

    Raises:
        typer.BadParameter: `url` is not an HTTP URL.
        CommandFailed: Nobody answers, or somebody who is not a router.
        TimeoutError: No answer in time; the request may have been carried out.
    """
    base = _http_url(url)
    try:
        status, text = asyncio.run(_request(method, base.joinpath(path), body, token))
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno
        raise CommandFailed(no_router(url, os.strerror(number) if number else str(error.os_error))) from error
    except aiohttp.ClientError as error:
        raise CommandFailed(f"the router at {url} did not answer: {error}") from error
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CommandFailed(
            f"what answers at {url} is not the HTTP API of a router (HTTP {status} without a JSON object); "
            "the API has a port of its own, 8001 unless set otherwise"
        )
    return status, answer


def no_router(url: str, reason: str) -> str:
    """Say that nobody listens at `url`."""
    return f"no router answers at {url} ({reason}). Start one: postroom serve --dev. Or say where it is: --url URL"


async def _request(method: str, url: URL, body: object, token: str | None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
        session.request(method, url, json=body, allow_redirects=False) as response,
    ):
        return response.status, await response.text(errors="replace")


def _http_url(url: str) -> URL:
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        message = f"{url!r} is not the URL of an HTTP API, for example http://127.0.0.1:8001"
        raise typer.BadParameter(message, param_hint="--url")
    return parsed
