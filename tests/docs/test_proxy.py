"""docs/how-to/proxy.md: its two configurations run as they stand before a real router, and clients come through TLS."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

import postroom_client

from ..certificates import make_certificate
from ..conftest import SECRET, RouterProcess
from ..native_client import WAIT_S, NativeClient
from ..nginx import serving, wait_until_it_listens
from ..ports import free_port
from .taken import taken

PAGE = "how-to/proxy.md"
HOST = "events.example.com"
Token = Callable[..., str]


class Site(NamedTuple):
    """A router behind a proxy."""

    address: str
    """Host and port of the proxy."""
    authority: Path
    """Whom to believe."""
    router: RouterProcess

    @property
    def tls(self) -> ssl.SSLContext:
        """What a client needs that has not been told of the authority."""
        return ssl.create_default_context(cafile=str(self.authority))


def adapted(text: str, changes: dict[str, str]) -> str:
    """Return a configuration of the page with addresses and files of this machine."""
    for shown, real in changes.items():
        assert shown in text, shown
        text = text.replace(shown, real)
    return text


@contextlib.contextmanager
def nginx(folder: Path, ports: dict[str, str], port: int, certificate: Path) -> Iterator[None]:
    """Run nginx with the page's configuration, where its package includes such a file."""
    (text,) = taken(PAGE, "test_clients_come_through_nginx_and_tls")[:1]
    files = {f"/etc/ssl/{HOST}.{end}": str(certificate) for end in ("pem", "key")}
    text = adapted(text, {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl", **files, **ports})
    with serving(folder, f"events {{}}\nhttp {{\naccess_log off;\n{text}}}\n", port):
        yield


@contextlib.contextmanager
def caddy(folder: Path, ports: dict[str, str], port: int, certificate: Path) -> Iterator[None]:
    """Run Caddy with the page's configuration; nobody gives out a certificate for loopback, so it is told of one."""
    (text,) = taken(PAGE, "test_clients_come_through_caddy_and_tls")
    here = f"https://127.0.0.1:{port} {{\n    tls {certificate} {certificate}"
    text = adapted(text, {f"{HOST} {{": here, **ports})
    file = folder / "Caddyfile"
    file.write_text(f"{{\n    admin off\n    auto_https off\n}}\n{text}")
    program = Path(sys.executable).parent / "caddy"
    own = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen([program, "run", "--config", file], env=own, stdout=log, stderr=log)
    try:
        wait_until_it_listens(process, port)
        yield
    finally:
        process.terminate()
        process.wait(WAIT_S)


@contextlib.contextmanager
def site(folder: Path, proxy: Callable[..., contextlib.AbstractContextManager[None]]) -> Iterator[Site]:
    """Run a router that asks for tokens, and this proxy before it."""
    router = RouterProcess(["--journal", "memory"], folder / "router.log", {"POSTROOM_SECRET": SECRET}, folder)
    try:
        authority, certificate = make_certificate(folder, "proxy")
        ports = {
            "127.0.0.1:8000": str(urlsplit(router.ws_url).netloc),
            "127.0.0.1:8001": str(urlsplit(router.api_url).netloc),
        }
        port = free_port()
        with proxy(folder, ports, port, certificate):
            yield Site(f"127.0.0.1:{port}", authority, router)
    finally:
        router.stop()


async def come_through(site: Site, token: Token) -> None:
    """Be a client, a page of the same host, a stream, and somebody who wants more than these may."""
    url = f"wss://{site.address}/v1/ws"
    ann = token("ann", rooms=("session:*",))
    async with NativeClient(url, ann, ssl=site.tls, origin=f"https://{site.address}") as client:
        assert (await client.ask("subscribe", room="session:1"))["type"] == "subscribed"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=site.tls)) as session:
            header = {"Authorization": f"Bearer {token('ci', 'service')}"}
            event = {"room": "session:1", "kind": "build.finished", "data": {}}
            async with session.post(f"{site.router.api_url}/v1/publish", json=event, headers=header) as answer:
                assert answer.status == 200
            assert (await client.next("event"))["kind"] == "build.finished"
            stream = f"https://{site.address}/v1/rooms/session:1/stream?history=1"
            async with session.get(stream, headers={"Authorization": f"Bearer {ann}"}) as answer:
                assert answer.status == 200
                while b"build.finished" not in await answer.content.readline():
                    pass
            for path in (
                "/v1/publish",
                "/v1/rooms",
                "/v1/rooms/session:1/state",
                "/metrics",
                "/readyz",
                "/",
                "/v1/ws/x",
            ):
                async with session.get(f"https://{site.address}{path}", headers=header) as answer:
                    assert answer.status == 404, path
            for path in ("/socket.io/?EIO=4&transport=websocket", "/connection/websocket"):
                async with session.ws_connect(f"https://{site.address}{path}") as socket:
                    assert not socket.closed
    async with postroom_client.connect(url, token=ann, ssl=site.tls) as client:
        assert (await client.subscribe("session:1")).position.offset == 1
    with pytest.raises(InvalidStatus) as refused:
        await NativeClient(url, ann, ssl=site.tls, origin="https://elsewhere.example").__aenter__()
    assert refused.value.response.status_code == 403


def listen(site: Site, token: str, command: str, expected: str, *, trusted: bool = True) -> None:
    """Run the page's command until it has said this."""
    shown = shlex.split(adapted(command, {HOST: site.address}))
    environment = {"POSTROOM_TOKEN": token} | ({"SSL_CERT_FILE": str(site.authority)} if trusted else {})
    program = Path(sys.executable).parent / shown[0]
    said = site.authority.with_name("said")
    with said.open("wb") as out:
        process = subprocess.Popen([program, *shown[1:]], env=os.environ | environment, stderr=out)
    deadline = time.monotonic() + WAIT_S
    try:
        while expected not in said.read_text():
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_S)


async def test_clients_come_through_nginx_and_tls(tmp_path: Path, token: Token) -> None:
    """And `postroom listen` says what the page says of it."""
    _, command = taken(PAGE, "test_clients_come_through_nginx_and_tls")
    with site(tmp_path, nginx) as running:
        await come_through(running, token)
        ann = token("ann")
        listen(running, ann, command, f"connected to wss://{running.address}/v1/ws")
        listen(running, ann, command, "certificate verify failed", trusted=False)
        for path, status in (("/v1/elsewhere", 404), ("/v1/ws", 502)):
            if status == 502:
                running.router.stop()
            with pytest.raises(InvalidStatus) as refused:
                await NativeClient(f"wss://{running.address}{path}", ssl=running.tls).__aenter__()
            assert refused.value.response.status_code == status


async def test_clients_come_through_caddy_and_tls(tmp_path: Path, token: Token) -> None:
    """It does what nginx does."""
    with site(tmp_path, caddy) as running:
        await come_through(running, token)
