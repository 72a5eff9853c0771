"""Bodies of `POST /v1/publish`, without I/O: bytes in, events out, or a refusal that says what is wrong."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from actors.errors import ErrorCode, Refusal

__all__ = ["BodyReader", "PublishBody"]

_MOST_EVENTS = 1000


class PublishBody(msgspec.Struct, frozen=True, kw_only=True):
    """One event of `POST /v1/publish`."""

    room: str | None = None
    rooms: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1000)] | None = None
    kind: str
    data: dict[str, Any]
    event_id: str | None = None
    delivery: str | None = None
    key: str | None = None
    ack: str | None = None
    traceparent: str | None = None

    def __post_init__(self) -> None:
        if (self.room is None) == (self.rooms is None):
            raise ValueError("name one `room`, or several in `rooms`")
        if self.rooms is not None and len(set(self.rooms)) < len(self.rooms):
            raise ValueError("`rooms` names a room twice: each gets the event once")

    @property
    def all_rooms(self) -> tuple[str, ...]:
        """The rooms it goes to."""
        return (self.room,) if self.room is not None else self.rooms or ()


class BodyReader:
    """Reads bodies.

    Args:
        message_bytes: Largest event.
    """

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._decoder = msgspec.json.Decoder(PublishBody)

    def items(self, body: bytes) -> tuple[list[msgspec.Raw], bool]:
        """Split a body into its events, and tell whether it is a single one.

        Raises:
            Refusal: `bad_message` or `too_large`.
        """
        try:
            items = (
                msgspec.json.decode(body, type=list[msgspec.Raw] | msgspec.Raw)
                if body[:1] == b"["
                else msgspec.Raw(body)
            )
            if isinstance(items, msgspec.Raw):
                msgspec.json.decode(items)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal(ErrorCode.BAD_MESSAGE, f"the body is not JSON: {error}") from None
        if isinstance(items, msgspec.Raw):
            return [items], True
        if len(items) > _MOST_EVENTS:
            raise Refusal(ErrorCode.TOO_LARGE, f"{len(items)} events at once; send up to {_MOST_EVENTS}")
        return items, False

    def event(self, item: msgspec.Raw) -> PublishBody:
        """Read one event.

        Raises:
            Refusal: `invalid_event` or `too_large`.
        """
        try:
            event = self._decoder.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal(ErrorCode.INVALID_EVENT, str(error)) from None
        if len(memoryview(item)) > self._message_bytes:
            raise Refusal(ErrorCode.TOO_LARGE, f"an event may have {self._message_bytes} bytes")
        return event
