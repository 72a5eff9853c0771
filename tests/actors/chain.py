"""A client that believes nothing: it takes messages of one room and holds each against its position."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["Chain", "messages"]


def messages(frames: bytes) -> list[dict[str, Any]]:
    """Read what a server wrote: unmasked WebSocket text frames, one JSON object in each (RFC 6455, 5.2)."""
    read: list[dict[str, Any]] = []
    at = 0
    while at < len(frames):
        assert frames[at] == 0x81, "not a whole text frame"
        length, at = frames[at + 1], at + 2
        if length > 125:
            width = 2 if length == 126 else 8
            length, at = int.from_bytes(frames[at : at + width], "big"), at + width
        read.append(json.loads(frames[at : at + length]))
        at += length
    assert at == len(frames), "a frame is cut off"
    return read


class Chain:
    """One room's stream as docs/reference/protocol.md lets a client check it: `event.prev == position`.

    Args:
        position: Where the client is.
    """

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.offsets: list[int] = []
        """Of the events that came."""
        self.skipped: list[tuple[int, int, str]] = []

    def take(self, message: dict[str, Any]) -> None:
        """Check one message; those that are neither events nor markers are passed over."""
        if message["type"] == "event":
            assert message["prev"] == self.position, f"{message} after {self.position}"
            self.position = message["offset"]
            self.offsets.append(self.position)
        elif message["type"] == "skipped":
            assert message["from"] == self.position + 1, f"{message} after {self.position}"
            assert message["to"] > self.position, f"{message} after {self.position}"
            self.position = message["to"]
            self.skipped.append((message["from"], message["to"], message["reason"]))

    def take_all(self, frames: bytes) -> None:
        """Check every message of these frames."""
        for message in messages(frames):
            self.take(message)
