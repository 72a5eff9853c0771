"""`postroom serve` and `postroom demo`: settings in, a running router until somebody stops it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server import __version__
from server.printable import printable

from .output import drop_output, tell

if TYPE_CHECKING:
    from server.addresses import Addresses
    from server.app import Plugin
    from server.settings import Settings

__all__ = [
    "ApiPort",
    "Cluster",
    "Config",
    "Dev",
    "Host",
    "Journal",
    "Plugins",
    "Port",
    "Workers",
    "demo",
    "serve",
    "warn_unknown",
]

Host = Annotated[
    str | None, typer.Option(help="Address that clients connect to; 0.0.0.0 is every interface. [127.0.0.1]")
]
Port = Annotated[int | None, typer.Option(help="Port that clients connect to; 0 is any free port. [8000]")]
ApiPort = Annotated[int | None, typer.Option(help="Port of the HTTP API; 0 is any free port. [8001]")]
Journal = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|memory",
        help="File that events are kept in; memory: gone when the router stops. [postroom-data/journal.db]",
    ),
]
Cluster = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="NATS server of the cluster that keeps the events; repeatable."),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Router processes on the same ports. [1]"),
]
Dev = Annotated[bool | None, typer.Option("--dev", help="For trying out: no tokens needed; this machine only.")]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file of settings. [POSTROOM_CONFIG]")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="MODULE:FUNCTION", help="Call a function of yours with the router."),
]


def serve(
    host: Host = None,
    port: Port = None,
    api_port: ApiPort = None,
    journal: Journal = None,
    cluster: Cluster = None,
    workers: Workers = None,
    dev: Dev = None,
    config: Config = None,
    plugin: Plugins = None,
) -> None:
    """Run the router until Ctrl-C or SIGTERM.

    Settings come from these options, then from POSTROOM_... variables, then from the file; `postroom
    check-config` shows all of them.

    \b
    Examples:
      postroom serve --dev
      POSTROOM_SECRET=... postroom serve --host 0.0.0.0
      postroom serve --config postroom.toml --plugin my_events:start
      postroom serve --workers 4
    """
    from server.node import named
    from server.settings import load

    flags = {
        "host": host,
        "port": port,
        "api_port": api_port,
        "journal": journal,
        "cluster": cluster,
        "workers": workers,
        "dev": dev,
        "plugins": plugin,
    }
    settings = load(flags, os.environ, config)

    def greet(addresses: Addresses) -> None:
        _greet(addresses, settings)

    if settings.workers > 1:
        from server.workers.parent import Parent

        warn_unknown()
        raise typer.Exit(Parent(settings, flags, config, greet).run())
    _run(named(settings), greet, [], lambda: named(load(flags, os.environ, config)))


def demo(port: Port = None, api_port: ApiPort = None) -> None:
    """Run a router for trying out, with busy sessions.

    It is `postroom serve --dev` with three sessions, session:demo-1 to session:demo-3, that start, make progress,
    alert and end, a changing system status, and two clients of its own: one reads slowly, one fails now and then.

    \b
    Example:
      postroom demo
      postroom listen session:demo-1        in another terminal
    """
    from server import demo as demonstration
    from server import demo_clients
    from server.node import named
    from server.settings import load

    def load_again() -> Settings:
        return named(load({"dev": True, "port": port, "api_port": api_port}, os.environ))

    settings = load_again()
    plugins = [demonstration.plugin, demo_clients.plugin]
    _run(settings, lambda addresses: _greet_demo(addresses, settings), plugins, load_again)


def warn_unknown() -> None:
    """Say on stderr which POSTROOM_... variables mean nothing."""
    from server.settings import unknown_variables

    for variable, hint in unknown_variables(os.environ).items():
        tell(printable(f"{variable} is not a setting and was ignored; {hint}".rstrip("; ")))


def _run(
    settings: Settings,
    greet: Callable[[Addresses], None],
    more_plugins: Sequence[Plugin],
    load: Callable[[], Settings],
) -> None:
    from server import logs, process
    from server.plugins import load_plugin

    warn_unknown()
    logs.configure(settings.log_level, settings.log_format, node=settings.node)
    plugins = [*(load_plugin(spec) for spec in settings.plugins), *more_plugins]
    raise typer.Exit(process.run(settings, on_ready=greet, plugins=plugins, load=load))


def _greet(addresses: Addresses, settings: Settings) -> None:
    lines = [*_where(addresses, settings), "", "Try, in another terminal:"]
    if not settings.dev and settings.secret is not None:
        secret = "POSTROOM_SECRET" if settings.secret_file is None else "POSTROOM_SECRET_FILE"
        lines[-1] = f"Try, in another terminal, with the same {secret}:"
        lines.append("  export POSTROOM_TOKEN=$(postroom token --user me --role admin --publish '*')")
    lines.append(f"  postroom listen session:1{_option(addresses.ws_url, 'ws://127.0.0.1:8000/v1/ws')}")
    hello = """'{"level": "info", "message": "hello"}'"""
    url = _option(addresses.api_url, "http://127.0.0.1:8001")
    lines.append(f"  postroom publish session:1 notification {hello}{url}")
    _say(lines)


def _greet_demo(addresses: Addresses, settings: Settings) -> None:
    listen = f"postroom listen session:demo-1{_option(addresses.ws_url, 'ws://127.0.0.1:8000/v1/ws')}"
    more = (
        "  Sessions            session:demo-1, session:demo-2, session:demo-3, over and over",
        "  Failures            that it logs are made on purpose: one client fails, one reads slowly",
    )
    _say([*_where(addresses, settings), *more, "", f"Try, in another terminal: {listen}"])


def _where(addresses: Addresses, settings: Settings) -> list[str]:
    lines = [
        f"Postroom {__version__} is ready. Ctrl-C stops it.",
        f"  Clients connect to  {addresses.ws_url}",
        f"  HTTP API            {addresses.api_url}",
        f"  Console             {addresses.api_url}/  (open it in a browser)",
    ]
    if "centrifuge" in settings.doors:
        lines.append(f"  Centrifuge clients  {addresses.ws_url.removesuffix('/v1/ws')}/connection/websocket")
    if "socketio" in settings.doors:
        http_url = addresses.ws_url.removesuffix("/v1/ws").replace("ws", "http", 1)
        lines.append(f'  Socket.IO clients   {http_url}  (transports: ["websocket"])')
    lines.append(f"  Event streams       {addresses.api_url}/v1/rooms/ROOM/stream  (curl -N, EventSource)")
    if settings.workers > 1:
        lines.append(f"  Router processes    {settings.workers}, on the same ports")
    lines.append(f"  Events are kept     {_place(settings)}")
    if settings.dev:
        lines.append("  Open (--dev)        to everyone on this machine: no token is asked for")
    else:
        lines.append("  Closed              to everyone without a token")
    return lines


def _place(settings: Settings) -> str:
    """Say where the events are kept."""
    from server.setting_values import without_password
    from server.settings import MEMORY

    if settings.cluster:
        servers = ", ".join(map(without_password, settings.cluster))
        return f"by NATS at {printable(servers)}"
    if settings.workers > 1 and settings.journal == MEMORY:
        return "by a NATS server: gone when it stops"
    if settings.journal == MEMORY:
        return "in memory: gone when the router stops"
    path, by = Path(settings.journal), ""
    if settings.workers > 1:
        from server.workers.own_nats import folder_beside

        path, by = folder_beside(path), ", by a NATS server"
    under = ""
    with contextlib.suppress(OSError):  # somebody deleted the working directory
        under = "" if path.is_absolute() else f" under {Path.cwd()}"
    return printable(f"in {path}{under}{by}")


def _option(url: str, default: str) -> str:
    return "" if url == default else f" --url {url}"


def _say(lines: Sequence[str]) -> None:
    """Print the greeting; a router goes on without one."""
    try:
        typer.echo("\n".join(lines))
    except OSError as error:
        drop_output()
        tell(f"cannot write the output: {error.strerror}; the router runs")
