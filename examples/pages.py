"""What the back ends of the examples have in common: a page's files, the router's client, and a strict policy."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

SHARED = Path(__file__).parent


def serve_page(app: FastAPI, folder: Path) -> None:
    """Serve a folder's page; call it last, as the folder answers for whatever has no route.

    The page comes with the router's own client, so that it needs nothing from the router's API port, which is for
    services and stays inside. The policy lets it load from here and connect to here and to the router only: by http,
    too, as the client asks there why it was refused a WebSocket.
    """
    socket = os.environ["POSTROOM_URL"].removesuffix("/v1/ws")
    router = f"{socket} {socket.replace('ws', 'http', 1)}"
    policy = (
        f"default-src 'self'; connect-src 'self' {router}; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

    @app.middleware("http")
    async def with_policy(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        response.headers["Content-Security-Policy"] = policy
        response.headers["Cache-Control"] = "no-store"  # a page that you are about to change
        return response

    @app.get("/postroom.js")
    def client() -> Response:
        with urllib.request.urlopen(f"{os.environ['POSTROOM_API_URL']}/postroom.js", timeout=10.0) as module:
            return Response(module.read(), media_type="text/javascript")

    @app.get("/page.css")
    @app.get("/page.js")
    def shared(request: Request) -> FileResponse:
        return FileResponse(SHARED / request.url.path.removeprefix("/"))

    app.mount("/", StaticFiles(directory=folder, html=True))
