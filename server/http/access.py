"""Who may call the HTTP API: a request in, an identity of a role that the call takes out, or a refusal."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

from actors.errors import ErrorCode, Refusal
from actors.identity import Identity
from server.auth import Authenticator, bearer
from server.origins import OriginPolicy

__all__ = ["COOKIE", "Access"]

COOKIE = "postroom_token"
"""The cookie that a token may come in, where a call takes one."""


class Access:
    """Lets callers in.

    Args:
        authenticator: Who knows whether a token is good.
        anonymous: Who a caller without a token is; None: it is turned away.
        origins: Which web pages may call.
    """

    def __init__(self, authenticator: Authenticator, anonymous: Identity | None, origins: OriginPolicy) -> None:
        self._authenticator = authenticator
        self._anonymous = anonymous
        self._origins = origins

    async def allow(self, request: web.Request, roles: Collection[str], *, cookie: bool = False) -> Identity:
        """Return who calls.

        Args:
            request: The request.
            roles: Whose tokens it takes.
            cookie: Whether the token may come in a cookie: for what changes nothing, since browsers send cookies along
                with requests that any page makes.

        Raises:
            Refusal: `unauthenticated`, `token_expired` or `busy` for the token; `forbidden` for its role or the origin.
        """
        refusal = self._origins.refuse(request.headers.get("Origin"), request.headers.get("Host", ""))
        if refusal is not None:
            raise Refusal(ErrorCode.FORBIDDEN, refusal)
        if len(request.headers.getall("Authorization", ())) > 1:
            raise Refusal(ErrorCode.BAD_MESSAGE, "the Authorization header may be there once")
        token = bearer(request.headers.get("Authorization"))
        if token is None and cookie:
            token = _in_cookie(request)
        takes = " or ".join(sorted(roles, reverse=True))
        if token is not None:
            identity = await self._authenticator.identify(token)
        elif self._anonymous is not None:
            identity = self._anonymous
        else:
            raise Refusal(
                ErrorCode.UNAUTHENTICATED,
                f"send `Authorization: Bearer TOKEN`; `postroom token --role {takes.split()[0]}` makes one",
            )
        if identity.role not in roles:
            raise Refusal(
                ErrorCode.FORBIDDEN,
                f"role {identity.role} may not {request.method} {request.path}; it takes {takes}",
            )
        return identity


def _in_cookie(request: web.Request) -> str | None:
    """Return the token of the cookie, if it comes from a page that the policy lets in, or from no page at all.

    The origin was looked at. Where there is none, newer browsers tell whether the page is of another site (Fetch
    Metadata): an image or a script can be asked for without an origin, and the cookie comes along.
    """
    token = request.cookies.get(COOKIE) or None
    foreign = request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")
    if token is not None and foreign and "Origin" not in request.headers:
        raise Refusal(ErrorCode.FORBIDDEN, f"the cookie {COOKIE} does not count for a page of another origin")
    return token
