"""The chat's back end: names in, tokens for the router out. What users say, the clerk takes to the lobby."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import jwt
from fastapi import Cookie, Depends, FastAPI, HTTPException, Response
from pydantic import BaseModel, StringConstraints

import postroom_client
from examples.pages import serve_page

from .clerk import LOBBY, Clerk, said_by

TOKEN_S = 15 * 60
MOST_USERS = 100
"""The clerk is in a room of each user's, and a connection may be in 128 (`max_rooms`)."""


def sign(user: str, role: str, **rights: list[str]) -> str:
    """Make a token that the router takes: it has the same secret."""
    claims = {"sub": user, "role": role, "exp": int(time.time()) + TOKEN_S, **rights}
    return jwt.encode(claims, os.environ["POSTROOM_SECRET"], algorithm="HS256")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Have the clerk at work for as long as the back end runs. Tokens are made anew whenever one is asked for."""

    def token() -> str:
        return sign("clerk", "service", rooms=[said_by("*")])

    async with (
        postroom_client.Service(os.environ["POSTROOM_API_URL"], token=token) as service,
        postroom_client.connect(os.environ["POSTROOM_URL"], token=token) as client,
    ):
        app.state.clerk = Clerk(client, service)
        yield


app = FastAPI(lifespan=lifespan)
users: dict[str, str] = {}
"""Who is logged in, by cookie."""


class Login(BaseModel):
    """What the page sends. Put your own way to log in here; this one only sees that nobody has somebody else's name."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,19}$")]


def who(chat: Annotated[str, Cookie()] = "") -> str:
    """Return whose cookie this is."""
    if chat not in users:
        raise HTTPException(401, "log in first")
    return users[chat]


@app.post("/login")
async def log_in(login: Login, response: Response, chat: Annotated[str, Cookie()] = "") -> None:
    """Give a name to whoever asks first. Behind TLS the cookie needs `secure=True`, too.

    Each login is a user of its own: when Ada leaves and another Ada comes, the first one's token, which lives on for a
    while, opens nothing of the second one's.
    """
    if login.name in (user.partition(".")[0] for user in users.values()):
        raise HTTPException(409, f"{login.name} is taken")
    if len(users) >= MOST_USERS:
        raise HTTPException(503, "the chat is full")
    cookie = secrets.token_urlsafe(32)
    users[cookie] = f"{login.name}.{secrets.token_hex(4)}"
    response.set_cookie("chat", cookie, httponly=True, samesite="strict")
    await forget(chat)  # who changes the name lets go of the one before


@app.post("/logout")
async def log_out(response: Response, chat: Annotated[str, Cookie()] = "") -> None:
    """Let go of the name."""
    await forget(chat)
    response.delete_cookie("chat")


async def forget(cookie: str) -> None:
    """Forget who had this cookie, if anybody had."""
    user = users.pop(cookie, None)
    if user is not None:
        await app.state.clerk.leave(user)


@app.post("/token")
async def token(user: Annotated[str, Depends(who)]) -> dict[str, str]:
    """Give a token that may read the lobby, and publish to the user's own room and nowhere else."""
    await app.state.clerk.follow(user)
    rights = {"rooms": [LOBBY], "publish": [said_by(user)]}
    return {"user": user, "url": os.environ["POSTROOM_URL"], "token": sign(user, "user", **rights)}


serve_page(app, Path(__file__).parent / "page")
