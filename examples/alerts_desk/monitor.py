"""The monitor: how the shop is in, alerts and notifications out. A service of its own, as yours would be.

python -m examples.alerts_desk.monitor http://127.0.0.1:8080/shop
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request

from postroom_client import Alert, Notification, Service

from .tokens import sign

DESK = "desk:shop"
EVERY_S = 0.5
PATIENCE_S = float(os.environ.get("DESK_PATIENCE_S", "15"))
"""How long an alert may wait for somebody to acknowledge it, before all admins are told."""


def broken_since(url: str, known: int | None) -> int | None:
    """Ask the shop since when it has been broken, in milliseconds since 1970; None: it is not."""
    try:
        with urllib.request.urlopen(url, timeout=5.0):
            return None
    except urllib.error.HTTPError as refusal:
        since: int = json.loads(refusal.read())["broken_since"]
        return since
    except OSError:  # it does not even say since when
        return known or time.time_ns() // 1_000_000


def main() -> None:
    """Look again and again. `tell` never waits: while the router is away, events are kept for it."""
    url = sys.argv[1]
    known: int | None = None
    with Service(os.environ["POSTROOM_API_URL"], token=lambda: sign("monitor", "service")) as service:
        while True:
            since = broken_since(url, known)
            if since is not None and since != known:
                # Named after what is the matter: a monitor that is started anew raises no second alert.
                service.tell(
                    Alert(
                        *(DESK, "critical", "The shop is closed"),
                        message=f"{url} does not answer as it should",
                        escalate_after_s=PATIENCE_S,
                        event_id=f"shop-{since}",
                    )
                )
            if since is None and known is not None:
                service.tell(Notification(DESK, "success", "The shop is open again"))
            known = since
            time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
