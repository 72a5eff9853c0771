"""Which web pages may speak to the router: the `Origin` and `Host` of a request in, nothing or a refusal out.

A page of any site can make its visitor's browser connect to the router; only these two headers tell (RFC 6455, 10.2).
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from .setting_values import is_origin
from .settings import Settings

__all__ = ["OriginPolicy"]

log = structlog.get_logger("postroom.origins")

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_MOST_SHOWN = 280
"""Characters: an origin whose host is as long as a name can be (RFC 1035, 2.3.4) is shown as a whole."""


class OriginPolicy:
    """Allows pages of the router's own host, or exactly the configured ones; programs send no origin.

    Args:
        settings: `origins`, `dev`.
        api_port: The port of the API, whose pages are of the same host.
    """

    def __init__(self, settings: Settings, api_port: Callable[[], int]) -> None:
        self._origins = settings.origins
        self._dev = settings.dev
        self._api_port = api_port

    def shares_with(self, origin: str | None) -> bool:
        """Tell whether pages of this origin may read answers: those that are configured, and no others."""
        return origin is not None and origin in self._origins

    def refuse(self, origin: str | None, host: str) -> str | None:
        """Return why a request with these headers is refused, and what to do; None: it is not. A refusal is logged."""
        reason = self._reason(origin, host)
        if reason is not None:
            shown = None if origin is None else origin[:_MOST_SHOWN]
            log.warning("origin_refused", origin=shown, host=host[:_MOST_SHOWN], reason=reason)
        return reason

    def _reason(self, origin: str | None, host: str) -> str | None:
        hostname = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
        if self._dev and hostname not in _LOOPBACK:
            # A name that an attacker lets point to this machine would be the same host as its page.
            return f"With --dev, connect to 127.0.0.1 or localhost, not to {host[:_MOST_SHOWN]!r}."
        if origin is None or origin in self._origins:
            return None
        scheme, separator, netloc = origin.partition("://")
        page_of_ours = separator and scheme in ("http", "https") and netloc in (host, f"{hostname}:{self._api_port()}")
        if page_of_ours and not self._origins:
            return None
        return f"Pages from {origin[:_MOST_SHOWN]!r} may not connect. {self._advice(origin, hostname)}"

    def _advice(self, origin: str, hostname: str) -> str:
        """Return what to do so that pages of this origin may connect. Any page may read it: it lists no others."""
        if origin == "null":
            return (
                "It was opened as a file, or in a frame without rights. Serve it, for example with `python3 -m "
                "http.server 8080 --bind 127.0.0.1`, and name its new origin to the router, in POSTROOM_ORIGINS."
            )
        if len(origin) > _MOST_SHOWN or not is_origin(origin):
            return "No browser sends this for a page that POSTROOM_ORIGINS could allow."
        if self._origins:
            return f"To allow them, start the router with {origin} added to POSTROOM_ORIGINS (`origins`)."
        if self._dev:
            console = f"http://{hostname}:{self._api_port()}"
            return (
                f"To allow them, start the router so: POSTROOM_ORIGINS={origin},{console} postroom serve --dev "
                "(the second is the console's: with a list, only the list counts)."
            )
        return (
            f"To allow them, start the router with POSTROOM_ORIGINS={origin} (`origins`). With a list, only the list "
            "counts: add the origins of all pages that are to connect, the console's as well."
        )
