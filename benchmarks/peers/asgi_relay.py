"""A bare relay on python-socketio and uvicorn: subscribe to a room, publish to a room, nothing else.

In and out: the same events as the Node socket.io relay. WebSocket transport only, compression off, on uvloop and
httptools; the heartbeat is put off beyond any run.
"""

import sys

import socketio
import uvicorn

_A_DAY_S = 24 * 3600

server = socketio.AsyncServer(
    async_mode="asgi", transports=["websocket"], ping_interval=_A_DAY_S, http_compression=False
)


@server.event
async def subscribe(sid: str, room: str) -> None:
    """Let a client into a room; that it returns is the answer."""
    await server.enter_room(sid, room)


@server.event
async def publish(sid: str, room: str, data: object) -> None:
    """Hand an event to everybody in a room."""
    await server.emit("event", data, room=room)


if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(server),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="error",
        access_log=False,
    )
