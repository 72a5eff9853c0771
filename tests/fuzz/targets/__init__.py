"""What is fuzzed: one module each, with a `take` that takes any bytes and fails only where the product is wrong.

What a `take` lets pass is what the decoder documents: a value of its type, or its own error. Every other exception is
a finding. Seeds are in `tests/fuzz/corpus/NAME`: right ones, nearly right ones, and what was found once.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

__all__ = ["DECODERS", "NAMES", "load", "seeds"]

DECODERS = (
    "answers",
    "centrifuge",
    "environment",
    "frames",
    "headers",
    "journal",
    "keys",
    "messages",
    "parameters",
    "publish",
    "records",
    "snapshot",
    "socketio",
    "tokens",
    "toml",
)
"""Bytes in, a value or an error out; nothing is kept."""

NAMES = (*DECODERS, "connection", "socket")
"""All of them; the last two take what one client does, one thing after the other."""

_CORPUS = Path(__file__).parent.parent / "corpus"


def load(name: str) -> Callable[[bytes], None]:
    """Return the target of this name."""
    take: Callable[[bytes], None] = import_module(f"{__name__}.{name}").take
    return take


def seeds(name: str) -> list[Path]:
    """Return the files of a target's seed corpus."""
    return sorted((_CORPUS / name).iterdir())
