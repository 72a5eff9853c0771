"""What is said of an address that cannot be listened on."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

from server.addresses import cannot_listen

HOST = "127.0.0.1"


def test_a_port_that_is_taken_or_right_after_it_is_not_offered_as_free() -> None:
    """The one after may be that of the other door; here the next one that might be offered is taken, too."""
    with ExitStack() as stack:
        port = two_taken(stack)
        said = cannot_listen("--port", HOST, port, OSError(errno.EADDRINUSE, "Address already in use"))
    assert f"port {port} on {HOST} is in use" in said
    for taken in (port, port + 1, port + 2):
        assert f"--port {taken}," not in said


def two_taken(stack: ExitStack) -> int:
    """Take a port and the second one after it."""
    for port in range(20_000, 30_000):
        first, second = stack.enter_context(socket.socket()), stack.enter_context(socket.socket())
        try:
            first.bind((HOST, port))
            second.bind((HOST, port + 2))
        except OSError:
            first.close()
            second.close()
        else:
            return port
    raise AssertionError("there are no two ports")


def test_the_last_ports_have_none_after_them() -> None:
    """Nothing is offered, and nothing fails."""
    said = cannot_listen("--port", HOST, 65_535, OSError(errno.EADDRINUSE, "Address already in use"))
    assert said.endswith("choose another port with --port")
