"""Runs a router with the plug-in in it, and prints what it says."""

from __future__ import annotations

from examples.running import POSTROOM, Processes, addresses, router_ports

if __name__ == "__main__":
    where = addresses()
    with Processes() as processes:
        serve = [*POSTROOM, "serve", "--dev", "--journal", "memory", *router_ports(where)]
        settings = {"POSTROOM_LOG_LEVEL": "error", "POSTROOM_DRAIN_S": "1"}
        processes.start("router", [*serve, "--plugin", "examples.plugin:start"], settings)
        processes.until_ready("router", f"{where.api}/readyz")
        print(f"The actors are in the console, under Supervision: {where.api}/  Ctrl-C stops it.", flush=True)
        listen = [*POSTROOM, "listen", "system", "machine:disk", "machine:alerts", "--url", where.router]
        processes.start("listener", listen, {}, shown=True)
        processes.stay()
