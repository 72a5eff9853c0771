"""Recent: what a histogram took within the last seconds, from its counts now and then; no value is kept."""

from __future__ import annotations

from collections import deque

from actors.histogram import Histogram

__all__ = ["Recent"]


class Recent:
    """Quantiles of the last few seconds.

    Args:
        histogram: Where values are counted.
        ticks: How many ticks it looks back.
    """

    def __init__(self, histogram: Histogram, ticks: int = 5) -> None:
        self._histogram = histogram
        self._then: deque[list[int]] = deque([list(histogram.counts)], maxlen=ticks)

    def tick(self) -> None:
        """Take note of how things are; once a second."""
        self._then.append(list(self._histogram.counts))

    def quantile(self, part: float) -> float | None:
        """Return the value that so many of the values did not exceed, 0.99 for example; None: there were none.

        Within a bucket the values are taken as evenly spread; above the last bound it is that bound.
        """
        bounds, counts = self._histogram.bounds, self._histogram.counts
        recent = [now - then for now, then in zip(counts, self._then[0], strict=True)]
        left = part * sum(recent)
        if not left:
            return None
        for bucket, count in enumerate(recent[:-1]):
            if left <= count:
                lower = bounds[bucket - 1] if bucket else 0.0
                return lower + (bounds[bucket] - lower) * left / count
            left -= count
        return bounds[-1]
