"""Names of hosts in, their addresses out, each looked up in a thread that is made for it.

The pool that a loop looks names up in takes nothing more once the interpreter ends, and that is when a service that is
closed by `atexit` may have its last events to send.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["Names"]

_Found = list[tuple[socket.AddressFamily, int, tuple[str, str]]]


class Names(AbstractResolver):
    """Resolves for aiohttp, until the end of the process."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return a host's addresses.

        Raises:
            OSError: There are none, or nobody can be asked.
        """
        found: Future[_Found] = Future()

        def look_up() -> None:
            try:
                infos = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
                # In figures, with the interface where one belongs to the address (RFC 4007).
                figures = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
                found.set_result([(of, proto, socket.getnameinfo(to, figures)) for of, _, proto, _, to in infos])
            except Exception as error:
                found.set_exception(error)

        found.set_running_or_notify_cancel()  # who waits may give up; the thread goes on to its end
        try:
            threading.Thread(target=look_up, name=f"postroom looks up {host}", daemon=True).start()
        except RuntimeError:  # an interpreter that ends starts no threads any more, and may block
            look_up()
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=int(number),
                family=of,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for of, proto, (address, number) in await asyncio.wrap_future(found)
        ]

    async def close(self) -> None:
        """Do nothing: threads end by themselves."""
