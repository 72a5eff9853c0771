"""A job as it might be anywhere in your code: files in, the events of a session out. It knows nothing of FastAPI."""

from __future__ import annotations

import time

from postroom_client import Progress, Service, Session

A_FILE_S = 0.25


def work(service: Service, room: str, files: int, one_is_broken: bool) -> None:
    """Do the job, in any thread. `tell` never waits: a router that is away does not hold it up.

    The router adds percent, rate and the time that is left to each progress, and remembers the last one for whoever
    comes later.
    """
    begun = time.monotonic()
    try:
        for number in range(1, files + 1):
            time.sleep(A_FILE_S)  # the work
            if one_is_broken and number > files // 2:
                raise ValueError(f"photo-{number}.jpg is no picture")
            service.tell(Progress(room, number, files, unit="files", message=f"photo-{number}.jpg"))
    except ValueError as error:
        service.tell(Session(room, "failed", reason=str(error)))
        return
    took_s = round(time.monotonic() - begun, 1)
    # The end must not get lost: this waits until the router has committed it.
    service.ask_sync(Session(room, "completed", result={"files": files, "took_s": took_s}))
