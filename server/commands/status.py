"""`postroom status`: is the router up, and does it take clients?"""

from __future__ import annotations

from collections.abc import Mapping

import typer

from server.printable import printable

from .api import call_api
from .failure import CommandFailed
from .parameters import ApiUrl

__all__ = ["status"]


def status(url: ApiUrl = "http://127.0.0.1:8001") -> None:
    """Ask a router whether it is up and ready.

    Exit code 0: ready. 1: not ready (the reason is printed), or nobody answers. In a cluster one line for each router
    follows, as the one that is asked has last heard of it; they do not count for the exit code.

    \b
    Example:
      postroom status --url http://127.0.0.1:8001
    """
    try:
        alive, _ = call_api("GET", url, "healthz")
        _, answer = call_api("GET", url, "readyz")
    except TimeoutError:
        raise CommandFailed(f"the router at {url} does not answer: it hangs or is overloaded; see its logs") from None
    if alive != 200:
        raise CommandFailed(f"the router at {url} is not well (HTTP {alive} from /healthz); see its logs")
    if answer.get("ready") is not True:
        for line in _nodes(answer):
            typer.echo(printable(line))
        raise CommandFailed(f"not ready: {answer.get('reason') or 'no reason given'} ({url})")
    typer.echo(printable(f"ready: {_figures(answer)} ({url})"))
    for line in _nodes(answer):
        typer.echo(printable(line))


def _figures(answer: Mapping[str, object]) -> str:
    uptime_s = answer.get("uptime_s")
    parts = [
        f"{answer['connections']} connections" if "connections" in answer else "",
        f"{answer['rooms']} rooms" if "rooms" in answer else "",
        f"up {_duration(uptime_s)}" if isinstance(uptime_s, int | float) else "",
        f"version {answer['version']}" if "version" in answer else "",
        f"events in {answer['journal']}" if "journal" in answer else "",
    ]
    return ", ".join(part for part in parts if part)


def _nodes(answer: Mapping[str, object]) -> list[str]:
    """Return a line for each router of the cluster; nothing where there is none."""
    nodes = answer.get("nodes")
    lines = []
    for node in nodes if isinstance(nodes, list) else []:
        state = "ready" if node.get("ready") is True else f"not ready: {node.get('reason') or 'no reason given'}"
        lines.append(f"  {node.get('node')}  {state}, {_figures(node)}")
    return lines


def _duration(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole} s" if minutes else f"{whole} s"
