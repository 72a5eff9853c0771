"""After: the same client, connected to the router.

python after_client.py
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import socketio

APP = os.environ.get("APP_URL", "http://127.0.0.1:8080")
ROUTER = os.environ.get("ROUTER_URL", "http://127.0.0.1:8000")
client = socketio.AsyncClient()
done = asyncio.Event()


@client.on("progress")
def progress(event: dict[str, Any]) -> None:
    print("step", event["data"]["current"], "of", event["data"]["total"])


@client.on("job.done")
def finished(event: dict[str, Any]) -> None:
    print("done:", event["data"]["result"])
    done.set()


async def main() -> None:
    async with httpx.AsyncClient() as http:
        token = (await http.post(f"{APP}/tokens/ada")).json()["token"]
    await client.connect(ROUTER, auth={"token": token}, transports=["websocket"])
    await client.call("subscribe", "job:42")
    print("watching job 42", flush=True)
    await done.wait()
    await client.disconnect()


asyncio.run(main())
