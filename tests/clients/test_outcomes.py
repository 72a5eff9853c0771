"""What answers to `POST /v1/publish` mean, without HTTP."""

from __future__ import annotations

import email.utils
import json
import time

import pytest

from postroom_client import CommandError, Receipt
from postroom_client._outcomes import read_answer, retry_after_s


def test_every_item_of_a_batch_has_its_own_outcome_in_order():
    receipt = {"room": "r:1", "epoch": "e", "offset": 4, "event_id": "x", "duplicate": True}
    error = {"code": "session_ended", "message": "over", "temporary": False}
    busy = {"code": "busy", "message": "later", "temporary": True, "retry_after_ms": 50}
    body = json.dumps({"results": [receipt, {"error": error}, {"error": busy}]}).encode()
    outcomes = read_answer(200, None, body, 3).outcomes
    assert outcomes is not None
    assert outcomes[0] == Receipt("r:1", "e", 4, "x", True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, CommandError)]
    assert [each.args for each in refused] == [
        ("session_ended", "over", False, None),
        ("busy", "later", True, 50),
    ]


@pytest.mark.parametrize(
    ("status", "body", "code", "temporary"),
    [
        (400, {"code": "invalid_event", "detail": "wrong", "temporary": False}, "invalid_event", False),
        (403, {"code": "forbidden", "title": "wrong"}, "forbidden", False),
        (429, {}, "http_429", True),
        (500, "<html>", "http_500", True),
        (302, "", "http_302", False),
        (200, "<html>", "http_200", True),
        (503, {"code": "busy", "temporary": False}, "busy", True),
        (502, b'{"detail": "erreur \xe0 la passerelle"}', "http_502", True),
        (200, b'{"results": ' + b"[" * 100_000, "http_200", True),
    ],
)
def test_a_whole_answer_is_refused_for_now_or_for_good(status: int, body: object, code: str, temporary: bool):
    raw = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
    error = read_answer(status, None, raw, 1).error
    assert error is not None
    assert (error.code, error.temporary) == (code, temporary)


def test_a_wrong_number_of_results_is_no_answer():
    error = read_answer(200, None, b'{"results": []}', 1).error
    assert error is not None
    assert error.temporary


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("99999", 300),
        ("nan", 0),
        ("soon", 0),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", 0),
        ("Mon, 01 Jan 2000 00:00:00 +99999999999999999999", 0),
    ],
)
def test_retry_after_is_read_in_seconds(header: str | None, seconds: float):
    assert retry_after_s(header) == seconds


def test_retry_after_is_read_as_a_date():
    assert 50 < retry_after_s(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 60
