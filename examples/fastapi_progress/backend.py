"""The back end: jobs are asked for over HTTP, and each says in a session of its own how far it is."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import jwt
from fastapi import BackgroundTasks, Cookie, FastAPI, HTTPException, Response
from pydantic import BaseModel, Field

from examples.pages import serve_page
from postroom_client import Service, Session

from .work import work

TOKEN_S = 15 * 60


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
visitors: set[str] = set()
"""Cookies that we gave."""


class Job(BaseModel):
    """What a visitor asks for."""

    files: Annotated[int, Field(ge=1, le=100)] = 20
    one_is_broken: bool = False


@app.post("/visit")
async def visit(response: Response, visitor: Annotated[str, Cookie()] = "") -> dict[str, str]:
    """Give every browser a cookie, and a token: with yours, this is the end of logging in."""
    if visitor not in visitors:
        visitor = secrets.token_urlsafe(32)
        visitors.add(visitor)
        response.set_cookie("visitor", visitor, httponly=True, samesite="strict")
    return {"url": os.environ["POSTROOM_URL"], "token": sign(_name(visitor), "user")}


@app.post("/jobs", status_code=202)
async def start(job: Job, background: BackgroundTasks, visitor: Annotated[str, Cookie()] = "") -> dict[str, str]:
    """Begin a job, and say in which room it can be watched."""
    if visitor not in visitors:
        raise HTTPException(401, "visit the page first")
    room = f"session:job-{secrets.token_hex(4)}"
    service: Service = app.state.service
    # Asked, not told: when the page hears of the room, the router must know who its owner is.
    await service.ask(Session(room, "started", owner=_name(visitor)))
    background.add_task(work, service, room, job.files, job.one_is_broken)  # in a thread, after the answer
    return {"room": room}


def _name(visitor: str) -> str:
    """Name the visitor to the router, where operators see it: not by the cookie, which is a secret."""
    return f"visitor-{visitor[:8]}"


serve_page(app, Path(__file__).parent / "page")
