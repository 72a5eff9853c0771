"""The tree of supervisors as it is now: their tables in, one node for each out, for operators."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import msgspec

from .mailbox import Mailbox
from .supervisor import Child, SupervisorStart

__all__ = ["Node", "each_child", "node"]


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A supervisor or an actor."""

    name: str
    kind: str
    """`supervisor` or `actor`."""
    class_: str | None = msgspec.field(name="class")
    """The class of the actor that lives there now; None: none does."""
    state: str
    """`running`; `restarting`: it failed, and its successor is on the way."""
    mailbox_depth: int
    """Messages that wait."""
    restarts: int
    """How often it was restarted in all."""
    restart: str | None = None
    """When it is restarted: permanent, transient or temporary. None: it is the root."""
    intensity: int | None = None
    """So many restarts are allowed .."""
    within_s: float | None = None
    """.. within so many seconds."""
    children: list[Node] | None = None
    """None: it is no supervisor."""
    children_total: int | None = None
    """How many it has; `children` may hold fewer."""


def node(mailbox: Mailbox, start: SupervisorStart, most: int, child: Child | None = None) -> Node:
    """Return a supervisor and its children, of each supervisor `most` at most: those with something to say first."""
    children = start.children.values()
    shown = children if len(children) <= most else heapq.nlargest(most, children, key=_weight)
    below = [_child(each, most) for each in shown]
    return msgspec.structs.replace(
        _node(start.name, mailbox, child), kind="supervisor", children=below, children_total=len(children)
    )


def each_child(start: SupervisorStart) -> Iterator[Child]:
    """Go through all children of a supervisor, and of those below it."""
    for child in list(start.children.values()):
        yield child
        if isinstance(child.spec.start, SupervisorStart):
            yield from each_child(child.spec.start)


def _child(child: Child, most: int) -> Node:
    start = child.spec.start
    if isinstance(start, SupervisorStart):
        return node(child.mailbox, start, most, child)
    return _node(child.spec.name, child.mailbox, child)


def _node(name: str, mailbox: Mailbox, child: Child | None) -> Node:
    spec = child.spec if child is not None else None
    return Node(
        name=name,
        kind="actor",
        class_=mailbox.tenant_class,
        state="running" if mailbox.occupied else "restarting",
        mailbox_depth=len(mailbox),
        restarts=child.restarts if child is not None else 0,
        restart=spec.restart if spec is not None else None,
        intensity=spec.intensity if spec is not None else None,
        within_s=spec.within_s if spec is not None else None,
    )


def _weight(child: Child) -> tuple[bool, bool, int, int]:
    """Order children by what an operator looks for: supervisors, who is down, who failed often, who has most mail."""
    supervises = isinstance(child.spec.start, SupervisorStart)
    return supervises, not child.mailbox.occupied, child.restarts, len(child.mailbox)
