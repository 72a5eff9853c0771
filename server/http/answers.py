"""Answers of the HTTP API: values and refusals in, JSON and problem documents (RFC 9457) out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web

from actors.errors import ErrorCode, Refusal

__all__ = [
    "PROBLEM",
    "REJECTED",
    "STATUS",
    "Handler",
    "Problem",
    "json_answer",
    "problems",
    "refusal_body",
    "reject",
]

log = structlog.get_logger("postroom.http")

PROBLEM = "application/problem+json"
_OTHER_PORT = "; WebSocket clients connect to a port of their own, 8000 unless set otherwise"
_RETRY_S = 1
STATUS = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.TOKEN_EXPIRED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.SESSION_ENDED: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.INVALID_EVENT: 422,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL: 500,
    ErrorCode.BUSY: 503,
    ErrorCode.JOURNAL_UNAVAILABLE: 503,
}
"""HTTP status of each code; 400 for the others."""

REJECTED: web.AppKey[Counter[tuple[str, str]]] = web.AppKey("REJECTED")
"""Where an application counts what it refuses."""


class Problem(msgspec.Struct, frozen=True):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    temporary: bool
    """Whether the same request may succeed later."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_answer(status: int, body: object, content_type: str = "application/json") -> web.Response:
    """Return `body` as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=content_type)


def refusal_body(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as it stands among results."""
    error: dict[str, Any] = {
        "code": refusal.code,
        "message": refusal.message,
        "temporary": refusal.code.temporary,
    }
    if refusal.retry_after_ms is not None:
        error["retry_after_ms"] = refusal.retry_after_ms
    return error


def reject(request: web.Request, code: ErrorCode) -> None:
    """Count something that was refused."""
    request.app[REJECTED]["http", code] += 1


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as `application/problem+json` (RFC 9457)."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _problem(request, STATUS.get(refusal.code, 400), refusal.code, refusal.message, refusal.retry_after_ms)
    except web.HTTPNotFound:
        hint = "" if request.headers.get("Upgrade", "").lower() != "websocket" else _OTHER_PORT
        return _problem(request, 404, ErrorCode.NOT_FOUND, f"there is no {request.path}{hint}")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"there is no {error.method} {request.path}; it takes {allowed}"
        response = _problem(request, 405, ErrorCode.NOT_FOUND, detail)
        response.headers["Allow"] = allowed
        return response
    except ConnectionError:  # nobody is left to read this
        return _problem(request, 400, ErrorCode.BAD_MESSAGE, "the client hung up")
    except web.HTTPException as error:
        return _problem(request, error.status, ErrorCode.BAD_MESSAGE, error.reason)
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        return _problem(request, 500, ErrorCode.INTERNAL, "the router failed while it handled this; its log says more")


def _problem(
    request: web.Request, status: int, code: ErrorCode, detail: str, retry_after_ms: int | None = None
) -> web.Response:
    reject(request, code)
    body = Problem(
        type=f"urn:postroom:error:{code}",
        title=str(code).replace("_", " "),
        status=status,
        detail=detail,
        code=code,
        temporary=code.temporary,
    )
    response = json_answer(status, body, PROBLEM)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        response.headers["Retry-After"] = str(_RETRY_S if retry_after_ms is None else math.ceil(retry_after_ms / 1000))
    return response
