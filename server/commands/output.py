"""What commands write besides their results: messages on stderr; and the end of an output that nobody takes."""

from __future__ import annotations

import contextlib
import os
import sys

import typer

__all__ = ["drop_output", "tell"]


def tell(message: str) -> None:
    """Write a message to stderr, where there is one that takes it."""
    with contextlib.suppress(OSError):
        typer.echo(f"postroom: {message}", err=True)


def drop_output() -> None:
    """Let what Python still wants to flush on its way out go nowhere: stdout takes no more."""
    with contextlib.suppress(OSError, ValueError):  # a stand-in without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
