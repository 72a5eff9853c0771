"""JSON schemas of the native protocol: the records that read and write its messages in, schemas by name out.

Names say whose word it is: `client.Subscribe`, `router.Subscribed`; `data.progress` is what events of that kind hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from actors import events
from actors.identity import ROOM_NAME

from .native import COMMANDS, MESSAGES
from .words import WORDS

__all__ = ["UNASKED", "name_of", "schemas"]

_REF: Final = "#/components/schemas/"
_OTHER_PROTOCOLS: Final = "old"
"""A field that is never set in this one."""
UNASKED: Final = ("skipped", "notice", "joined", "left", "revoked")
"""Messages that answer no command, and so have no `id`."""
_MOST: Final = 1e300
"""A maximum above is that of the number's type."""


def name_of(side: str, type: type[msgspec.Struct]) -> str:
    """Return the name of the schema of a record.

    Args:
        side: `client` or `router`: who says it.
        type: The record.
    """
    return f"{side}.{type.__name__.lstrip('_')}"


def schemas() -> dict[str, Any]:
    """Return the schemas, by name."""
    found = {**_records("client", COMMANDS), **_records("router", MESSAGES)}
    for kind, data in events.DATA.items():
        (schema,) = _records("data", [data]).values()
        found[f"data.{kind}"] = {**schema, "title": kind}
    found["kinds.published"] = {"oneOf": [*map(_of_kind, events.KINDS), _custom()]}
    found["kinds.delivered"] = {"oneOf": [*map(_of_kind, events.DATA), _custom()]}
    found["client.Publish"]["allOf"] = [{"$ref": f"{_REF}kinds.published"}]
    found["router.Event"]["allOf"] = [{"$ref": f"{_REF}kinds.delivered"}]
    found["room.Name"] = {"title": "RoomName", "type": "string", "pattern": f"^{ROOM_NAME}$"}
    return found


def _records(side: str, types: Sequence[type[msgspec.Struct]]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components(types, ref_template=f"{_REF}{side}.{{name}}")
    text = msgspec.json.encode(components).decode().replace(f"{_REF}{side}._", f"{_REF}{side}.")
    found = {f"{side}.{name.lstrip('_')}": schema for name, schema in msgspec.json.decode(text).items()}
    for schema in found.values():
        schema.get("properties", {}).pop(_OTHER_PROTOCOLS, None)
    needed: dict[str, Any] = {}
    waiting = [name_of(side, each) for each in types]
    while waiting:
        name = waiting.pop(0)
        if name not in needed:
            needed[name] = _record(side, found[name])
            waiting += [ref.removeprefix(_REF) for ref in _refs(found[name])]
    return needed


def _record(side: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a record with its fields described."""
    title = schema["title"].lstrip("_")
    properties = dict(schema.get("properties", {}))
    if properties.get("type", {}).get("enum", [""])[0] in UNASKED:
        del properties["id"]
    described = {
        name: {**_field(side, name, each), "description": WORDS.get(f"{side}.{title}.{name}") or WORDS[name]}
        for name, each in properties.items()
    }
    return {**schema, "title": title, **({"properties": described} if properties else {})}


def _field(side: str, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that is there: where a value is none, it is left out, but by publishers in data."""
    if schema.get("default", ...) is None:
        some = [each for each in schema.get("anyOf", ()) if side == "data" or each != {"type": "null"}]
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        schema = {**rest, **({"anyOf": some} if len(some) > 1 else some[0] if some else {})}
    for each in (schema, *schema.get("anyOf", ())):
        if each.get("maximum", 0) > _MOST:
            del each["maximum"]
    if name == "room":
        schema = {"$ref": f"{_REF}room.Name"}
    return {"allOf": [schema]} if "$ref" in schema else schema


def _of_kind(kind: str) -> dict[str, Any]:
    return {"title": kind, "properties": {"kind": {"const": kind}, "data": {"$ref": f"{_REF}data.{kind}"}}}


def _custom() -> dict[str, Any]:
    own = [kind for kind in events.DATA if kind not in events.KINDS]
    kind = {"pattern": f"^{events.CUSTOM_KIND}$", "not": {"enum": own}}
    return {"title": "a name with a dot", "properties": {"kind": kind, "data": {"type": "object"}}}


def _refs(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for each in schema.values():
            yield from _refs(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _refs(each)
