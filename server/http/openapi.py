"""OpenAPI 3.1: the table of calls in, their description out. The schemas are those of the types that validate."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from actors.errors import ErrorCode
from server import __version__

from .access import COOKIE
from .answers import PROBLEM, STATUS, Problem
from .calls import Asked, Call

__all__ = ["OpenApi", "describe"]

_JSON = "application/json"
_REF = "#/components/schemas/{name}"
_ALWAYS = (400, 500)
_WITH_TOKEN = (401, 403, 503)
_TITLES = {
    200: "Done.",
    400: "What was sent is not right: `detail` says what is.",
    401: "No token, or one that does not count.",
    403: "The token's role may not do this.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "The session has ended.",
    413: "More than is taken at once.",
    415: "A body of this kind is not taken.",
    422: "The event is not valid.",
    429: "Too often.",
    500: "The router failed; its log says more.",
    503: "Not now: try again after `Retry-After`.",
}


class OpenApi:
    """Answers with the description of all calls.

    Args:
        calls: The table, which may still grow.
    """

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls = calls
        self._description: dict[str, Any] | None = None

    def calls(self) -> list[Call]:
        """Return what it answers."""
        summary = "Describe all calls, as OpenAPI 3.1."
        return [Call("GET", "/openapi.json", summary, self._answer, roles=(), answer=dict[str, Any])]

    async def _answer(self, _asked: Asked[None]) -> dict[str, Any]:
        if self._description is None:
            self._description = describe(self._calls)
        return self._description


def describe(calls: Iterable[Call]) -> dict[str, Any]:
    """Return the description of calls, as JSON has it."""
    calls = list(calls)
    types: list[Any] = [Problem]
    for call in calls:
        types += [
            each for each in (call.query, call.answer, call.body, *call.other_bodies.values()) if each is not None
        ]
    schemas, components = msgspec.json.schema_components(types, schema_hook=_any_json, ref_template=_REF)
    by_type = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, by_type, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Postroom",
            "version": __version__,
            "description": "The HTTP API of a Postroom router, for services and operators.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def _any_json(of: type) -> dict[str, Any]:
    """Describe what is written as JSON and not known beforehand."""
    if of is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError(of)


def _operation(call: Call, schemas: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    takes = f"It takes a token of role {' or '.join(call.roles)}." if call.roles else "It takes no token."
    names = re.findall(r"{(\w+)}", call.path)
    operation: dict[str, Any] = {
        "operationId": "_".join([call.method.lower(), *re.findall(r"\w+", call.path)]) or call.method.lower(),
        "summary": call.summary,
        "description": takes,
        "security": [{"token": []}, *([{"cookie": []}] if call.cookie else [])] if call.roles else [],
        "responses": _responses(call, schemas),
    }
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    if call.query is not None:
        parameters += _parameters(_resolved(schemas[id(call.query)], components))
    parameters += [{"name": name, "in": "header", "schema": {"type": "string"}} for name in call.headers]
    if parameters:
        operation["parameters"] = parameters
    bodies = {**({_JSON: call.body} if call.body is not None else {}), **call.other_bodies}
    if bodies:
        content = {media: {"schema": schemas[id(body)]} for media, body in bodies.items()}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(call: Call, schemas: dict[int, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in (200, *call.other_statuses):
        response: dict[str, Any] = {"description": _TITLES.get(status, "Done.")}
        if call.answer is not None:
            response["content"] = {call.media: {"schema": schemas[id(call.answer)]}}
        responses[str(status)] = response
    problem = {PROBLEM: {"schema": schemas[id(Problem)]}}
    statuses = {*_ALWAYS, *(_WITH_TOKEN if call.roles else ()), *map(_status, call.refusals), *call.other_refusals, 413}
    for status in sorted(statuses):
        responses.setdefault(str(status), {"description": _TITLES.get(status, "Refused."), "content": problem})
    return responses


def _status(code: ErrorCode) -> int:
    return STATUS.get(code, 400)


def _resolved(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    resolved: dict[str, Any] = components[schema["$ref"].rpartition("/")[2]]
    return resolved


def _parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(each)}
        for name, each in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that is there: where it is not, it is left out."""
    some = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf" and value is not None}
    return {**rest, **some[0]} if len(some) == 1 else schema
