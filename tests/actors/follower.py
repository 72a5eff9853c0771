"""A subscriber that keeps its cursor as a connection does, and checks that what its client hears is a whole chain."""

from __future__ import annotations

from typing import Any

from pykka._envelope import Envelope

from actors.batch import Batch
from actors.ledger import ConnectionState
from actors.messages import Attached, Joined
from actors.outbox import Outbox
from actors.streams import Streams
from server.protocols.native import NativeCodec

from .chain import Chain
from .fake_wire import FakeWire
from .house import Ear
from .making import taken

__all__ = ["Follower"]

CODEC = NativeCodec()


class Follower(Ear):
    """Stands where a connection's mailbox would.

    Args:
        name: The connection's id.
    """

    def __init__(self, name: str = "c1") -> None:
        super().__init__()
        self.state = ConnectionState(
            id=name,
            mailbox=self,  # type: ignore[arg-type]  # rooms tell it, and no more
            wire=FakeWire(self),  # type: ignore[arg-type]
            outbox=Outbox(1 << 30, CODEC),
            offered_token=None,
        )
        self.state.welcomed = True
        self.chain = Chain()
        self._streams = Streams(self.state)

    def tell(self, message: Any) -> None:
        super().tell(message)
        if isinstance(message, Joined):
            self.state.subscriptions[message.subscription.room] = message.subscription
            self.chain = Chain(message.subscription.cursor)
            self._streams.begin(message)
        elif isinstance(message, Batch):
            self._streams.deliver(message)
        elif isinstance(message, Attached):
            self._streams.attached(message)
        self._streams.go_on()
        self.chain.take_all(taken(self.state.outbox))

    def put_here(self, envelope: Envelope[Any]) -> None:
        self.tell(envelope.message)
