"""After: the application gives its events to the router and signs tokens; no client is connected to it.

postroom serve                                 with POSTROOM_SECRET
uvicorn after_server:app --port 8080           with POSTROOM_SECRET, and POSTROOM_TOKEN of role service
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jwt
from fastapi import FastAPI, Request

from postroom_client import Custom, Progress, Service


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Service]]:
    url = os.environ.get("POSTROOM_API_URL", "http://127.0.0.1:8001")
    async with Service(url, token=os.environ.get("POSTROOM_TOKEN")) as postroom:
        yield {"postroom": postroom}


app = FastAPI(lifespan=lifespan)


@app.post("/tokens/{user}")  # in yours: for the user who is logged in
def token(user: str) -> dict[str, str]:
    claims = {"sub": user, "exp": int(time.time()) + 15 * 60, "rooms": ["job:*"]}
    return {"token": jwt.encode(claims, os.environ["POSTROOM_SECRET"], algorithm="HS256")}


@app.post("/jobs/{job}")
async def run(job: int, request: Request) -> dict[str, int]:
    postroom: Service = request.state.postroom
    for step in range(1, 4):
        postroom.tell(Progress(f"job:{job}", step, 3))
    await postroom.ask(Custom(f"job:{job}", "job.done", {"result": "report.pdf"}))
    return {"steps": 3}
