"""Runs the desk: a router, the back end with its page and its shop, and the monitor that watches the shop."""

from __future__ import annotations

import secrets
import sys

from examples.running import Processes, addresses, start_with_page

if __name__ == "__main__":
    where = addresses()
    password = secrets.token_urlsafe(9)
    with Processes() as processes:
        known = start_with_page(processes, where, "examples.alerts_desk.backend:app", DESK_PASSWORD=password)
        monitor = [sys.executable, "-m", "examples.alerts_desk.monitor", f"{where.page}/shop"]
        processes.start("monitor", monitor, known)
        print(f"Open {where.page}/ and log in with the password {password}. Ctrl-C stops it.", flush=True)
        processes.stay()
