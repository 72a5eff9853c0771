"""Files for browsers: package data in, answers with their type, a tag and the reader's own headers out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Final, NamedTuple

from aiohttp import ETag, web

__all__ = ["File", "answer", "read_files"]

_TYPES: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "ts": "text/plain",  # TypeScript has no type of its own, and what browsers think of the suffix is a video
}


class File(NamedTuple):
    """One file."""

    body: bytes
    content_type: str
    etag: str


def read_files(folder: str) -> dict[str, File]:
    """Read what browsers may have of a folder of this package, by name."""
    files = {}
    for each in resources.files("server").joinpath(folder).iterdir():
        content_type = _TYPES.get(each.name.rpartition(".")[2])
        if content_type is not None:
            body = each.read_bytes()
            files[each.name] = File(body, content_type, hashlib.sha256(body).hexdigest()[:32])
    return files


def answer(request: web.Request, file: File, headers: Mapping[str, str]) -> web.Response:
    """Answer with a file, or with 304 where the browser has it already; it is asked for again each time."""
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", **headers}
    if any(each.value in (file.etag, "*") for each in request.if_none_match or ()):
        response = web.Response(status=304, headers=headers)
    else:
        response = web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)
    response.etag = ETag(file.etag)
    return response
