"""Before: a client of the python-socketio server that follows a job to its end.

python before_client.py
"""

from __future__ import annotations

import asyncio
import os

import socketio

APP = os.environ.get("APP_URL", "http://127.0.0.1:8080")
client = socketio.AsyncClient()
done = asyncio.Event()


@client.on("progress")
def progress(data: dict[str, int]) -> None:
    print("step", data["current"], "of", data["total"])


@client.on("job.done")
def finished(data: dict[str, str]) -> None:
    print("done:", data["result"])
    done.set()


async def main() -> None:
    await client.connect(APP, auth={"user": "ada"}, transports=["websocket"])
    await client.call("watch", 42)
    print("watching job 42", flush=True)
    await done.wait()
    await client.disconnect()


asyncio.run(main())
