"""Text frames of a server (RFC 6455, 5.2): payloads in, bytes for the socket out."""

from __future__ import annotations

from functools import lru_cache

from websockets.frames import Frame, Opcode

__all__ = ["text_frame"]


def text_frame(payload: bytes) -> bytes:
    """Return a whole text frame, neither masked nor compressed."""
    return _header(len(payload)) + payload


@lru_cache(maxsize=4096)
def _header(length: int) -> bytes:
    """Return what stands before a text of this many bytes: asked for once a length, it is the library's work."""
    frame = bytes(Frame(Opcode.TEXT, bytes(length)).serialize(mask=False))
    return frame[: len(frame) - length]
