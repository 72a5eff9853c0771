"""Half of a surrogate pair in a message: JSON by its grammar, and no text.

JavaScript writes it, as an escape, where a program has cut a string in the middle of an emoji. That is a mistake in one
message, which deserves an answer like any other: its sender would otherwise wait for one, or be sent away.
"""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = ["HALF", "without_halves"]

HALF: Final = "a string has half of a surrogate pair, which is no text: was it cut in the middle of a character?"
_SURROGATE = re.compile("[\ud800-\udfff]")


def without_halves(text: str) -> str | None:
    """Return a message with something else in place of such halves, to find out what it was; None: it has none."""
    try:
        written = json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    whole, halves = _SURROGATE.subn("\ufffd", written)
    return whole if halves else None
