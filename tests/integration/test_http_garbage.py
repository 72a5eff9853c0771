"""The HTTP API's port, and requests that no careful service sends: an answer, one log line at most, no traceback."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.app import Router

from ..conftest import running_router
from ..native_client import WAIT_S
from .services import http_service

BODY = b'{"room": "doc:1", "kind": "a.b", "data": {}}'
HOST = b"Host: 127.0.0.1\r\n"


async def answer(router: Router, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes; return status, headers and body of what comes back."""
    url = urlsplit(router.addresses.api_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        writer.write(request)
        async with asyncio.timeout(WAIT_S):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status, *headers = head.decode().split("\r\n")
    pairs = (header.partition(": ") for header in headers)
    return int(status.split()[1]), {name.lower(): value for name, _, value in pairs}, body


def post(*headers: bytes, method: bytes = b"POST", path: bytes = b"/v1/publish", body: bytes = BODY) -> bytes:
    """Make a request that is complete, and the last one on its connection."""
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([method + b" " + path + b" HTTP/1.1", length, b"Connection: close", *headers, HOST, body])


def failures(logged: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> list[object]:
    """Return what looks like a failure of the router's own in its log, and in its libraries'."""
    lines = [line for line in logged if line["log_level"] in ("error", "critical") or "exc_info" in line]
    return [*lines, *(record for record in caplog.records if record.exc_info)]


@pytest.mark.parametrize(
    ("request_bytes", "reason"),
    [
        (b"POST /v1/publish HTTP/1.1\r\nno colon\r\n\r\n", "Invalid header token"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Authorization: Bearer s3cr3t\x00\r\n\r\n", "Invalid header value char"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", "Invalid character in Content-Length"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "Duplicate Content-Length"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"X: " + b"s3cr3t" * 4_000 + b"\r\n\r\n", "Got more than"),
        (b"POST / HTTP/1.1\r\n" + HOST * 2 + b"\r\n", "Duplicate 'Host'"),
        (
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding can't be present with Content-Length",
        ),
        (b"CONNECT s3cr3t:99999999 HTTP/1.1\r\n" + HOST + b"\r\n", "Invalid URL"),
        (b"GET http://h:s3cr3t/ HTTP/1.1\r\n" + HOST + b"\r\n", "Invalid URL"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "Pause on PRI"),
    ],
)
async def test_a_broken_request_is_one_log_line_without_its_content_and_no_traceback(
    router: Router, logged: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, request_bytes: bytes, reason: str
) -> None:
    """Whatever a stranger sends is the stranger's mistake; what it holds may be a secret."""
    status, _, _ = await answer(router, request_bytes)
    assert status == 400
    (line,) = [line for line in logged if line["event"] == "request_unreadable"]
    assert line["log_level"] == "warning"
    assert line["reason"].startswith(reason)
    assert "s3cr3t" not in str(logged)
    assert failures(logged, caplog) == []
    async with http_service(router) as service:
        await service.publish(json.loads(BODY))


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"zstd", b"nonsense", b"gzip, identity", b"GZIP"])
async def test_a_content_encoding_is_refused_whatever_it_is(
    router: Router, logged: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, encoding: bytes
) -> None:
    """415 and a problem document, without a look into the body: what is not inflated is no bomb."""
    status, headers, body = await answer(router, post(b"Content-Encoding: " + encoding))
    assert (status, headers["content-type"]) == (415, "application/problem+json")
    assert json.loads(body)["code"] == "bad_message"
    assert failures(logged, caplog) == []


async def test_a_body_that_says_that_it_is_as_it_is_is_taken(router: Router) -> None:
    """The name of an encoding has no case (RFC 9110, 8.4.1)."""
    for encoding in (b"identity", b"Identity"):
        status, _, _ = await answer(router, post(b"Content-Encoding: " + encoding))
        assert status == 200


@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"GET", b"PATCH", b"OPTIONS"])
async def test_another_method_is_told_which_there_are(router: Router, method: bytes) -> None:
    """405 has `Allow` (RFC 9110, 15.5.6), and the code of what is not there."""
    status, headers, body = await answer(router, post(method=method))
    problem = json.loads(body)
    assert (status, problem["status"], problem["code"], headers["allow"]) == (405, 405, "not_found", "POST")
    assert f"{method.decode()} /v1/publish" in problem["detail"]


async def test_a_token_that_is_there_twice_is_refused(router: Router) -> None:
    """Two parties that each read another one of them could be played off against each other."""
    status, _, body = await answer(router, post(b"Authorization: Bearer a", b"Authorization: Bearer b"))
    assert (status, json.loads(body)["code"]) == (400, "bad_message")


@pytest.mark.parametrize("dev", [True, False])
async def test_a_foreign_page_may_not_call(dev: bool, token: Any) -> None:
    """A browser sends the origin with every `POST`; a program sends none, and needs its token."""
    async with running_router(dev=dev) as router:
        port = urlsplit(router.addresses.api_url).port
        bearer = b"Authorization: Bearer " + token("job", "service").encode()
        host = b"Host: 127.0.0.1:%d\r\n" % (port or 0)
        lines = [b"POST /v1/publish HTTP/1.1", b"Content-Length: %d" % len(BODY), b"Connection: close", bearer]
        for origin, expected in (
            (b"https://evil.example", 403),
            (b"http://127.0.0.1:%d.evil.example" % port, 403),
            (b"http://127.0.0.1:1", 403),
            (b"null", 403),
            (b"http://127.0.0.1:%d" % port, 200),
        ):
            status, _, body = await answer(router, b"\r\n".join([*lines, b"Origin: " + origin, host, BODY]))
            assert status == expected, (origin, body)
        status, _, _ = await answer(router, b"\r\n".join([*lines, host, BODY]))
        assert status == 200
        status, _, _ = await answer(router, b"\r\n".join([*lines[:3], host, BODY]))
        assert status == (200 if dev else 401)
