"""What a page of the documentation shows, held against what was printed; what differs from run to run may differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["Shown"]

_VARYING = re.compile(
    r"(?P<time>\d\d:\d\d:\d\d\.\d{3})|(?P<uuid>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|(?P<connection>\b[0-9a-f]{8}-[0-9a-f]+\b)|(?P<epoch>\b[0-9a-f]{12}\b)|(?P<made>\b[0-9a-f]{10}-[0-9a-f]+\b)"
    r"|(?P<incident>\[[0-9a-f]{6}-\d+\])"
    r"|(?P<left>, [\d.]+ s left)|(?P<wait>\bin [\d.]+ s\b)|(?P<day>\b\d{4}-\d\d-\d\d(?=T))|(?P<any>…)"
)
_SHAPES = {
    "time": r"\d\d:\d\d:\d\d\.\d{3}",
    "uuid": r"[0-9a-f-]{36}",
    "connection": r"[0-9a-f]{8}-[0-9a-f]+",
    "made": r"[0-9a-f]{10}-[0-9a-f]+",
    "incident": r"\[[0-9a-f]{6}-\d+\]",
    "left": r"(?:, [\d.e+-]+ s left)?",
    "wait": r"in [\d.]+ s",
    "day": r"\d{4}-\d\d-\d\d",
    "any": r".*",
}


class Shown:
    """What was shown and came out so far: an epoch that a page names stands for the same real one ever after."""

    def __init__(self) -> None:
        self._epochs: dict[str, str] = {}

    def localised(self, text: str) -> str:
        """Return the text with the real epochs."""
        for shown, real in self._epochs.items():
            text = text.replace(shown, real)
        return text

    def line(self, line: str, printed: str) -> bool:
        """Return whether this line was printed."""
        return self._found(line.rstrip(), printed)

    def value(self, shown: Any, printed: list[str]) -> bool:
        """Return whether one of the outputs is, or has in a line, this JSON value."""
        return any(self._alike(shown, value) for output in printed for value in _values(output))

    def _found(self, line: str, printed: str) -> bool:
        pattern, epochs = self._pattern(line)
        found = re.search(pattern, printed, re.MULTILINE)
        for group, epoch in epochs.items() if found else ():
            assert found is not None
            self._epochs[epoch] = found[group]
        return found is not None

    def _pattern(self, line: str) -> tuple[str, dict[str, str]]:
        """Make a pattern of a line, and return the groups of the epochs that it would be the first to name."""
        line = self.localised(line)
        pattern, end = "^", 0
        epochs: dict[str, str] = {}
        for match in _VARYING.finditer(line):
            pattern += re.escape(line[end : match.start()])
            end = match.end()
            kind = match.lastgroup or ""
            if kind == "epoch" and match[0] not in self._epochs.values():
                group = f"epoch{len(epochs)}"
                epochs[group] = match[0]
                pattern += f"(?P<{group}>[0-9a-f]{{12}})"
            else:
                pattern += _SHAPES[kind] if kind != "epoch" else match[0]
        return pattern + re.escape(line[end:]) + r"[ \t]*$", epochs

    def _alike(self, shown: Any, real: Any) -> bool:
        """Return whether a value is what is shown, or more."""
        if shown == "…":
            return True
        if isinstance(shown, dict) and isinstance(real, dict):
            return all(key in real and self._alike(value, real[key]) for key, value in shown.items())
        if isinstance(shown, list) and isinstance(real, list):
            return len(shown) == len(real) and all(map(self._alike, shown, real))
        if isinstance(shown, str) and isinstance(real, str):
            return self._found(shown, real)
        return bool(shown == real) and type(shown) is type(real)


def _values(output: str) -> Iterator[Any]:
    """Return the JSON values that an output is or has, one a line."""
    for text in (output, *output.splitlines()):
        try:
            yield json.loads(text.removeprefix("data: "))
        except ValueError:
            continue
