"""Knobs: what is large only for the sake of speed made small, and what is drawn from the system drawn from the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from actors import fan_out, history, room

__all__ = ["small"]


@contextmanager
def small(source: random.Random) -> Iterator[None]:
    """Let a short history get to every corner, and the same one each time.

    Args:
        source: Decides how small.
    """
    sizes = {
        (fan_out, "_SLICE"): (1, 2, 512),
        (history, "_PAGE_EVENTS"): (2, 7, 256),
        (history, "_PAGE_BYTES"): (500, 128 * 1024),
        (room, "_TRIM_SLACK"): (0, 3, 256),
        (room, "_FAN_OUT_BYTES"): (300, 128 * 1024),
    }
    with ExitStack() as stack:
        for (module, name), values in sizes.items():
            stack.enter_context(patch.object(module, name, source.choice(values)))
        stack.enter_context(patch("secrets.token_hex", lambda size: source.randbytes(size).hex()))
        stack.enter_context(patch("actors.child._BACKOFF._draw", source.uniform))
        yield
