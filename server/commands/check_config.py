"""`postroom check-config`: what `serve` would run with, and where each setting comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import typer

from .serve import ApiPort, Cluster, Config, Dev, Host, Journal, Plugins, Port, Workers, warn_unknown

__all__ = ["check_config"]


def check_config(
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
    """Check the settings and print them.

    Takes the options of `postroom serve`. Each setting is shown with where it comes from; secrets and passwords
    are not. The output can be used as a settings file.

    \b
    Examples:
      postroom check-config --config postroom.toml
      postroom check-config --dev > postroom.toml
    """
    from server.settings import load, resolve

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
    warn_unknown()
    _, sources = resolve(flags, os.environ, config)
    for name, value in settings.__rich_repr__():
        typer.echo(f"{_toml(name, value):<40} # {sources[name]}")


def _toml(name: str, value: object) -> str:
    from server.setting_values import HIDDEN

    if value is None:
        return f"# {name} is not set"
    if name in HIDDEN:
        return f"# {name} = {value}"
    shown = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
    line = f"{name} = {json.dumps(shown)}"
    return f"# {line}" if name == "cluster" and "***" in line else line
