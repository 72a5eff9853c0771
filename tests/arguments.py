"""Arguments: the numbers that the tools take on their command lines; what makes no sense is wrong usage."""

from __future__ import annotations

import argparse
import math

__all__ = ["amount", "count", "count_or_none"]


def count(text: str) -> int:
    """Read a whole number from 1 on."""
    return _whole(text, 1)


def count_or_none(text: str) -> int:
    """Read a whole number from 0 on."""
    return _whole(text, 0)


def amount(text: str) -> float:
    """Read a number above 0, of seconds or of anything else that is measured."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
    return number
