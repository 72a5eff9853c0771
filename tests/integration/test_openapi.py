"""The description of the HTTP API: valid, complete, and true of whatever is sent that it allows or does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

import aiohttp
import jsonschema
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import checks
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from server.app import Router

from ..conftest import running_router
from ..docs.pages import REFERENCE
from ..native_client import WAIT_S, NativeClient
from .services import publish

_EXAMPLES = 6
_CHECKS = [
    checks.not_a_server_error,
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


async def description_of(router: Router) -> dict[str, Any]:
    """Return the description."""
    async with (
        asyncio.timeout(WAIT_S),
        aiohttp.ClientSession() as session,
        session.get(f"{router.addresses.api_url}/openapi.json") as response,
    ):
        assert response.status == 200
        description: dict[str, Any] = await response.json()
        return description


async def test_the_description_is_valid_and_has_every_call(guarded_router: Router) -> None:
    """Whoever asks for it needs no token; each operation has a name of its own, and says who may call it."""
    description = await description_of(guarded_router)
    OpenAPIV31SpecValidator(description).validate()
    api = guarded_router._api
    described = {(method.upper(), path) for path, each in description["paths"].items() for method in each}
    assert described == {(call.method, call.path) for call in api._calls}
    operations = [operation for each in description["paths"].values() for operation in each.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for path, each in description["paths"].items():
        for operation in each.values():
            named = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            cookie = [{"cookie": []}] if path.endswith("/stream") else []
            needed = [{"token": []}, *cookie] if "token of role" in operation["description"] else []
            assert operation["security"] == needed


async def test_whatever_is_sent_is_answered_as_described(token: Callable[..., str]) -> None:
    """Requests that the description allows, and others near them: never a 500, never what it does not say."""
    async with running_router(room_idle_s=600.0) as router:
        await publish(router, "team:1", "alert", {"severity": "critical", "title": "t"})
        await publish(router, "team:1", "app.thing", {"n": 1}, key="k", delivery="latest")
        async with NativeClient(router.addresses.ws_url, token("ann")):
            schema = schemathesis.openapi.from_dict(await description_of(router))
            schema.config.update(base_url=router.addresses.api_url)
            headers = {"Authorization": f"Bearer {token('op', 'admin')}"}
            for result in schema.exclude(path="/v1/rooms/{room}/stream").get_all_operations():  # which does not end
                await asyncio.to_thread(try_out, result.ok(), headers)


def try_out(operation: Any, headers: dict[str, str]) -> None:
    """Send requests to one operation, the same ones each time, and check what is answered."""
    # In an array each event stands for itself: one that is not valid has its error in a 200.
    wanted = [each for each in _CHECKS if each is not negative_data_rejection or operation.path != "/v1/publish"]
    for mode in schemathesis.GenerationMode:

        @settings(
            max_examples=_EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=wanted)

        with contextlib.suppress(Unsatisfiable):  # it takes nothing that could be wrong
            send()


async def test_json_in_the_http_reference_is_what_its_call_answers(router: Router) -> None:
    """The `json` block below a call's heading in http.md is an answer as the description has it."""
    description = await description_of(router)
    for method, path, section in _sections():
        for block in re.findall(r"^```json\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
            response = description["paths"][path][method.lower()]["responses"]["200"]
            schema = {**description, **response["content"]["application/json"]["schema"]}
            jsonschema.Draft202012Validator(schema).validate(json.loads(block))


async def test_the_http_reference_names_every_parameter_and_every_field(router: Router) -> None:
    """The section of a call in http.md has its parameters; the page has what bodies and answers hold, in code font."""
    description = await description_of(router)
    page = (REFERENCE / "http.md").read_text()
    lacking = []
    for method, path, section in _sections():
        call = description["paths"][path][method.lower()]
        named = {each["name"] for each in call.get("parameters", ()) if each["in"] == "query"}
        lacking += [f"{method} {path}: {name}" for name in named if not _is_named(name, section)]
        for content in (call.get("requestBody", {}), call["responses"]["200"]):
            for each in content.get("content", {}).values():
                fields = _fields(each["schema"], description)
                lacking += [f"{method} {path}: {name}" for name in fields if not _is_named(name, page)]
    assert lacking == []


def _is_named(name: str, text: str) -> bool:
    return re.search(rf'`[^`\n]*\b{name}\b[^`\n]*`|"{name}"', text) is not None


def _fields(schema: dict[str, Any], description: dict[str, Any]) -> set[str]:
    """Return the names of the fields that a schema has at its top, whichever of several it is."""
    if "$ref" in schema:
        return _fields(description["components"]["schemas"][schema["$ref"].rpartition("/")[2]], description)
    inner = [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    return set(schema.get("properties", ())).union(*(_fields(each, description) for each in inner))


def _sections() -> list[tuple[str, str, str]]:
    """Return the method, the path and the text of each call in http.md."""
    page = (REFERENCE / "http.md").read_text()
    return re.findall(r"^## `(\w+) ([^`]+)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
