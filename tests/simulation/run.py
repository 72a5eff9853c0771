"""Run: a seed in; out, what is wrong with its history, in lines, the first of them the one that ended it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable

import pykka
import structlog

from .faults import MADE_TO_FAIL
from .story import Story

__all__ = ["live"]

_EXPECTED = ("Escalation", "WriteFailed")
"""Failures that come of those that were made."""


def live(seed: int, note: Callable[[float, str, str], None] | None = None) -> list[str]:
    """Live through the history of one seed, alone in this process; return what is wrong, and nothing if all is well.

    Args:
        seed: Which.
        note: Is told what happens: time in seconds, who, what.
    """
    with structlog.testing.capture_logs() as lines:
        try:
            wrong = asyncio.run(_tell(seed, note))
        finally:
            for ref in pykka.ActorRegistry.get_all():
                pykka.ActorRegistry.unregister(ref)
    unexpected = [line for line in lines if line["event"] == "actor_failed" and not _was_made(line)]
    return wrong + [f"an actor failed by itself:\n{line['traceback']}" for line in unexpected[:1]]


async def _tell(seed: int, note: Callable[[float, str, str], None] | None) -> list[str]:
    try:
        return Story(seed, note).tell()
    except AssertionError as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{error or place.line} ({place.name})"]
    except Exception:
        return [traceback.format_exc()]


def _was_made(line: dict[str, object]) -> bool:
    return line["error"] == MADE_TO_FAIL or line["exception_type"] in _EXPECTED
