"""Before: the application has a python-socketio server in its own process, and every client is connected to it.

uvicorn before_server:app --port 8080
"""

from __future__ import annotations

import socketio
from fastapi import FastAPI

sio = socketio.AsyncServer(async_mode="asgi")
web = FastAPI()
app = socketio.ASGIApp(sio, web)


@sio.event
async def connect(sid: str, environ: dict[str, object], auth: dict[str, str] | None) -> None:
    if not (auth or {}).get("user"):
        raise ConnectionRefusedError("who are you?")


@sio.event
async def watch(sid: str, job: int) -> None:
    await sio.enter_room(sid, f"job:{job}")


@web.post("/jobs/{job}")
async def run(job: int) -> dict[str, int]:
    for step in range(1, 4):
        await sio.emit("progress", {"current": step, "total": 3}, room=f"job:{job}")
    await sio.emit("job.done", {"result": "report.pdf"}, room=f"job:{job}")
    return {"steps": 3}
