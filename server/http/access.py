"""Who may call the HTTP API: a request in, an identity of a role that the call takes out, or a refusal."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

from actors.errors import ErrorCode, Refusal
from actors.identity import Identity
from server.auth import Authenticator, bearer
from server.origins import OriginPolicy

__all__ = ["Access"]


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

    async def allow(self, request: web.Request, roles: Collection[str]) -> Identity:
        """Return who calls.

        Raises:
            Refusal: `unauthenticated`, `token_expired` or `busy` for the token; `forbidden` for its role or the origin.
        """
        refusal = self._origins.refuse(request.headers.get("Origin"), request.headers.get("Host", ""))
        if refusal is not None:
            raise Refusal(ErrorCode.FORBIDDEN, refusal)
        if len(request.headers.getall("Authorization", ())) > 1:
            raise Refusal(ErrorCode.BAD_MESSAGE, "the Authorization header may be there once")
        token = bearer(request.headers.get("Authorization"))
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
