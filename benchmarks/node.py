"""Node, where the machine has it: checks for it and installs what its relays need on first use.

In: nothing but the machine. Out: why a Node peer cannot run, or `None`; and the versions of what would run.
"""

import functools
import json
import shutil
import subprocess
from pathlib import Path

__all__ = ["PEERS", "unavailable", "versions"]

PEERS = Path(__file__).parent / "peers"
"""Where the relays and their `package.json` are."""

_MODULES = PEERS / "node_modules"
_INSTALL_TIMEOUT_S = 180


@functools.cache
def unavailable(package: str) -> str | None:
    """Return why a relay on `package` cannot run, or `None` if it can; installs what is not there."""
    if shutil.which("node") is None:
        return "`node` is not on the PATH: install Node 20 or newer to compare with it"
    if _manifest(package).exists():
        return None
    return _install() or (None if _manifest(package).exists() else f"npm did not install {package}")


def versions(package: str) -> dict[str, str]:
    """Return the versions of Node and one package, by name."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=10)
    installed = json.loads(_manifest(package).read_text())["version"]
    return {"node": node.stdout.strip().removeprefix("v"), package: installed}


@functools.cache
def _install() -> str | None:
    if (npm := shutil.which("npm")) is None:
        return "`npm` is not on the PATH, and the packages of the Node relays are not installed"
    print("installing the packages of the Node relays ..", flush=True)
    try:
        # Without a lock file: it would name the registry this machine happens to use.
        done = subprocess.run(
            [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=PEERS,
            capture_output=True,
            text=True,
            timeout=_INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"`npm install` took longer than {_INSTALL_TIMEOUT_S} s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return f"`npm install` failed: {lines[0]}"
    return None


def _manifest(package: str) -> Path:
    return _MODULES / package / "package.json"
