"""Two machines joined by a cable, as network namespaces, between which packets are lost: all, or one in so many.

Needs root, `ip` (iproute2) and `nft` (nftables). Sockets that are made inside a namespace stay there.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Cable", "cable", "unavailable"]

_CLONE_NEWNET = 0x40000000
_WAIT_S = 10.0


class Cable:
    """A cable between a machine for the router and one for its clients.

    Args:
        name: Of the namespaces; no other run may have it.
    """

    router = "10.111.0.1"
    """The router's address."""
    clients = "10.111.0.2"

    def __init__(self, name: str) -> None:
        self._spaces = {self.router: f"{name}-r", self.clients: f"{name}-c"}

    @contextmanager
    def at(self, address: str) -> Iterator[None]:
        """Be on the machine with this address: sockets that this thread makes are made there."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self._spaces[address]}", os.O_RDONLY)
        try:
            _enter(there)
            try:
                yield
            finally:
                _enter(here)
        finally:
            os.close(there)
            os.close(here)

    def lose(self, address: str, one_in: int = 1) -> None:
        """Lose one packet in so many of those that are sent to this address from now on."""
        self._nft(address, f"add rule inet faults arriving iifname != lo numgen inc mod {one_in} 0 counter drop")

    def lost(self, address: str) -> int:
        """Count the packets to this address that were lost since the last mend."""
        rules = self._nft(address, "list chain inet faults arriving")
        return sum(int(count) for count in re.findall(r"packets (\d+)", rules))

    def mend(self) -> None:
        """Lose nothing any more."""
        for address in self._spaces:
            self._nft(address, "flush chain inet faults arriving")

    def _nft(self, address: str, command: str) -> str:
        return _run("ip", "netns", "exec", self._spaces[address], "nft", command)

    def set_up(self) -> None:
        """Make both machines."""
        ends = dict(zip(self._spaces, ("pr0", "pr1"), strict=True))
        for space in self._spaces.values():
            _run("ip", "netns", "add", space)
        router, clients = self._spaces.values()
        pair = f"{ends[self.router]} netns {router} type veth peer name {ends[self.clients]} netns {clients}"
        _run("ip", "link", "add", *pair.split())
        for address, space in self._spaces.items():
            _run("ip", "-n", space, "address", "add", f"{address}/24", "dev", ends[address])
            _run("ip", "-n", space, "link", "set", ends[address], "up")
            _run("ip", "-n", space, "link", "set", "lo", "up")
            self._nft(address, "add table inet faults")
            self._nft(address, "add chain inet faults arriving { type filter hook input priority 0; }")

    def take_down(self) -> None:
        """Remove both; does no harm where there is none."""
        for space in self._spaces.values():
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, timeout=_WAIT_S, check=False)


@contextmanager
def cable() -> Iterator[Cable]:
    """Lay a cable, and take it away at the end.

    Raises:
        OSError: There can be none here.
    """
    cable = Cable(f"postroom-{os.getpid()}")
    try:
        cable.set_up()
        yield cable
    finally:
        cable.take_down()


def unavailable() -> str | None:
    """Say why there can be no cable here; None: there can be one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        with cable():
            return None
    except OSError as error:
        return str(error)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT_S, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _enter(space: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(space, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
