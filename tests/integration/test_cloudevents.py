"""CloudEvents from their own SDK: one, a batch, retries; and what is refused, with the reason."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from server.app import Router

from ..native_client import WAIT_S, Message, NativeClient

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
RIGHT = {"specversion": "1.0", "id": "1", "source": "/jobs", "type": "app.done", "subject": "team:1", "data": {"n": 1}}


async def post(router: Router, body: bytes, content_type: str, **headers: str) -> tuple[int, Message]:
    """Post a body; return status and answer."""
    headers["Content-Type"] = content_type
    async with (
        asyncio.timeout(WAIT_S),
        aiohttp.ClientSession() as session,
        session.post(f"{router.addresses.api_url}/v1/publish", data=body, headers=headers) as response,
    ):
        return response.status, json.loads(await response.read())


def from_sdk(id: str, data: Message, **attributes: str) -> bytes:
    """Make an event as a producer does."""
    known = {"id": id, "source": "https://jobs.example/7", "type": "progress", "subject": "session:42"}
    return JSONFormat().write(CloudEvent({**known, "specversion": "1.0", **attributes}, data))


async def test_an_event_of_the_sdk_is_published_with_what_its_attributes_say(router: Router) -> None:
    """Type is the kind, subject the room, and delivery and key are extension attributes."""
    async with NativeClient(router.addresses.ws_url) as client:
        await client.subscribe("session:42")
        body = from_sdk("e1", {"current": 1, "total": 4}, key="copy", delivery="keep", unknown="x")
        status, answer = await post(router, body, f"{STRUCTURED}; charset=utf-8")
        (receipt,) = answer["results"]
        assert (status, receipt["room"], receipt["offset"], receipt["duplicate"]) == (200, "session:42", 1, False)
        event = await client.next("event")
        assert (event["kind"], event["id"], event["key"]) == ("progress", "https://jobs.example/7 e1", "copy")
        assert (event["data"]["percent"], event["delivery"]) == (25.0, "keep")
        status, answer = await post(router, body, STRUCTURED)
        assert answer["results"] == [{**receipt, "duplicate": True}]


async def test_a_batch_is_published_in_order_and_each_of_it_stands_for_itself(router: Router) -> None:
    events = [json.loads(from_sdk(f"e{n}", {"current": n})) for n in range(3)]
    events[1]["specversion"] = "0.3"
    status, answer = await post(router, json.dumps(events).encode(), BATCH)
    first, second, third = answer["results"]
    assert (status, first["offset"], third["offset"]) == (200, 1, 2)
    assert second["error"]["code"] == "invalid_event"
    assert "1.0" in second["error"]["message"]
    assert (await post(router, b"[]", BATCH)) == (200, {"results": []})


async def test_the_same_id_of_another_source_is_another_event(router: Router) -> None:
    """However long the two are."""
    for source in ("/a", "/b", "/" + "c" * 300, "/" + "c" * 299 + "d"):
        body = json.dumps({**RIGHT, "source": source}).encode()
        for again in (False, True):
            _, answer = await post(router, body, STRUCTURED)
            assert answer["results"][0]["duplicate"] is again


async def test_an_alert_may_ask_for_acknowledgement(router: Router) -> None:
    alert = {**RIGHT, "type": "alert", "data": {"severity": "low", "title": "t"}, "ack": "required"}
    status, _ = await post(router, json.dumps(alert).encode(), STRUCTURED)
    assert status == 200
    assert router.ledger.note("team:1").alerts == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"specversion": "0.3"}, "1.0"),
        ({"specversion": None}, "specversion"),
        ({"id": ""}, "id"),
        ({"source": "a b"}, "URI"),
        ({"subject": None}, "subject"),
        ({"subject": "no room"}, "no room"),
        ({"type": "Upper.Case"}, "Upper.Case"),
        ({"data": None}, "data"),
        ({"data": [1]}, "data"),
        ({"data_base64": "AAAA"}, "data_base64"),
        ({"datacontenttype": "text/xml"}, "application/json"),
        ({"delivery": "often"}, "delivery"),
    ],
)
async def test_what_is_wrong_with_an_event_is_said(router: Router, change: dict[str, Any], reason: str) -> None:
    status, problem = await post(router, json.dumps({**RIGHT, **change}).encode(), STRUCTURED)
    assert (status, problem["code"]) == (422, "invalid_event")
    assert reason in problem["detail"]


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type", "subject"])
async def test_an_attribute_that_is_missing_is_named(router: Router, missing: str) -> None:
    event = {name: value for name, value in RIGHT.items() if name != missing}
    status, problem = await post(router, json.dumps(event).encode(), STRUCTURED)
    assert (status, problem["code"]) == (422, "invalid_event")
    assert missing in problem["detail"]


async def test_a_body_of_another_kind_than_it_says_is_refused(router: Router) -> None:
    """One event where a batch is said, a batch where one is said, XML, and attributes in headers."""
    body = json.dumps(RIGHT).encode()
    for wrong, content_type in ((body, BATCH), (b"[" + body + b"]", STRUCTURED)):
        status, problem = await post(router, wrong, content_type)
        assert (status, problem["code"]) == (400, "bad_message")
    for content_type, headers in (
        ("application/cloudevents+xml", {}),
        ("application/json", {"ce-specversion": "1.0", "ce-id": "1"}),
    ):
        status, problem = await post(router, b"{}", content_type, **headers)
        assert status == 415
        assert STRUCTURED in problem["detail"]


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
async def test_what_is_no_cloudevent_is_taken_as_json(router: Router, content_type: str) -> None:
    """As `curl -d` sends it, too."""
    status, _ = await post(router, b'{"room": "team:1", "kind": "app.done", "data": {}}', content_type)
    assert status == 200
