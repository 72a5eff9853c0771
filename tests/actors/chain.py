"""A client that believes nothing: it takes messages of one room and holds each against its position."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["Chain", "messages", "whole_messages"]


def messages(frames: bytes) -> list[dict[str, Any]]:
    """Read what a server wrote: unmasked WebSocket text frames, one JSON object in each."""
    read, used = whole_messages(frames)
    assert used == len(frames), "a frame is cut off"
    return read


def whole_messages(data: bytes | bytearray) -> tuple[list[dict[str, Any]], int]:
    """Read the frames that are there as a whole; return their messages and how many bytes they take (RFC 6455, 5.2)."""
    read: list[dict[str, Any]] = []
    at = 0
    while at + 2 <= len(data):
        assert data[at] == 0x81, "not a whole text frame"
        length, body = data[at + 1], at + 2
        if length > 125:
            width = 2 if length == 126 else 8
            length, body = int.from_bytes(data[body : body + width], "big"), body + width
        if body + length > len(data):
            break
        read.append(json.loads(data[body : body + length]))
        at = body + length
    return read, at


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
