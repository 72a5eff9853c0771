"""A token: an identity, or a refusal that does not repeat it. JSON `[header, claims]` is signed first."""

from __future__ import annotations

import base64
import hashlib
import hmac

import msgspec

from actors.errors import ErrorCode, Refusal
from actors.identity import ROLES, Identity, is_room_name
from server.auth import Authenticator
from server.settings import Settings

__all__ = ["take"]

_SECRET = "a-secret-for-tests-of-forty-characters--"
_NOW = 1_700_000_000.0
_OPEN = Authenticator(Settings(secret=_SECRET), now=lambda: _NOW)
_STRICT = Authenticator(Settings(secret=_SECRET, audience="here", issuer="us"), now=lambda: _NOW)
_CODES = (ErrorCode.UNAUTHENTICATED, ErrorCode.TOKEN_EXPIRED)


def take(data: bytes) -> None:
    """Check the token twice: with any audience and issuer, and with one of each."""
    token = data.decode("latin-1")
    try:
        header, claims = msgspec.json.decode(data, type=tuple[msgspec.Raw, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        token = _signed(bytes(header), bytes(claims))
    for authenticator in (_OPEN, _STRICT):
        answers: list[Identity | Refusal] = []
        authenticator.check(token, answers.append)
        (answer,) = answers
        if isinstance(answer, Refusal):
            assert answer.code in _CODES
            assert len(token) < 20 or token not in answer.message
        else:
            assert is_room_name(f"user:{answer.user}")
            assert answer.role in ROLES
            assert answer.expires_at is not None
            assert answer.expires_at > _NOW


def _signed(header: bytes, claims: bytes) -> str:
    signed = _base64(header) + b"." + _base64(claims)
    return (signed + b"." + _base64(hmac.digest(_SECRET.encode(), signed, hashlib.sha256))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
