"""An operator: calls of the HTTP API in, statuses and answers out."""

from __future__ import annotations

from typing import Any

import aiohttp

from server.app import Router

from ..native_client import Message

__all__ = ["Operator"]


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
