"""Which web pages may speak to the router: the `Origin` and `Host` of a request in, nothing or a refusal out.

A page of any site can make its visitor's browser connect to the router; only these two headers tell (RFC 6455, 10.2).
"""

from __future__ import annotations

from collections.abc import Callable

from .settings import Settings

__all__ = ["OriginPolicy"]

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


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
        """Return why a request with these headers is refused, and what to do; None: it is not."""
        hostname = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
        if self._dev and hostname not in _LOOPBACK:
            # A name that an attacker lets point to this machine would be the same host as its page.
            return f"With --dev, connect to 127.0.0.1 or localhost, not to {host[:80]!r}."
        if origin is None or origin in self._origins:
            return None
        scheme, separator, netloc = origin.partition("://")
        page_of_ours = separator and scheme in ("http", "https") and netloc in (host, f"{hostname}:{self._api_port()}")
        if page_of_ours and not self._origins:
            return None
        return (
            f"Pages from {origin[:80]!r} may not connect. To allow them, start the router with this origin among "
            "`origins` (POSTROOM_ORIGINS)."
        )
