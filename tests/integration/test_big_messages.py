"""Messages that are too big in every way: 1009 for each, and a router whose memory stays as it was."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable

import pytest

from ..conftest import RouterProcess
from ..native_client import NativeClient
from ..raw_client import TEXT, RawClient, fragments, frame
from .at_size import MIB, log_of, report, rss, size

LIMIT = 64 * 1024
DEFLATED = 4
"""The first reserved bit: the message is compressed (RFC 7692, 6)."""
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
AT_ONCE = 20
MOST_AT_ONCE = 64 * MIB
"""Of 20 bombs; inflated they would be 1,200 MiB."""
MOST_GROWN = 64 * MIB
"""In all rounds: what an open connection leaves behind waits for the garbage collector."""


def deflated(payload: bytes) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compress.compress(payload) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]


def in_fragments(payload: bytes, count: int, *, reserved: int = 0) -> bytes:
    """Cut a message into so many frames; where there is too little for all of them the last ones are empty."""
    step = max(1, -(-len(payload) // count))
    cuts = [min(number * step, len(payload)) for number in range(1, count)]
    return b"".join(fragments(payload, cuts, reserved=reserved))


PLAIN = {
    "one byte too many": frame(TEXT, b" " * (LIMIT + 1)),
    "a megabyte": frame(TEXT, b" " * MIB),
    "an exabyte announced": b"\x81\xff" + struct.pack("!Q", 1 << 60) + b"mask",
    "too many in few fragments": in_fragments(b" " * (LIMIT + 60), 60),
    "little in many fragments": in_fragments(b"{}", 70),
}
COMPRESSED = {
    "a bomb of 60 MiB": frame(TEXT, deflated(b" " * 60 * MIB), reserved=DEFLATED),
    "a bomb in fragments": in_fragments(deflated(b" " * 60 * MIB), 60, reserved=DEFLATED),
    "one byte too many, deflated": frame(TEXT, deflated(b" " * (LIMIT + 1)), reserved=DEFLATED),
}


@pytest.mark.parametrize("compression", [False, True], ids=["plain", "compressing"])
async def test_each_that_is_too_big_is_closed_with_1009_and_memory_stays_flat(
    start_router: Callable[..., RouterProcess], compression: bool
) -> None:
    """Over and over, many at once; whoever is connected besides is answered all the while."""
    rounds = size(2, 30)
    process = start_router("--dev", environment={"POSTROOM_COMPRESSION": "postroom.v1"} if compression else {})
    ways = {**PLAIN, **COMPRESSED} if compression else PLAIN
    headers = (OFFER,) if compression else ()

    async def send(message: bytes) -> None:
        async with RawClient(process.ws_url) as client:
            await client.open(*headers)
            sending = asyncio.create_task(client.send(message))
            code = await client.closed()
            # None: the router hung up on what was still on its way.
            assert code == 1009 or (code is None and len(message) > LIMIT), code
            await asyncio.wait((sending,))
            sending.exception()

    async with NativeClient(process.ws_url) as other:
        fresh = rss(process.pid)
        most_of_rounds = []
        for _ in range(rounds):
            most = 0
            for message in ways.values():
                await asyncio.gather(*(send(message) for _ in range(AT_ONCE)))
                most = max(most, rss(process.pid))
            most_of_rounds.append(most)
            assert (await other.ask("ping"))["type"] == "pong"
    first, last = most_of_rounds[0], most_of_rounds[-1]
    assert first - fresh < MOST_AT_ONCE, f"{(first - fresh) / MIB:.1f} MiB for {AT_ONCE} at once"
    assert last - first < MOST_GROWN, f"{(last - first) / MIB:.1f} MiB more after {rounds} rounds"
    assert [line for line in log_of(process) if line["level"] in ("error", "critical")] == []
    report(
        "too big:",
        compression=compression,
        messages=rounds * AT_ONCE * len(ways),
        rss_mib=round(fresh / MIB, 1),
        at_once_mib=round((first - fresh) / MIB, 1),
        grown_mib=round((last - first) / MIB, 1),
    )
