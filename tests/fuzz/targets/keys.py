"""An identity provider's answer (RFC 7517): its keys by id, or the reason why there are none."""

from __future__ import annotations

import json
from typing import Any

from server.jwks import _Fetch, _Fetcher
from server.keys import Key

__all__ = ["take"]


def take(data: bytes) -> None:
    """Take the body as the fetching actor does, which tells the waiting exactly once."""
    told: list[dict[str, Key] | str] = []
    fetcher: Any = _Fetcher("https://id.example.com/keys")
    fetcher._client.fetch_data = lambda: json.loads(data)
    fetcher.on_receive(_Fetch(told.append))
    (answer,) = told
    if isinstance(answer, str):
        assert answer
        return
    assert all(isinstance(key, Key) and key.algorithm in ("RS256", "ES256") for key in answer.values())
