"""The checker's records: a file of JSON lines in; a verdict, or `RecordError`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.checker.findings import Findings
from tests.checker.judge import judge
from tests.checker.records import RecordError

__all__ = ["take"]


def take(data: bytes) -> None:
    """Judge the records; a verdict can be written out."""
    findings = Findings(most=10, allow_none=False)
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(data)
        file.flush()
        try:
            judge([Path(file.name)], findings)
        except RecordError as error:
            assert str(error)
            return
    assert findings.render()
    assert findings.counts["records"] <= data.count(b"\n") + 1
