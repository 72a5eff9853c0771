"""A plug-in for workers under test: it has the process end at once, or the start refused, while a file says so."""

from __future__ import annotations

import os
from pathlib import Path

from server.app import Router

__all__ = ["start"]


def start(_router: Router) -> None:
    """Do what the file that `WORKERS_CRASH` names says; nothing where it is not there."""
    path = Path(os.environ["WORKERS_CRASH"])
    what = path.read_text() if path.exists() else ""
    if what == "crash":
        os._exit(3)
    if what == "refuse":
        raise ValueError("told to refuse")
