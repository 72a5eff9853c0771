"""Times as the wire shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

__all__ = ["seconds_of", "seconds_text", "time_text"]


@lru_cache(maxsize=64)
def time_text(time_ms: int) -> str:
    """Write Unix milliseconds as RFC 3339 in UTC, to the millisecond."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{_second_text(seconds)}.{ms:03d}Z"


def seconds_text(seconds: float) -> str:
    """Write Unix seconds like `time_text`."""
    return time_text(int(seconds * 1000))


def seconds_of(text: str) -> float:
    """Read what `time_text` wrote, as Unix seconds."""
    return datetime.fromisoformat(text).timestamp()


@lru_cache(maxsize=8)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
