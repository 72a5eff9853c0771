"""OpenTelemetry: steps of events in, spans out to a collector by OTLP over HTTP, in the background.

Its own variables configure it: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`,
`OTEL_TRACES_SAMPLER` and others. Attributes are those of its semantic conventions for messaging.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from actors.events import Draft
from actors.tracing import Step

from . import __version__

__all__ = ["OtelSpans"]

log = structlog.get_logger("postroom.trace")

_FLUSH_S = 2.0
"""How long the stop waits for a collector."""
_KINDS: Mapping[Step, SpanKind] = {
    "publish": SpanKind.PRODUCER,
    "commit": SpanKind.INTERNAL,
    "deliver": SpanKind.CONSUMER,
}
_TYPES: Mapping[Step, str] = {"publish": "send", "deliver": "process"}


class OtelSpans:
    """`actors.tracing.Spans`: hands spans to a thread that sends them; what that cannot keep up with is dropped.

    Args:
        environ: Says whether the service has a name of its own.

    Raises:
        Exception: A variable has a value that OpenTelemetry cannot use.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        resource = Resource.create({} if named else {"service.name": "postroom"})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("postroom", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, step: Step, room: str, draft: Draft, began: float, ended: float, **facts: str | int) -> None:
        """Take a step on an event's way; what its publisher did not sample goes nowhere."""
        parent = self._propagator.extract({"traceparent": draft.traceparent or ""}, Context())
        attributes: dict[str, str | int] = {
            "messaging.system": "postroom",
            "messaging.operation.name": step,
            "messaging.destination.name": room,
            "messaging.message.id": draft.id,
            "messaging.message.body.size": len(memoryview(draft.data)),
            "postroom.event.kind": draft.kind,
            **{f"postroom.{name}": value for name, value in facts.items()},
        }
        if step in _TYPES:
            attributes["messaging.operation.type"] = _TYPES[step]
        span = self._tracer.start_span(
            step, parent, kind=_KINDS[step], attributes=attributes, start_time=_nanoseconds(began)
        )
        span.end(_nanoseconds(ended))

    async def stop(self) -> None:
        """Send what is left, but do not wait long for a collector that does not answer."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        # A thread of its own, which the process does not wait for when it ends.
        threading.Thread(target=shut_down, name="postroom-traces", daemon=True).start()
        try:
            async with asyncio.timeout(_FLUSH_S):
                await done.wait()
        except TimeoutError:
            log.warning("traces_left", after_s=_FLUSH_S)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
