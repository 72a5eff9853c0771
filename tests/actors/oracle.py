"""Who may do what, as docs/reference/protocol.md says under "Rights", in as few words; and what to try it with."""

from __future__ import annotations

import fnmatch

from hypothesis import strategies as st

from actors.identity import Identity

__all__ = ["GRANTS", "ROOMS", "USERS", "expected"]

USERS = ("ann", "bob")
ROOMS = (
    "user:ann",
    "user:bob",
    "role:user",
    "role:admin",
    "role:service",
    "broadcast",
    "system",
    "session:1",
    "session:2",
    "team:1",
    "team:ann",
)
PATTERNS = ("*", "team:*", "team:1", "session:*", "session:1", "*:1", "user:*", "broadcast")
GRANTS = st.lists(st.sampled_from(PATTERNS), max_size=2).map(tuple)


def covered(patterns: tuple[str, ...], room: str) -> bool:
    return any(fnmatch.fnmatchcase(room, pattern) for pattern in patterns)


def expected(verb: str, identity: Identity, room: str, owner: str | None) -> bool:
    """Tell whether the identity may: `subscribe` is to read in any way; what no rule here allows is denied."""
    owns = room.startswith("session:") and owner == identity.user
    own_rooms = {f"user:{identity.user}", f"role:{identity.role}", "broadcast", "system"}
    if verb == "subscribe":
        return identity.role == "admin" or room in own_rooms or owns or covered(identity.rooms, room)
    if verb == "publish":
        return identity.role == "service" or covered(identity.publish, room)
    personal = room == f"user:{identity.user}" or owns or covered(identity.rooms, room)
    return identity.role in ("admin", "service") or personal
