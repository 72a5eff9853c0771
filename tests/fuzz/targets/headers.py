"""Headers of a request: `Authorization`, `Origin` and `Host`, a line each; a token and leave to go on, or a refusal."""

from __future__ import annotations

from actors.errors import ErrorCode, Refusal
from server.auth import bearer
from server.origins import OriginPolicy
from server.settings import Settings

__all__ = ["take"]

_LISTED = "https://app.example.com"
_POLICIES = {
    dev: {listed: OriginPolicy(Settings(dev=dev, origins=listed), lambda: 8001) for listed in ((), (_LISTED,))}
    for dev in (True, False)
}
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def take(data: bytes) -> None:
    """Read the headers; what is let in is the router's own page, a listed one, or no page at all."""
    authorization, origin, host, *_ = (data.decode("latin-1") + "\n\n\n").split("\n")
    try:
        token = bearer(authorization or None)
    except Refusal as refusal:
        assert refusal.code is ErrorCode.UNAUTHENTICATED
    else:
        assert token is None or (token and token in authorization and " " not in token)
    for dev, policies in _POLICIES.items():
        for listed, policy in policies.items():
            refused = policy.refuse(origin or None, host)
            assert refused is None or len(refused) < 1000
            if refused is None:
                page = origin.partition("://")[2]
                api = page.endswith(":8001") and host.startswith(page.removesuffix(":8001"))
                assert not origin or origin in listed or page == host or api
                assert not dev or host.startswith(_LOOPBACK)
