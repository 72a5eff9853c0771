"""Before: a client of the consumer that follows a job to its end.

python before_client.py
"""

from __future__ import annotations

import asyncio
import json
import os

from websockets.asyncio.client import connect

APP = os.environ.get("APP_URL", "http://127.0.0.1:8080")


async def main() -> None:
    async with connect(f"{APP.replace('http', 'ws')}/ws/jobs/42", origin=APP) as socket:
        print("watching job 42", flush=True)
        async for text in socket:
            event = json.loads(text)
            if event["type"] == "job.step":
                print("step", event["current"], "of", event["total"])
            elif event["type"] == "job.done":
                print("done:", event["result"])
                break


asyncio.run(main())
