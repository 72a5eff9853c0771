"""A plug-in: two actors of your own inside the router, which watch this machine under its supervisor."""

from __future__ import annotations

from server.app import Router

from .machine import Machine
from .warden import Limits, Memory, Warden

__all__ = ["start"]

USUAL = Limits()


def start(router: Router, limits: Limits = USUAL) -> None:
    """Start both under the router's supervisor: when one fails, a new one takes its place.

    What must outlive an actor is made here, for each of its lives gets the same arguments. `postroom serve --plugin
    examples.plugin:start` calls this with the router.
    """
    warden = router.start_actor(Warden, router, limits, Memory(), name="warden")
    router.start_actor(Machine, router, warden, name="machine")
