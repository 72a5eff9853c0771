"""The desk's back end: names and a password in, tokens of role `admin` out; and a shop that can be broken."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from pathlib import Path
from typing import Annotated

from fastapi import Cookie, Depends, FastAPI, HTTPException, Response
from pydantic import BaseModel, StringConstraints

from examples.pages import serve_page

from .tokens import sign

app = FastAPI()
admins: dict[str, str] = {}
"""Who is logged in, by cookie."""
broken_since: list[int] = []
"""When the shop broke, in milliseconds since 1970; empty: it is whole."""


class Login(BaseModel):
    """What the page sends. Put your own way to log in here: a token of role `admin` opens every room."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
    password: str


def who(desk: Annotated[str, Cookie()] = "") -> str:
    """Return whose cookie this is."""
    if desk not in admins:
        raise HTTPException(401, "log in first")
    return admins[desk]


Admin = Annotated[str, Depends(who)]


@app.post("/login")
async def log_in(login: Login, response: Response) -> None:
    """Let in who knows the password. Behind TLS the cookie needs `secure=True`, too."""
    if not hmac.compare_digest(login.password.encode(), os.environ["DESK_PASSWORD"].encode()):
        raise HTTPException(403, "that is not the password")
    cookie = secrets.token_urlsafe(32)
    admins[cookie] = login.name
    response.set_cookie("desk", cookie, httponly=True, samesite="strict")


@app.post("/token")
async def token(admin: Admin) -> dict[str, str]:
    """Give a token for the router."""
    return {"user": admin, "url": os.environ["POSTROOM_URL"], "token": sign(admin, "admin")}


@app.get("/shop")
async def shop(response: Response) -> dict[str, int | None]:
    """Say how the shop is: what the monitor asks."""
    response.status_code = 503 if broken_since else 200
    return {"broken_since": broken_since[0] if broken_since else None}


@app.post("/shop/break")
async def break_shop(_admin: Admin) -> None:
    """Break the shop, to see what happens."""
    if not broken_since:
        broken_since.append(time.time_ns() // 1_000_000)


@app.post("/shop/mend")
async def mend_shop(_admin: Admin) -> None:
    """Mend it."""
    broken_since.clear()


serve_page(app, Path(__file__).parent / "page")
