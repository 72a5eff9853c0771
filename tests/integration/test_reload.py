"""SIGHUP: secrets and keys are read again, or everything stays as it was; and a terminal that goes takes its router."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.auth import issue_token

from ..conftest import SECRET, RouterProcess
from ..native_client import NativeClient
from .at_size import log_of
from .services import wait_until

OTHER = "another-secret-of-more-than-32-characters"


def token(secret: str, user: str = "ann", **more: Any) -> str:
    return issue_token(secret, user, "admin", ["*"], ["*"], 3600, **more)


async def let_in(process: RouterProcess, offered: str) -> bool:
    async with NativeClient(process.ws_url, hello=False) as client:
        answer = await client.ask("hello", token=offered)
        return bool(answer["type"] == "welcome")


class Configured:
    """A router with a settings file and a secret in a file of its own."""

    def __init__(self, start_router: Callable[..., RouterProcess], folder: Path) -> None:
        self._secret = folder / "secret"
        self._config = folder / "postroom.toml"
        self.write()
        self.process = start_router("--config", str(self._config))

    def write(self, secret: str = SECRET, *more: str) -> None:
        """Change the files, the secret as Kubernetes does: another file takes its place."""
        fresh = self._secret.with_suffix(".new")
        fresh.write_text(f"{secret}\n")
        fresh.replace(self._secret)
        self._config.write_text("\n".join(['secret_file = "secret"', *more]) + "\n")

    async def hang_up(self) -> dict[str, Any]:
        """Send SIGHUP; return the line about it."""
        before = len(self._lines())
        self.process.signal(signal.SIGHUP)
        await wait_until(lambda: len(self._lines()) > before, "the line about it")
        return self._lines()[-1]

    def _lines(self) -> list[dict[str, Any]]:
        return [line for line in log_of(self.process) if line["event"] in ("reloaded", "reload_failed")]


@pytest.fixture
def configured(start_router: Callable[..., RouterProcess], tmp_path: Path) -> Configured:
    return Configured(start_router, tmp_path)


async def test_another_secret_counts_after_sighup_and_who_is_connected_stays(configured: Configured) -> None:
    """Tokens of the old one are refused from then on; the line names what changed, and no value."""
    process = configured.process
    async with NativeClient(process.ws_url, token(SECRET)) as client:
        await client.subscribe("system:supervisor")
        configured.write(OTHER)
        assert not await let_in(process, token(OTHER))
        line = await configured.hang_up()
        assert (line["event"], line["changed"], line["needs_restart"]) == ("reloaded", ["secret"], [])
        assert await let_in(process, token(OTHER))
        assert not await let_in(process, token(SECRET))
        assert (await client.ask("ping"))["type"] == "pong"
        (entry,) = await client.events(1)
        assert (entry["kind"], entry["data"]["ok"], entry["data"]["changed"]) == (
            "supervisor.reloaded",
            True,
            ["secret"],
        )
    assert OTHER not in process.log


async def test_audience_and_issuer_count_too_and_what_needs_a_restart_is_named(configured: Configured) -> None:
    """A changed port is not taken, and said so until it is as at the start again."""
    process = configured.process
    configured.write(SECRET, 'audience = "postroom"', 'issuer = "us"', "history_events = 7")
    line = await configured.hang_up()
    assert (line["changed"], line["needs_restart"]) == (["audience", "issuer"], ["history_events"])
    assert not await let_in(process, token(SECRET))
    assert await let_in(process, token(SECRET, audience="postroom", issuer="us"))
    line = await configured.hang_up()
    assert (line["changed"], line["needs_restart"]) == ([], ["history_events"])
    configured.write()
    line = await configured.hang_up()
    assert (line["changed"], line["needs_restart"]) == (["audience", "issuer"], [])
    assert await let_in(process, token(SECRET))


@pytest.mark.parametrize(
    ("secret", "more", "said"),
    [
        ("too-short", (), "needs 32"),
        (OTHER, ("port = 'x'",), "whole number"),
        (OTHER, ("nonsense",), "TOML"),
        (OTHER, ('key_file = "none.pem"',), "none.pem"),
    ],
    ids=["secret", "value", "file", "key"],
)
async def test_settings_that_cannot_be_used_change_nothing(
    configured: Configured, secret: str, more: tuple[str, ...], said: str
) -> None:
    """Not even those of them that could be; the line says what is wrong, and the next try may succeed."""
    process = configured.process
    configured.write(secret, *more)
    line = await configured.hang_up()
    assert (line["event"], line["level"], line["error"]) == ("reload_failed", "error", "SettingsError")
    assert said in line["reason"]
    assert await let_in(process, token(SECRET))
    assert not await let_in(process, token(OTHER))
    configured.write(OTHER)
    assert (await configured.hang_up())["event"] == "reloaded"
    assert await let_in(process, token(OTHER))
    assert "too-short" not in process.log
    assert OTHER not in process.log


def start_in_terminal(terminal: int, log: Path) -> subprocess.Popen[bytes]:
    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    with log.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "server.cli", "demo", "--port", "0", "--api-port", "0"],
            stdin=terminal,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=log.parent,
            env={**os.environ, "POSTROOM_LOG_FORMAT": "json", "POSTROOM_JOURNAL": "memory"},
            preexec_fn=take_terminal,
        )


async def test_a_router_ends_with_the_terminal_that_it_was_started_in(tmp_path: Path) -> None:
    """It drains; otherwise it would go on where nobody sees it. A SIGHUP while the terminal is there reloads."""
    inside, outside = pty.openpty()
    log = tmp_path / "log"
    process = start_in_terminal(outside, log)
    os.close(outside)

    def events() -> list[str]:
        return [json.loads(line)["event"] for line in log.read_text().splitlines() if line.startswith("{")]

    try:
        await wait_until(lambda: "router_started" in events(), "it is up")
        process.send_signal(signal.SIGHUP)
        await wait_until(lambda: "reloaded" in events(), "it has read its settings again")
        os.close(inside)
        assert await asyncio.to_thread(process.wait, 10) == 0
        assert events()[-1] == "router_stopped"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
