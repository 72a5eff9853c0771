"""What a router says of itself: AsyncAPI and OpenAPI of a real one in; files to download and tables to read out.

A page has them where it says `<!-- site: asyncapi -->` or `<!-- site: openapi -->`.
"""

from __future__ import annotations

import json
import re
import tempfile
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from schema_tables import anchor, named, place, sections, table

from postroom_client.testing import RouterProcess

__all__ = ["on_files", "on_page_markdown"]

_FOLDER = "docs/reference"
_NAMES = ("asyncapi", "openapi")
_HERE = re.compile(r"^<!-- site: (asyncapi|openapi) -->$", re.MULTILINE)
_WAIT_S = 30.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The router is on this machine, whatever the way out is."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents to what can be downloaded, beside their pages."""
    for name in _NAMES:
        if files.get_file_from_path(f"{_FOLDER}/{name}.md") is None:
            continue
        content = json.dumps(_documents()[name], indent=2)
        file = File.generated(config, f"{_FOLDER}/{name}.json", content=content)
        file.dest_uri = f"{_FOLDER}/{name}.json".removeprefix("docs/")
        files.append(file)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write them into their pages."""
    return _HERE.sub(lambda match: _written(match[1]), markdown)


@cache
def _documents() -> dict[str, Any]:
    """Ask a router, once for each run of mkdocs."""
    with tempfile.TemporaryDirectory() as folder:
        router = RouterProcess(Path(folder), settings={"dev": True, "journal": "memory"})
        router.start()
        try:
            return {name: _fetched(f"{router.api_url}/{name}.json") for name in _NAMES}
        finally:
            router.kill()


def _fetched(url: str) -> Any:
    with _DIRECT.open(url, timeout=_WAIT_S) as response:
        return json.load(response)


def _written(name: str) -> str:
    document = _documents()[name]
    body = _asyncapi(document) if name == "asyncapi" else _openapi(document)
    version = document["info"]["version"]
    head = f"## The document\n\n[{name}.json]({name}.json) is that of version {version}."
    return f"{head} `?` marks what may be left out.\n\n{body}"


def _asyncapi(document: dict[str, Any]) -> str:
    messages, schemas = document["components"]["messages"], dict(document["components"]["schemas"])
    text = ""
    for side, heading in (("client", "What a client sends"), ("router", "What the router sends")):
        text += f"## {heading}\n\n"
        for name, message in messages.items():
            if name.startswith(f"{side}."):
                answers = _answers(document, name, messages)
                record = message["payload"]["$ref"].rpartition("/")[2]
                schema = schemas.pop(record)
                text += f"### {_title(message)}\n\n{place(record)}{table(schema)}{_kinds(schema)}{answers}"
    return f"{text}## What they hold\n\n{sections(schemas)}"


def _title(message: dict[str, Any]) -> str:
    return f"`{message['name']}` {message['title'].partition(' ')[2]}"


def _kinds(schema: dict[str, Any]) -> str:
    return "".join(f"`kind` and `data`: {named(each)}.\n\n" for each in schema.get("allOf", ()))


def _answers(document: dict[str, Any], name: str, messages: dict[str, Any]) -> str:
    """Return which messages answer a command; nothing for what is none."""
    operation = document["operations"].get(name.removeprefix("client."), {})
    replies = [each["$ref"].rpartition("/")[2] for each in operation.get("reply", {}).get("messages", ())]
    titles = [_title(messages[reply]) for reply in replies]
    links = [f"[{title}]({anchor(title)})" for title in titles]
    return f"Answer: {' or '.join(links)}.\n\n" if name.startswith("client.") else ""


def _openapi(document: dict[str, Any]) -> str:
    text = "## Calls\n\n"
    for path, calls in sorted(document["paths"].items()):
        for method, call in calls.items():
            text += f"### `{method.upper()} {path}`\n\n{call['summary']} {call['description']}\n\n{_parts(call)}"
    return f"{text}## Schemas\n\n{sections(document['components']['schemas'])}"


def _parts(call: dict[str, Any]) -> str:
    """Return what a call takes and answers."""
    rows = [
        f"| {each['in']} | `{each['name']}` | {named(each['schema'])}{', required' if each.get('required') else ''} |"
        for each in call.get("parameters", ())
    ]
    for media, content in call.get("requestBody", {}).get("content", {}).items():
        rows.append(f"| body | `{media}` | {named(content['schema'])} |")
    statuses: dict[str, list[str]] = {}
    for status, response in call["responses"].items():
        kinds = " or ".join(named(content["schema"]) for content in response.get("content", {}).values())
        statuses.setdefault(kinds or response["description"], []).append(status)
    rows += [f"| answer | {', '.join(numbers)} | {kinds} |" for kinds, numbers in statuses.items()]
    return "| where | what | type |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n\n"
