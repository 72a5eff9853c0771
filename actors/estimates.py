"""Time estimates of progress: the value before and the value now in, percent, rate and remaining time out."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["with_estimates"]

_SMOOTHING_S = 30.0
"""The rate follows a change of pace within about this many seconds."""


def with_estimates(data: dict[str, Any], before: dict[str, Any] | None, seconds_since: float) -> dict[str, Any]:
    """Return `data` with `percent`, `rate` (units/s), `elapsed_s` and `eta_s` added where they can be known.

    What the publisher gave stays as it is. The first value of a run has no rate, and no remaining time.

    Args:
        data: Progress data: `current`, `total?` and more.
        before: The last progress data with its estimates; None for the first value of a run.
        seconds_since: Seconds since `before`.
    """
    current, total = data["current"], data.get("total")
    added: dict[str, Any] = {}
    if total and data.get("percent") is None:
        added["percent"] = round(min(100.0, 100.0 * current / total), 2)
    going_on = before is not None and current >= before["current"] and seconds_since >= 0
    elapsed = (before.get("elapsed_s") or 0.0) + seconds_since if before is not None and going_on else 0.0
    if data.get("elapsed_s") is None:
        added["elapsed_s"] = round(elapsed, 3)
    rate = data.get("rate")
    if rate is None and before is not None and going_on:
        rate = _rate(current - before["current"], seconds_since, before.get("rate"))
        if rate is not None:
            added["rate"] = rate = float(f"{rate:.6g}")
    if data.get("eta_s") is None and total is not None and rate is not None and rate > 0:
        added["eta_s"] = round(max(0.0, (total - current) / rate), 3)
    return {**data, **{name: value for name, value in added.items() if math.isfinite(value)}}


def _rate(step: float, seconds: float, before: float | None) -> float | None:
    if before is not None and before < 0:  # the publisher's own, and no rate of a progress that goes on
        before = None
    if seconds <= 0:
        return before
    rate = step / seconds
    if before is None:
        return rate
    # An exponential average over time, so that many small steps and few large ones are treated alike.
    weight = seconds / (seconds + _SMOOTHING_S)
    return before + (rate - before) * weight
