"""JSON schemas in, Markdown that people can read out: a table of fields for each, and links between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymdownx.slugs import slugify

__all__ = ["anchor", "named", "place", "sections", "table"]

_REF = "#/components/schemas/"
_slug = slugify(case="lower")


def anchor(heading: str) -> str:
    """Return the link to a heading of the same page."""
    return f"#{_slug(heading.replace('`', ''), '-')}"


def place(name: str) -> str:
    """Return what links to a schema lead to, where it has no heading of its own."""
    return f'<a id="{anchor(name)[1:]}"></a>\n\n'


def sections(schemas: Mapping[str, Any]) -> str:
    """Return a section for each schema, by its name."""
    return "".join(f"### `{name}`\n\n{table(schema)}" for name, schema in schemas.items())


def table(schema: Mapping[str, Any]) -> str:
    """Return what a schema says: its description, and its fields."""
    description = schema.get("description", "")
    text = f"{description}\n\n" if description else ""
    fields = schema.get("properties", {})
    if not fields:
        return f"{text}{named(schema)}\n\n" if "oneOf" not in schema else f"{text}{_alternatives(schema)}\n\n"
    required = schema.get("required", ())
    rows = [
        f"| `{name}`{'' if name in required else '?'} | {named(field)} | {field.get('description', '')} |"
        for name, field in fields.items()
    ]
    return f"{text}| field | type | meaning |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n\n"


def named(schema: Mapping[str, Any]) -> str:
    """Return the words for a type, in one cell of a table."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return f"[{name}]({anchor(name)})"
    for several in ("allOf", "anyOf", "oneOf"):
        if several in schema and "properties" not in schema:
            return " or ".join(sorted(map(named, schema[several]), key=lambda words: words.startswith("list")))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return f"list of {named(schema.get('items', {}))}{_bounds(schema)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {named(schema['additionalProperties'])}"
    if kind == "object" and "properties" in schema:
        return "object of " + ", ".join(f"`{name}`" for name in schema["properties"])
    return f"{kind}{_bounds(schema)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    said = [
        _range(schema, "minimum", "maximum", ""),
        _range(schema, "minLength", "maxLength", " characters"),
        _range(schema, "minItems", "maxItems", " of them"),
        f"`{schema['pattern']}`" if "pattern" in schema else "",
    ]
    return f" ({', '.join(filter(None, said))})" if any(said) else ""


def _range(schema: Mapping[str, Any], least: str, most: str, of: str) -> str:
    low, high = (f"{schema[name]:,g}" if name in schema else "" for name in (least, most))
    return f"{low} to {high}{of}" if low and high else f"from {low}{of}" if low else f"up to {high}{of}" if high else ""


def _alternatives(schema: Mapping[str, Any]) -> str:
    """Return what `kind` may be, with the data of each."""
    rows = [
        f"| {each['title']} | {named(each['properties']['data'])} |" for each in schema["oneOf"] if "properties" in each
    ]
    return "| `kind` | `data` |\n| --- | --- |\n" + "\n".join(rows)
