"""examples/moving, before and after: real servers of python-socketio and Channels, and a real router in their place.

Their guides, docs/how-to/move-from-python-socketio.md and docs/how-to/move-from-django-channels.md, show parts of them.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from postroom_client.testing import Postroom

from ..docs.pages import REPOSITORY, steps
from .guides import WAIT_S, program

MOVING = REPOSITORY / "examples" / "moving"
GUIDES = {"socketio": "move-from-python-socketio.md", "channels": "move-from-django-channels.md"}
SERVERS = {
    "socketio/before_server.py": ("uvicorn before_server:app --port 0", r"running on (http://[\d.:]+)"),
    "socketio/after_server.py": ("uvicorn after_server:app --port 0", r"running on (http://[\d.:]+)"),
    "channels/before_server.py": ("uvicorn before_server:application --port 0", r"running on (http://[\d.:]+)"),
    "channels/after_server.py": ("gunicorn -b 127.0.0.1:0 after_server", r"Listening at: (http://[\d.:]+)"),
}
PRINTED = "watching job 42\nstep 1 of 3\nstep 2 of 3\nstep 3 of 3\ndone: report.pdf\n"


async def seen(server: str, folder: Path, **environment: str) -> str:
    """Run a server and its client, have it do a job, and return what the client printed."""
    command, address = SERVERS[server]
    client = MOVING / server.replace("_server", "_client")
    python = {"PYTHONPATH": str((MOVING / server).parent), **environment}
    async with program(command, folder, **python) as serving:
        app = (await serving.says(address))[1]
        async with program(f"python {client}", folder, APP_URL=app, **python) as watching:
            await watching.says("watching job 42")
            async with httpx.AsyncClient(timeout=WAIT_S) as http:
                (await http.post(f"{app}/jobs/42")).raise_for_status()
            await watching.says("done")
            assert await watching.ends() == 0, watching.printed
            return watching.printed


@pytest.mark.parametrize("framework", GUIDES)
async def test_clients_see_the_same_before_and_after(framework: str, postroom: Postroom, tmp_path: Path) -> None:
    """With the framework's own server, and with a router that asks for tokens in its place."""
    assert await seen(f"{framework}/before_server.py", tmp_path) == PRINTED
    environment = {
        "POSTROOM_SECRET": str(postroom.process.settings["secret"]),
        "POSTROOM_API_URL": postroom.api_url,
        "POSTROOM_TOKEN": postroom.token("app", "service"),
        "POSTROOM_URL": postroom.url,
        "ROUTER_URL": postroom.url.replace("ws://", "http://").removesuffix("/v1/ws"),
    }
    assert await seen(f"{framework}/after_server.py", tmp_path, **environment) == PRINTED


@pytest.mark.parametrize("framework", GUIDES)
def test_guides_show_what_the_examples_run(framework: str) -> None:
    """Each block is a piece of a file; commands stand in the first lines of one."""
    programs = [path.read_text() for path in sorted((MOVING / framework).glob("*.py"))]
    shown = [block for block in steps(REPOSITORY / "docs" / "how-to" / GUIDES[framework]) if block.tested_by]
    assert shown
    for block in shown:
        pieces = [block.text] if block.language == "python" else block.text.splitlines()
        for piece in pieces:
            assert any(piece in text for text in programs), piece
