"""Calls of the HTTP API: each one's method, path, roles and types in one place, for serving and for the description."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
from aiohttp import web

from actors.errors import ErrorCode, Refusal
from actors.identity import Identity

from .access import Access
from .answers import Handler, json_answer
from .spread import Everywhere, Outcome, Outcomes, Spread

__all__ = ["Asked", "Call", "Forward", "Limit", "alone", "serve"]

Q = TypeVar("Q")

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]
"""How many entries a list may be asked for."""

_NONE: Mapping[str, Any] = MappingProxyType({})
_UNWANTED_BYTES = 64 * 1024
"""How large a body may be that nobody reads."""


class Asked(NamedTuple, Generic[Q]):
    """A request that is allowed, and what was read of it."""

    parts: Mapping[str, str]
    """Of the path, by name."""
    caller: Identity | None
    """None where the call takes no token."""
    query: Q
    """The query's parameters; None where the call has none."""
    http: web.Request | None = None
    """None: another router was asked, and hands the call on."""

    @property
    def request(self) -> web.Request:
        """The request itself; only for calls that no router hands on."""
        assert self.http is not None
        return self.http

    @property
    def handed_on(self) -> bool:
        """Whether it was another router that was asked."""
        return self.http is None

    def part(self, name: str) -> str:
        """Return a part of the path."""
        return self.parts[name]


Forward: TypeAlias = "Callable[[Call, Asked[Any]], Awaitable[object]]"
"""Answers a call that concerns the whole cluster."""


class Call:
    """One call.

    Args:
        method: HTTP method.
        path: As aiohttp's router takes it: `/v1/rooms/{room}`.
        summary: One line that says what it does.
        handler: Answers with a value of the type `answer`, or a whole response. A `Refusal` becomes a problem document.
        roles: Whose tokens it takes; empty: it takes no token.
        query: A struct that the query's parameters are read into; None: it has none.
        body: The type of the JSON body, for the description; the handler reads it. None: it has none.
        answer: The type of the answer, for the description.
        media: The media type of the answer, for the description.
        cookie: Whether the token may come in a cookie.
        headers: Headers of the request that mean something, for the description.
        other_bodies: The types of bodies of other media types, by media type.
        other_statuses: Statuses beside 200 under which its answer may come.
        refusals: Codes that it may answer with, beside those of every call.
        other_refusals: Statuses of refusals beside those of the codes.
        spread: How far it reaches in a cluster; None: no further than the router that is asked.
    """

    __slots__ = (
        "answer",
        "body",
        "cookie",
        "handler",
        "headers",
        "media",
        "method",
        "other_bodies",
        "other_refusals",
        "other_statuses",
        "path",
        "query",
        "refusals",
        "roles",
        "spread",
        "summary",
    )

    def __init__(
        self,
        method: Literal["GET", "POST", "PUT", "DELETE"],
        path: str,
        summary: str,
        handler: Callable[[Asked[Any]], Awaitable[object]],
        *,
        roles: tuple[str, ...] = ("admin",),
        query: type[msgspec.Struct] | None = None,
        body: Any = None,
        answer: Any = None,
        media: str = "application/json",
        cookie: bool = False,
        headers: tuple[str, ...] = (),
        other_bodies: Mapping[str, Any] = _NONE,
        other_statuses: tuple[int, ...] = (),
        refusals: tuple[ErrorCode, ...] = (),
        other_refusals: tuple[int, ...] = (),
        spread: Spread | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.summary = summary
        self.handler = handler
        self.roles = roles
        self.query = query
        self.body = body
        self.answer = answer
        self.media = media
        self.cookie = cookie
        self.headers = headers
        self.other_bodies = other_bodies
        self.other_statuses = other_statuses
        self.refusals = refusals
        self.other_refusals = other_refusals
        self.spread = spread


async def alone(call: Call, asked: Asked[Any]) -> object:
    """Answer a call that concerns the whole cluster where there is none: a `Forward`."""
    node = getattr(asked.query, "node", None)
    if node is not None:
        raise Refusal(ErrorCode.NOT_FOUND, f"there is no node {node[:200]!r}: this router is alone")
    answer = await call.handler(asked)
    if isinstance(call.spread, Everywhere):
        return call.spread.merge(asked.query, Outcomes([Outcome(None, answer)], ()))
    return answer


def serve(call: Call, access: Access, forward: Forward = alone) -> Handler:
    """Return what aiohttp calls: it asks who is there, reads the query, and answers."""

    async def handle(request: web.Request) -> web.StreamResponse:
        caller = await access.allow(request, call.roles, cookie=call.cookie) if call.roles else None
        if call.body is None and request.body_exists and (request.content_length or math.inf) > _UNWANTED_BYTES:
            raise Refusal(ErrorCode.TOO_LARGE, f"{call.method} {call.path} takes no body")
        asked: Asked[Any] = Asked(request.match_info, caller, _query(request, call.query), request)
        answer = await (call.handler(asked) if call.spread is None else forward(call, asked))
        return answer if isinstance(answer, web.StreamResponse) else json_answer(200, answer)

    return handle


def _query(request: web.Request, into: type[msgspec.Struct] | None) -> Any:
    if into is None:
        return None
    values = {}
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise Refusal(ErrorCode.BAD_MESSAGE, f"query: {name} may be there once")
        values[name] = request.query[name]
    try:
        return msgspec.convert(values, into, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(into.__struct_fields__)
        raise Refusal(ErrorCode.BAD_MESSAGE, f"query: {error}; parameters are {known}") from None
