"""The back end: jobs are asked for over HTTP, and each says in a session of its own how far it is."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import jwt
from fastapi import BackgroundTasks, Cookie, Depends, FastAPI, HTTPException, Response
from pydantic import BaseModel, Field

from examples.pages import serve_page
from postroom_client import Service, Session

from .work import work

TOKEN_S = 15 * 60
SECRET_CHARS = 43
"""Of 32 random bytes."""


def sign(user: str, role: str) -> str:
    """Make a token that the router takes: it has the same secret."""
    claims = {"sub": user, "role": role, "exp": int(time.time()) + TOKEN_S}
    return jwt.encode(claims, os.environ["POSTROOM_SECRET"], algorithm="HS256")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one `Service` for the whole process; its end waits until what it holds was delivered."""
    async with Service(os.environ["POSTROOM_API_URL"], token=lambda: sign("jobs", "service")) as app.state.service:
        yield


app = FastAPI(lifespan=lifespan)


class Job(BaseModel):
    """What a visitor asks for."""

    files: Annotated[int, Field(ge=1, le=100)] = 20
    one_is_broken: bool = False


def who(visitor: Annotated[str, Cookie()] = "") -> str:
    """Return a visitor's name for the router, where operators see it: no way leads from it to the cookie."""
    if len(visitor) < SECRET_CHARS:
        raise HTTPException(401, "visit the page first")
    return f"visitor-{hashlib.sha256(visitor.encode()).hexdigest()[:16]}"


@app.post("/visit")
async def visit(response: Response, visitor: Annotated[str, Cookie()] = "") -> dict[str, str]:
    """Give every browser a cookie that nobody guesses, and a token. With users of your own, this is their login.

    Behind TLS the cookie needs `secure=True`, too.
    """
    if len(visitor) < SECRET_CHARS:
        visitor = secrets.token_urlsafe(32)
        response.set_cookie("visitor", visitor, httponly=True, samesite="strict")
    return {"url": os.environ["POSTROOM_URL"], "token": sign(who(visitor), "user")}


@app.post("/jobs", status_code=202)
async def start(job: Job, background: BackgroundTasks, visitor: Annotated[str, Depends(who)]) -> dict[str, str]:
    """Begin a job, and say in which room it can be watched."""
    room = f"session:job-{secrets.token_hex(8)}"
    service: Service = app.state.service
    # Asked, not told: when the page hears of the room, the router must know who its owner is.
    await service.ask(Session(room, "started", owner=visitor))
    background.add_task(work, service, room, job.files, job.one_is_broken)  # in a thread, after the answer
    return {"room": room}


serve_page(app, Path(__file__).parent / "page")
