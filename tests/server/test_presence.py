"""Who is in a room, in the words of each protocol: whatever the number of those who ask, it is written once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors import replies
from actors.codec import Codec
from actors.roll import Roll
from server.protocols.centrifuge import CentrifugeCodec
from server.protocols.native import NativeCodec
from server.protocols.socketio_codec import NamespaceCodec
from tests.actors.chain import messages
from tests.actors.making import a_roll

ROOM = "session:1"
MEMBERS = [{"user": "ann", "connections": 2}, {"user": "bob", "connections": 1}]
CONNECTIONS = [
    {"connection": "c", "user": "ann"},
    {"connection": "d", "user": "ann"},
    {"connection": "e", "user": "bob"},
]


class Counted:
    """Somebody in the room, who counts how often it is looked at."""

    looks = 0
    connection = "c"

    @property
    def user(self) -> str:
        self.looks += 1
        return "ann"


def asked(id: int | str, roll: Roll, connections: bool = True) -> replies.Presence:
    return replies.Presence(id=id, room=ROOM, roll=roll, connections=connections)


@pytest.mark.parametrize(
    ("codec", "ids"),
    [
        (NativeCodec(), (1, 2)),
        (NamespaceCodec("/", ("/",)), (1, 2)),
        (CentrifugeCodec(), ("presence:1", "presence:2")),
    ],
)
def test_a_roll_is_written_once_for_all_who_ask(codec: Codec, ids: tuple[int | str, int | str]) -> None:
    """Each answer has its own id, and none of the connections are looked at for the second."""
    present = Counted()
    roll = Roll([present])
    first = codec.encode(asked(ids[0], roll))
    looks = present.looks
    second = codec.encode(asked(ids[1], roll))
    assert present.looks == looks > 0
    assert len(first) == len(second)
    assert first != second


@pytest.mark.parametrize(
    ("connections", "more"), [(False, {}), (True, {"connections": CONNECTIONS})], ids=["users", "connections"]
)
def test_members_and_connections_are_told_in_the_native_words(connections: bool, more: dict[str, Any]) -> None:
    """And in Socket.IO's acknowledgement in the same."""
    said = {"room": ROOM, "members": MEMBERS, "count": 2, **more}
    roll = a_roll(c="ann", d="ann", e="bob")
    (native,) = messages(NativeCodec().encode(asked(7, roll, connections)))
    assert native == {"type": "presence", "id": 7, **said}
    frame = NamespaceCodec("/", ("/",)).encode(asked(7, roll, connections))
    assert json.loads(frame[frame.index(b"437") + 3 :]) == [said]
