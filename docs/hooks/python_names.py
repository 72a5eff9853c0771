"""Names of a Python module in a page in; what their docstrings say, as mkdocstrings writes it, out.

A page has it below a paragraph of names: `<!-- site: python MODULE -->`.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_markdown"]

_HERE = re.compile(r"^(?P<names>`\w+`(?:,\s+`\w+`)*)\n\n<!-- site: python (?P<module>[\w.]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what is to be said of each name in its place."""
    return _HERE.sub(_described, markdown)


def _described(match: re.Match[str]) -> str:
    return "\n\n".join(f"::: {match['module']}.{name}" for name in re.findall(r"\w+", match["names"]))
