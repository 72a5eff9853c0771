"""A tiny application: a kitchen that tells whoever watches an order how far it is.

Its tests are next door, in test_kitchen.py. To run them:

    pip install 'postroom-client[testing]' pytest-asyncio
    cd examples/testing
    pytest
"""

from __future__ import annotations

from collections.abc import Sequence

from postroom_client import Notification, Progress, Receipt, Service, Session


class Kitchen:
    """Cooks orders.

    Args:
        service: Where it publishes; the caller closes it.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def cook(self, order: str, dishes: Sequence[str]) -> None:
        """Cook an order, dish by dish; `order` is the name of its room, for example `session:42`."""
        self._service.tell(Session(order, "started"))
        for number, dish in enumerate(dishes, 1):
            self._service.tell(Progress(order, number, len(dishes), message=f"{dish} is ready"))

    async def serve(self, order: str, guest: str) -> Receipt:
        """Bring an order to its guest, and return when everybody is sure to hear of it."""
        await self._service.ask(Notification(f"user:{guest}", "success", "Enjoy your meal"))
        return await self._service.ask(Session(order, "completed"))

    def serve_sync(self, order: str) -> Receipt:
        """Do so in a thread."""
        return self._service.ask_sync(Session(order, "completed"))
