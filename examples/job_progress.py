"""A service that reports a job: files in, the events of a session out.

Start a router, watch the session in another terminal, run the job in a third one:

    postroom serve --dev
    postroom listen session:42
    python examples/job_progress.py session:42

Where the router asks for tokens, set POSTROOM_TOKEN to one of role service.
"""

from __future__ import annotations

import argparse
import os
import time

from postroom_client import Alert, Progress, Service, Session

FILES = ("report.pdf", "photos.zip", "music.tar", "letters.txt", "film.mkv")


def run(service: Service, room: str, pause_s: float) -> None:
    """Do the job and say how far it is. `tell` never waits: a router that is away does not hold up the job."""
    service.tell(Session(room, "started"))
    try:
        for number, name in enumerate(FILES, start=1):
            time.sleep(pause_s)  # the work
            service.tell(Progress(room, current=number, total=len(FILES), unit="files", message=name))
            if name.endswith(".mkv"):
                service.tell(Alert(room, "medium", "A large file took long"))
    except BaseException as error:
        service.tell(Session(room, "failed", reason=repr(error)))
        raise
    # The end must not get lost: `ask_sync` returns when the router has committed it.
    receipt = service.ask_sync(Session(room, "completed", result={"files": len(FILES)}))
    print(f"done; the last event is {room} #{receipt.offset}")


def main() -> None:
    """Read the command line and run the job."""
    parser = argparse.ArgumentParser(description="Run a job that reports its progress.")
    parser.add_argument("room", nargs="?", default="session:42")
    parser.add_argument("--pause-s", type=float, default=1.0, help="seconds of work for each file")
    options = parser.parse_args()
    url = os.environ.get("POSTROOM_API_URL", "http://127.0.0.1:8001")
    with Service(url, token=os.environ.get("POSTROOM_TOKEN")) as service:
        run(service, options.room, options.pause_s)


if __name__ == "__main__":
    main()
