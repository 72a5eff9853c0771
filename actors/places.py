"""Places: an exception in, out a short name for where it came through."""

from __future__ import annotations

import hashlib
import traceback

__all__ = ["places_hash"]


def places_hash(error: BaseException | None) -> str:
    """Name where an exception came through: the same failure has the same name, whatever values it speaks of."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    places = "|".join([type(error).__name__, *(f"{frame.filename}:{frame.lineno}" for frame in frames)])
    return hashlib.blake2s(places.encode(), digest_size=6).hexdigest()
