"""A client that follows a session until it ends, through every break; events in, lines of text out.

Start a router, then this, then the job in a third terminal:

    postroom serve --dev
    python examples/watch_session.py session:42 --keep position.json
    python examples/job_progress.py session:42

Stop it with Ctrl-C and start it again: with `--keep` it goes on after the last event that it printed. Where the router
asks for tokens, set POSTROOM_TOKEN to one that may read the session.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
from pathlib import Path

import postroom_client
from postroom_client import Event, Gap, Position

ENDED = ("completed", "failed", "cancelled")


async def watch(url: str, room: str, keep: Path | None, token: str | None) -> None:
    """Print the session's state and then its events. The client comes back by itself when the connection breaks."""
    async with postroom_client.connect(url, token=token) as client:
        session = await client.subscribe(room, after=load(keep), on_gap=tell_gap)
        print(f"{room} is {(session.state or {}).get('status') or 'not started'}", flush=True)
        async for event in session:
            print(describe(event), flush=True)
            save(keep, session.position)
            if event.kind == "session" and event.data["status"] in ENDED:
                return


def describe(event: Event) -> str:
    """Say in a line what happened."""
    data = event.data
    if event.kind == "progress":
        left = f", {data['eta_s']} s left" if "eta_s" in data else ""
        return f"#{event.offset} {data.get('percent')} %{left}  {data.get('message', '')}".rstrip()
    return f"#{event.offset} {event.kind} {data.get('status') or data.get('title') or data.get('message') or ''}"


def tell_gap(gap: Gap) -> None:
    """Say which events are gone; without `on_gap` the iterator raises `GapError` here."""
    print(f"missed: {gap}", flush=True)


def load(keep: Path | None) -> Position | None:
    """Read the position that an earlier run kept; None: begin with what comes from now on."""
    if keep is None or not keep.exists():
        return None
    return Position(**json.loads(keep.read_text()))


def save(keep: Path | None, position: Position) -> None:
    """Keep the position, after the event was dealt with: at worst the last event comes twice, never not at all."""
    if keep is not None:
        keep.write_text(json.dumps({"epoch": position.epoch, "offset": position.offset}))


def main() -> None:
    """Read the command line and watch."""
    parser = argparse.ArgumentParser(description="Follow a session until it ends.")
    parser.add_argument("room", nargs="?", default="session:42")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where to keep the position between runs")
    options = parser.parse_args()
    url = os.environ.get("POSTROOM_URL", "ws://127.0.0.1:8000/v1/ws")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(watch(url, options.room, options.keep, os.environ.get("POSTROOM_TOKEN")))


if __name__ == "__main__":
    main()
