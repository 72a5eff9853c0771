"""Orders: what operators have the router do; a log line and an entry of the supervisor journal for each."""

from __future__ import annotations

import structlog

from actors.report import Report

__all__ = ["Orders"]

log = structlog.get_logger("postroom.http")


class Orders:
    """Notes orders before they are carried out.

    Args:
        report: Keeps them in the supervisor journal.
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    def note(self, order: str, target: str, by: str, *, actor: str | None = None) -> None:
        """Note one.

        Args:
            order: What is to be done.
            target: To whom or what.
            by: The operator.
            actor: The actor that it concerns, where there is one of the name.
        """
        log.info("operator_ordered", order=order, target=target, by=by)
        self._report("ordered", order=order, target=target, by=by, actor=actor)
