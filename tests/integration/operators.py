"""An operator: calls of the HTTP API in, statuses and answers out."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from server.app import Router

from ..native_client import WAIT_S, Message

__all__ = ["Operator", "kinds", "until_there"]


class Operator:
    """Calls the HTTP API."""

    def __init__(self, router: Router, token: str | None = None) -> None:
        self._url = router.addresses.api_url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str, **query: str) -> tuple[int, Any]:
        """Return status and answer."""
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.request(method, f"{self._url}{path}", params=query) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def entries(self, **query: str) -> list[Message]:
        """Return the journal's entries."""
        status, page = await self.call("GET", "/v1/supervisor/journal", **query)
        assert status == 200, page
        return list(page["entries"])


def kinds(entries: list[Message]) -> list[str]:
    """Return what happened, without the common beginning."""
    return [entry["kind"].removeprefix("supervisor.") for entry in entries]


async def until_there(operator: Operator, kind: str, count: int = 1, **query: str) -> list[Message]:
    """Wait until the journal has `count` entries of a kind; return all of it, or all about one actor."""
    entries: list[Message] = []
    async with asyncio.timeout(WAIT_S):
        while kinds(entries).count(kind) < count:
            entries = await operator.entries(limit="1000", **query)
    return entries
