"""`POST /v1/publish` from outside: what is answered to bodies that no careful client sends, and to too many events."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from actors.errors import ErrorCode, Refusal
from server.app import Router
from server.auth import Authenticator

from ..native_client import WAIT_S, Message
from .services import publish

PROBLEM = "application/problem+json"


async def post(router: Router, body: bytes, **headers: str) -> tuple[int, Message, dict[str, str]]:
    """Post a body; return status, answer and headers."""
    async with (
        asyncio.timeout(WAIT_S),
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{router.addresses.api_url}/v1/publish", data=body) as response,
    ):
        answer = json.loads(await response.read())
        return response.status, answer, {**response.headers, "Content-Type": response.content_type}


@pytest.fixture
def nothing_failed(logged: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test whose requests leave a traceback in the log."""
    yield
    assert [line for line in logged if line["log_level"] in ("error", "critical") or "exc_info" in line] == []
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.usefixtures("nothing_failed")
@pytest.mark.parametrize("wrong", [b"\xff", b"\xed\xa0\x80", b"\xc3"], ids=["byte", "surrogate", "half"])
async def test_a_body_that_is_no_utf_8_is_a_bad_message(router: Router, wrong: bytes) -> None:
    """It is not JSON: the publisher is told so."""
    status, answer, headers = await post(router, b'{"room": "doc:1", "kind": "a.b", "data": {"x": "' + wrong + b'"}}')
    assert (status, answer["code"], headers["Content-Type"]) == (400, "bad_message", PROBLEM)
    assert "utf-8" in answer["detail"].lower()


@pytest.mark.usefixtures("nothing_failed")
@pytest.mark.parametrize("wrong", [b"\xff", b"\xed\xa0\x80", b"\xc3"], ids=["byte", "surrogate", "half"])
async def test_an_event_of_an_array_that_is_no_utf_8_is_refused(router: Router, wrong: bytes) -> None:
    """Its publisher hears which one it was; the others stand for themselves."""
    status, answer, _ = await post(
        router,
        b'[{"room": "doc:1", "kind": "a.b", "data": {}},'
        b'{"room": "doc:1", "kind": "a.b", "data": {"x": "' + wrong + b'"}},'
        b'{"room": "doc:1", "kind": "a.b", "data": {}}]',
    )
    assert status == 200
    first, second, third = answer["results"]
    assert second["error"]["code"] == "invalid_event"
    assert (first["offset"], third["offset"]) == (1, 2)


@pytest.mark.usefixtures("nothing_failed")
async def test_more_events_than_may_be_under_way_are_too_many_for_ever(router: Router) -> None:
    """Rooms counted: to come back later would not help. None of them is published."""
    event = {"rooms": [f"doc:{n}" for n in range(1000)], "kind": "a.b", "data": {}}
    status, answer, headers = await post(router, json.dumps([event] * 21).encode())
    assert (status, answer["code"], answer["temporary"]) == (413, "too_large", False)
    assert (headers["Content-Type"], "Retry-After" in headers) == (PROBLEM, False)
    assert "21000 events" in answer["detail"]
    assert re.search(r"\b20000\b", answer["detail"])
    assert (await publish(router, "doc:1", "a.b", {})).offset == 1


@pytest.mark.parametrize(("retry_after_ms", "seconds"), [(None, 1), (1, 1), (1000, 1), (2001, 3), (30_000, 30)])
async def test_retry_after_says_what_the_refusal_says(
    guarded_router: Router, monkeypatch: pytest.MonkeyPatch, retry_after_ms: int | None, seconds: int
) -> None:
    """In whole seconds, and never too early; a refusal that says nothing means a second."""

    async def busy(self: Authenticator, token: str) -> None:
        raise Refusal(ErrorCode.BUSY, "the identity provider cannot be reached", retry_after_ms=retry_after_ms)

    monkeypatch.setattr(Authenticator, "identify", busy)
    status, answer, headers = await post(guarded_router, b"{}", Authorization="Bearer token")
    assert (status, answer["code"], headers["Retry-After"]) == (503, "busy", str(seconds))


@pytest.mark.usefixtures("nothing_failed")
async def test_a_room_that_is_named_twice_is_a_mistake(router: Router) -> None:
    """It would get the event twice, and nobody means that."""
    event = {"rooms": ["doc:1", "doc:2", "doc:1"], "kind": "a.b", "data": {}}
    status, answer, _ = await post(router, json.dumps(event).encode())
    assert (status, answer["code"]) == (422, "invalid_event")
    assert "names a room twice" in answer["detail"]
