"""What how-to/tokens.md leaves to a test: a back end in Node, and clients whose tokens end while they are connected."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from server.auth import issue_token

from ..conftest import SECRET, running_router
from ..integration.services import wait_until
from ..native_client import NativeClient
from .commands import Commands, adapted
from .pages import REPOSITORY
from .taken import taken

PAGE = "how-to/tokens.md"
TTL_S = 60


async def test_a_router_takes_the_token_that_node_signs(tmp_path: Path, node_modules: Path) -> None:
    """It is of the user, and opens the rooms of the team and no others."""
    (script,) = taken(PAGE, "test_a_router_takes_the_token_that_node_signs")
    (tmp_path / "tokens.mjs").write_text(script)
    (tmp_path / "node_modules").symlink_to(node_modules)
    call = 'import { tokenFor } from "./tokens.mjs"; console.log(await tokenFor("ada", "blue"))'
    with Commands(tmp_path, {"POSTROOM_SECRET": SECRET}) as terminal:
        token = await asyncio.to_thread(terminal.run, f"node --input-type=module --eval '{call}'")
    async with running_router() as router, NativeClient(router.addresses.ws_url, token.strip()) as client:
        assert (client.welcome["user"], client.welcome["role"]) == ("ada", "user")
        assert (await client.ask("subscribe", room="session:blue-1"))["type"] == "subscribed"
        assert (await client.ask("subscribe", room="team:red"))["code"] == "forbidden"


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    """Run a back end on loopback; its URL."""
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_clients_keep_their_tokens_fresh(
    tmp_path: Path, node_modules: Path, logged: list[dict[str, Any]]
) -> None:
    """With another token both are still on the connections that they began with."""
    page, program = taken(PAGE, "test_clients_keep_their_tokens_fresh")
    (tmp_path / "node_modules").symlink_to(node_modules)
    shutil.copy(REPOSITORY / "clients" / "javascript" / "postroom.js", tmp_path)
    fetched = 0

    async def token(_request: web.Request) -> web.Response:
        nonlocal fetched
        fetched += 1
        return web.Response(text=issue_token(SECRET, "ada", "user", [], [], TTL_S))

    back_end = web.Application()
    back_end.router.add_post("/token", token)
    async with serving(back_end) as here, running_router(token_warning_s=TTL_S - 1, token_grace_s=0) as router:
        url = router.addresses.ws_url
        socket = 'import { WebSocket } from "ws";\nglobalThis.WebSocket ??= WebSocket;\n'
        (tmp_path / "page.mjs").write_text(
            socket + adapted(page, {"wss://events.example.com/v1/ws": url, '"/token"': f'"{here}/token"'})
        )
        (tmp_path / "follow.py").write_text(program)
        (tmp_path / "tokens.py").write_text(
            "from server.auth import issue_token\n\n"
            f"def token_for(user, team):\n    print('a token', flush=True)\n"
            f"    return issue_token({SECRET!r}, user, 'user', ['team:' + team], [], {TTL_S})\n"
        )
        with Commands(tmp_path) as terminals:
            await asyncio.to_thread(terminals.start, "node page.mjs", "")
            call = f"import asyncio, follow; asyncio.run(follow.follow({url!r}))"
            printed = await asyncio.to_thread(terminals.start, f'python -c "{call}"', "a token")
            await wait_until(lambda: fetched >= 2 and printed.read_text().count("a token") >= 2, "fresh tokens")
            events = [line["event"] for line in logged]
            assert events.count("connection_opened") == 2
            assert "connection_closed" not in events
