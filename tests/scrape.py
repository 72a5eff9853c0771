"""A scrape of `/metrics`, read by Prometheus's own parser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from .native_client import WAIT_S

__all__ = ["Scrape", "scrape"]


class Scrape:
    """Samples by name and labels.

    Args:
        text: What was answered.
    """

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Return one sample's value; 0 where there is none, as for what never happened."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the values of a metric that are not zero, by one of its labels."""
        return {dict(labels)[label]: value for labels, value in self._of(name) if value}

    def _of(self, name: str) -> Iterator[tuple[frozenset[tuple[str, str]], float]]:
        return ((labels, value) for (each, labels), value in self.samples.items() if each == name)


async def scrape(api_url: str) -> Scrape:
    """Scrape a router, as Prometheus does: without a token."""
    async with asyncio.timeout(WAIT_S), aiohttp.ClientSession() as session, session.get(f"{api_url}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        return Scrape(await answer.text())
