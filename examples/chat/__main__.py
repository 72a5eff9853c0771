"""Runs the chat: a router, and the back end with its page."""

from __future__ import annotations

from examples.running import Processes, addresses, start_with_page

if __name__ == "__main__":
    where = addresses()
    with Processes() as processes:
        start_with_page(processes, where, "examples.chat.backend:app")
        print(f"Open {where.page}/ in two windows, one of them private. Ctrl-C stops it.", flush=True)
        processes.stay()
