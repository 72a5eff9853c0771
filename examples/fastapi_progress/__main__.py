"""Runs a router, and the back end with its page."""

from __future__ import annotations

from examples.running import Processes, addresses, start_with_page

if __name__ == "__main__":
    where = addresses()
    with Processes() as processes:
        start_with_page(processes, where, "examples.fastapi_progress.backend:app")
        print(f"Open {where.page}/ and start a job. Ctrl-C stops it.", flush=True)
        processes.stay()
