"""One call of the HTTP API: a request in, its answer out, or a failure that says what would help."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping

from .failure import CommandFailed

__all__ = ["NO_TOKEN", "TIMEOUT_S", "NoAnswer", "ask_operator_api", "call_api", "no_router", "token_advice"]

TIMEOUT_S = 10.0
NO_TOKEN = ("unauthenticated", "token_expired")
"""Codes of a token that is missing or does not count."""


class NoAnswer(CommandFailed):
    """Somebody took the request and gave no answer; a router may have carried it out."""


def call_api(
    method: str,
    url: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: object = None,
    token: str | None = None,
) -> tuple[int, dict[str, object]]:
    """Send one request and return status and JSON object. Blocks.

    Raises:
        NoAnswer: The connection broke, or this is no HTTP.
        CommandFailed: Nobody answers, or somebody who is not a router.
        TimeoutError: No answer in time; the request may have been carried out.
    """
    import aiohttp  # here, as it takes longer to import than all the rest

    try:
        status, text = asyncio.run(_request(method, url, path, query or {}, body, token))
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno
        raise CommandFailed(no_router(url, os.strerror(number) if number else str(error.os_error))) from error
    except (aiohttp.ClientError, ValueError) as error:  # ValueError: an address that no URL can have after all
        raise NoAnswer(_no_api(url, str(error) or type(error).__name__)) from error
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise CommandFailed(_no_api(url, f"HTTP {status} without a JSON object"))
    return status, answer


def ask_operator_api(
    method: str, url: str, path: str, token: str | None, *, query: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Call what is for operators and return the answer of a call that went well. Blocks.

    Raises:
        CommandFailed: It did not; says why and what helps.
    """
    try:
        status, answer = call_api(method, url, path, query=query, token=token)
    except TimeoutError:
        raise CommandFailed(f"the router at {url} does not answer: it hangs or is overloaded; see its logs") from None
    except NoAnswer as error:
        raise CommandFailed(str(error)) from None
    if status == 200:
        return answer
    code = str(answer.get("code", f"HTTP {status}"))
    message = str(answer.get("detail") or answer.get("title") or "no reason given")
    advice = token_advice(message, "admin") if code in (*NO_TOKEN, "forbidden") else ""
    raise CommandFailed(f"{message} [{code}]{advice and f' ({advice})'}")


def no_router(url: str, reason: str) -> str:
    """Say that nobody listens at `url`."""
    return f"no router answers at {url} ({reason}). Start one: postroom serve --dev. Or say where it is: --url URL"


def token_advice(refusal: str, role: str) -> str:
    """Say what helps when a token is missing or refused.

    Args:
        refusal: The router's words. Those for a router without keys hold `leave the token out`.
        role: What the token is for.
    """
    if "leave the token out" in refusal:
        return "unset POSTROOM_TOKEN, or leave --token out"
    return f"make one with the router's secret: export POSTROOM_TOKEN=$(postroom token --user me --role {role})"


def _no_api(url: str, reason: str) -> str:
    return (
        f"what answers at {url} is not the HTTP API of a router ({reason}); "
        "the API has a port of its own, 8001 unless set otherwise"
    )


async def _request(
    method: str, url: str, path: str, query: Mapping[str, str], body: object, token: str | None
) -> tuple[int, str]:
    import aiohttp
    from yarl import URL

    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
        session.request(
            method, URL(url).joinpath(path).with_query(query), json=body, allow_redirects=False
        ) as response,
    ):
        return response.status, await response.text(errors="replace")
