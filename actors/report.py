"""Report: what failed, and what became of it, told to whoever keeps a record of it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Report", "unreported"]


class Report(Protocol):
    """Takes one fact; called on the loop's thread, never blocks, never raises."""

    def __call__(self, kind: str, /, **fields: object) -> None:
        """Keep a fact: its kind in the past tense, like `failed`, and what JSON can hold of it."""


def unreported(_kind: str, /, **_fields: object) -> None:
    """Keep nothing: for who is not told where to report to."""
