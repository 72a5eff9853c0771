"""What close codes, refused hellos and HTTP statuses mean."""

from __future__ import annotations

import pytest

from postroom_client import CommandError, ConnectionEnded, Unauthenticated
from postroom_client._closing import ending_of_close, ending_of_hello, ending_of_status
from postroom_client._wire import ErrorMessage


@pytest.mark.parametrize("code", [1003, 1007, 1009, 4009, 4400, 4401])
def test_codes_that_say_no_end_the_client(code: int):
    ending = ending_of_close(code, "", can_renew=True)
    assert isinstance(ending, ConnectionEnded)
    assert ending.code == code
    assert str(code) in str(ending)


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006, 1011, 1012, 4002, 4408, 4429, 4999])
def test_other_codes_say_to_come_back(code: int | None):
    assert ending_of_close(code, "", can_renew=False) is None


def test_an_expired_token_ends_the_client_only_where_it_cannot_be_renewed():
    assert ending_of_close(4410, "", can_renew=True) is None
    assert isinstance(ending_of_close(4410, "", can_renew=False), Unauthenticated)


def test_a_refused_hello_ends_the_client_unless_it_is_temporary():
    def ending(code: str, temporary: bool = False, can_renew: bool = True) -> Exception | None:
        return ending_of_hello(ErrorMessage(code=code, temporary=temporary), can_renew=can_renew)

    assert ending("busy", temporary=True) is None
    assert ending("token_expired") is None
    assert isinstance(ending("token_expired", can_renew=False), Unauthenticated)
    assert isinstance(ending("unauthenticated"), Unauthenticated)
    assert isinstance(ending("forbidden"), CommandError)


def test_a_refused_handshake_ends_a_client_that_never_was_connected():
    assert isinstance(ending_of_status(404, was_connected=False), ConnectionEnded)
    assert ending_of_status(404, was_connected=True) is None
    assert isinstance(ending_of_status(401, was_connected=True), Unauthenticated)
    assert "is this the WebSocket port" in str(ending_of_status(404, was_connected=False))
    assert str(ending_of_status(403, "No pages", was_connected=False)).endswith("HTTP 403: No pages")
    for status in (429, 500, 502, 503):
        assert ending_of_status(status, was_connected=False) is None
