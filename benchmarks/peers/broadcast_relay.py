"""A relay written by hand on `websockets.broadcast`: subscribe to a room, publish to a room, nothing else.

In: the same JSON messages as the Node `ws` relay. Out: each event, stringified once, to the room's subscribers. Runs on
uvloop as Postroom does; the heartbeat is off, and so is compression unless `deflate` follows the port: then the library
compresses for each connection by itself.
"""

import json
import sys
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def relay(connection: ServerConnection) -> None:
    """Serve one connection until it closes."""
    joined: set[str] = set()
    try:
        async for raw in connection:
            message = json.loads(raw)
            room = message["room"]
            if message["type"] == "subscribe":
                rooms[room].add(connection)
                joined.add(room)
                await connection.send(json.dumps({"type": "subscribed", "room": room}))
            elif message["type"] == "publish":
                broadcast(rooms[room], json.dumps({"type": "event", "room": room, "data": message["data"]}))
    except ConnectionClosed:
        pass
    finally:
        for room in joined:
            rooms[room].discard(connection)


async def main(port: int, compression: str | None) -> None:
    """Listen on a loopback port until the process is ended."""
    async with serve(relay, "127.0.0.1", port, compression=compression, ping_interval=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
