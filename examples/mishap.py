"""Plug-ins that break things on purpose, so that you can watch the router repair them.

Run one of them from the repository's folder, and listen to a busy room in another terminal:

    postroom serve --dev --plugin examples.mishap:crash
    postroom serve --dev --plugin examples.mishap:cut

`crash` makes every connection's actor fail, every two seconds: the sockets stay open. `cut` closes every socket,
every two seconds, with a code that tells clients to come back.
"""

from __future__ import annotations

from pykka.messages import ProxyCall

from actors.messages import Close
from server.app import Router

EVERY_S = 2.0
"""The supervisor gives a connection up after 3 restarts in 5 s: this is slow enough for it."""


def crash(router: Router) -> None:
    """Ask every Connection actor for what it does not have: that raises AttributeError inside the actor."""
    _repeat(router, ProxyCall(("explode",), (), {}))


def cut(router: Router) -> None:
    """Have every connection closed; 1011 is what the supervisor uses when it gives a connection up."""
    _repeat(router, Close(1011, "cut on purpose"))


def _repeat(router: Router, message: object) -> None:
    def strike() -> None:
        for connection in router.registry.states:
            connection.mailbox.tell(message)
        router.clock.call_later(EVERY_S, strike)

    router.clock.call_later(EVERY_S, strike)
