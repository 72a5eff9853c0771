"""OpenTelemetry: spans arrive at a real OTLP receiver as children of the publisher's trace, and never in the way."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ..conftest import RouterProcess
from ..native_client import NativeClient
from .at_size import log_of
from .services import wait_until
from .test_trace import FIRST, SECOND, TRACE, event, post


class Receiver:
    """A collector: takes OTLP over HTTP, and keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        export = ExportTraceServiceRequest.FromString(await request.read())
        for each in export.resource_spans:
            self.resources.append({pair.key: pair.value.string_value for pair in each.resource.attributes})
            for scope in each.scope_spans:
                self.spans.extend(scope.spans)
        body = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/v1/traces", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def tracing_to(url: str, **more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50", "NO_PROXY": "127.0.0.1", **more}


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in span.attributes}


async def test_each_step_is_a_span_under_the_publishers(
    receiver: Receiver, start_router: Callable[..., RouterProcess]
) -> None:
    """Producer, internal, consumer, with what the conventions for messaging ask for; in the order of the steps."""
    process = start_router("--dev", environment=tracing_to(receiver.url))
    before = time.time_ns()
    async with NativeClient(process.ws_url) as client:
        await client.subscribe("team:1")
        await post(process.api_url, event(event_id="mine", data={"n": 1}, traceparent=FIRST))
        await client.events(1)
        await wait_until(lambda: len(receiver.spans) >= 3, "three spans")
    spans = {span.name: span for span in receiver.spans}
    assert {name: span.kind for name, span in spans.items()} == {
        "publish": Span.SPAN_KIND_PRODUCER,
        "commit": Span.SPAN_KIND_INTERNAL,
        "deliver": Span.SPAN_KIND_CONSUMER,
    }
    for span in spans.values():
        assert span.trace_id.hex() == TRACE
        assert span.parent_span_id.hex() == FIRST.split("-")[2]
        assert before - 1_000_000 <= span.start_time_unix_nano <= span.end_time_unix_nano <= time.time_ns()
        assert (
            attributes(span).items()
            >= {
                "messaging.system": "postroom",
                "messaging.operation.name": span.name,
                "messaging.destination.name": "team:1",
                "messaging.message.id": "mine",
                "messaging.message.body.size": 7,
                "postroom.event.kind": "app.step",
            }.items()
        )
    assert attributes(spans["publish"])["messaging.operation.type"] == "send"
    assert attributes(spans["commit"])["postroom.offset"] == 1
    deliver = attributes(spans["deliver"])
    assert (deliver["messaging.operation.type"], deliver["postroom.subscribers"]) == ("process", 1)
    assert receiver.resources[0]["service.name"] == "postroom"


async def test_what_its_publisher_did_not_sample_is_not_sent(
    receiver: Receiver, start_router: Callable[..., RouterProcess]
) -> None:
    """And what is left at the stop is, before the process ends; the service may have a name of its own."""
    environment = tracing_to(receiver.url, OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_SERVICE_NAME="events")
    process = start_router("--dev", environment=environment)
    await post(process.api_url, [event(traceparent=SECOND), event(), event(event_id="mine", traceparent=FIRST)])
    assert receiver.spans == []
    assert await asyncio.to_thread(process.stop) == 0
    assert {attributes(span)["messaging.message.id"] for span in receiver.spans} == {"mine"}
    assert sorted(span.name for span in receiver.spans) == ["commit", "deliver", "publish"]
    assert receiver.resources[0]["service.name"] == "events"


async def test_a_collector_that_does_not_answer_holds_nothing_up(start_router: Callable[..., RouterProcess]) -> None:
    """Events go their way, and the stop waits for some seconds only, and says so."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = tracing_to(f"http://127.0.0.1:{silent.getsockname()[1]}")
        process = start_router("--dev", environment=environment)
        async with NativeClient(process.ws_url) as client:
            await client.subscribe("team:1")
            for _ in range(20):
                await post(process.api_url, event(traceparent=FIRST))
            assert len(await client.events(20)) == 20
        assert await asyncio.to_thread(process.stop) == 0
    assert [line["event"] for line in log_of(process) if line["level"] == "warning"] == ["traces_left"]


async def test_without_the_extra_there_is_one_warning(
    start_router: Callable[..., RouterProcess], tmp_path: Path
) -> None:
    """The router runs, and says what to install."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError('there is no opentelemetry')\n")
    process = start_router("--dev", environment=tracing_to("http://127.0.0.1:9", PYTHONPATH=str(tmp_path)))
    await post(process.api_url, event(traceparent=FIRST))
    process.stop()
    (line,) = [line for line in log_of(process) if line["level"] != "info"]
    assert line["event"] == "traces_off"
    assert "pip install 'postroom[otel]'" in line["reason"]


async def test_what_opentelemetry_cannot_use_is_one_warning(start_router: Callable[..., RouterProcess]) -> None:
    """A variable with a typing error keeps no router from starting, and shows nothing of what it holds."""
    environment = tracing_to("http://127.0.0.1:9", OTEL_BSP_MAX_QUEUE_SIZE="-1", OTEL_EXPORTER_OTLP_HEADERS="key=pass")
    process = start_router("--dev", environment=environment)
    await post(process.api_url, event(traceparent=FIRST))
    process.stop()
    assert [line["event"] for line in log_of(process) if line["level"] == "warning"] == ["traces_off"]
    assert "key=pass" not in process.log
