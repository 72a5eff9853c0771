"""Recorder: what happened to one publisher or subscriber in, one file of JSON lines for the checker out."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import msgspec

from ..checker.records import Record

__all__ = ["Recorder"]

_ENCODER = msgspec.json.Encoder()


class Recorder:
    """A file of records.

    Args:
        folder: Where all records of a run are.
        name: Whose records these are.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._file = (folder / f"{name}.jsonl").open("xb", buffering=1 << 16)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, record: Record) -> None:
        """Write a record."""
        self._file.write(_ENCODER.encode(record) + b"\n")
