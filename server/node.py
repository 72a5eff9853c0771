"""Node: what a router is called in its cluster, where nobody has given it a name."""

from __future__ import annotations

import os
import socket

import msgspec

from .settings import Settings

__all__ = ["named", "node_name"]


def node_name(settings: Settings) -> str:
    """Return the router's name: the one in the settings, or the host's, and the port.

    With port 0, which another router on this machine may have too, the process's number takes the port's place.
    """
    return settings.node or f"{socket.gethostname()}-{settings.port or os.getpid()}"


def named(settings: Settings) -> Settings:
    """Give a router of a cluster its name; leave others as they are."""
    return msgspec.structs.replace(settings, node=node_name(settings)) if settings.cluster else settings
