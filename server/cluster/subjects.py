"""Subjects of the cluster: names of nodes and rooms in, parts of NATS subjects out."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["ask", "ask_of", "came", "nodes"]


def nodes(cluster: str) -> str:
    """Return where every node says that it is there."""
    return f"{cluster}.nodes"


def ask(cluster: str) -> str:
    """Return where all nodes are asked."""
    return f"{cluster}.ask"


def ask_of(cluster: str, node: str) -> str:
    """Return where one node is asked."""
    return f"{cluster}.ask.{_part(node)}"


def came(cluster: str, room: str) -> str:
    """Return where nodes tell each other who comes into a room and who leaves it."""
    return f"{cluster}.came.{_part(room)}"


def _part(name: str) -> str:
    """Return a name without what means something in a subject: dots, wildcards and spaces."""
    return quote(name, safe="").replace(".", "%2E")
