"""After: the client follows the job's room at the router, over broken connections and restarts, too.

python after_client.py
"""

from __future__ import annotations

import asyncio
import os

import httpx

import postroom_client

APP = os.environ.get("APP_URL", "http://127.0.0.1:8080")
ROUTER = os.environ.get("POSTROOM_URL", "ws://127.0.0.1:8000/v1/ws")


async def token() -> str:
    async with httpx.AsyncClient() as http:
        return str((await http.post(f"{APP}/tokens/ada")).json()["token"])


async def main() -> None:
    async with postroom_client.connect(ROUTER, token=token) as client:
        job = await client.subscribe("job:42")
        print("watching job 42", flush=True)
        async for event in job:
            if event.kind == "progress":
                print("step", event.data["current"], "of", event.data["total"])
            elif event.kind == "job.done":
                print("done:", event.data["result"])
                break


asyncio.run(main())
