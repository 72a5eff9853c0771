"""Where spans go: OpenTelemetry's own variables in, a way to its collector out, or none.

Nothing of OpenTelemetry is imported unless somebody names a collector: it comes with the extra `otel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from .otel import OtelSpans

__all__ = ["spans_for"]

log = structlog.get_logger("postroom.trace")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def spans_for(environ: Mapping[str, str]) -> OtelSpans | None:
    """Begin to send spans to the collector that the environment names; None: it names none, or that cannot be."""
    if not any(environ.get(name) for name in _ENDPOINTS):
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp" or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from .otel import OtelSpans

        return OtelSpans(environ)
    except ImportError as error:
        reason = f"{error}; pip install 'postroom[otel]'"
    except Exception as error:  # whatever a certificate, a header or a URL there is: events matter more than traces
        reason = f"{type(error).__name__}: {error}"
    log.warning("traces_off", reason=reason)
    return None
