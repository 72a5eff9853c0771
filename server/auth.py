"""Who speaks: a token in, an `Identity` or a `Refusal` out.

The algorithm comes from the key, never from the token: HS256 with the secret, RS256 or ES256 with a public key
(docs/how-to/tokens.md; RFC 8725).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import jwt

from actors.errors import ErrorCode, Refusal
from actors.identity import ROLES, Identity, is_room_name

from .jwks import KeySet
from .keys import Key
from .settings import Settings
from .trust import Trust, trust_from

__all__ = ["MAX_TOKEN_CHARS", "Authenticator", "bearer", "issue_token", "token_in_url"]

MAX_TOKEN_CHARS = 16_384
_MOST_SUBS = 128
"""Rooms that a token may have its connections join by themselves."""
_LAST_SECOND = 253_402_300_799  # of the year 9999; what is later is in milliseconds by mistake, and no date

_Reply = Callable[[Identity | Refusal], None]


class Authenticator:
    """Checks tokens with the keys that the settings name. Its methods are called on the event loop only.

    An RS256 or ES256 token with a key id (`kid`) is checked with the JWKS, where one is configured; any other
    with the key of its algorithm from the settings.

    Args:
        settings: Where the keys are, and what `aud` and `iss` must be.
        now: Unix time in seconds; what `exp` and `nbf` are held against.

    Raises:
        SettingsError: `key_file` is not a usable public key.
    """

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        self.trust = trust_from(settings)
        """What tokens are held against; `take` replaces it."""
        self._key_set = None if self.trust.jwks_url is None else KeySet(self.trust.jwks_url)
        self._now = now

    def check(self, token: str, reply: _Reply) -> None:
        """Call `reply` exactly once, on this loop, with who the token says or why it does not count.

        Within this call, unless the key has to be fetched first. Refusals are `unauthenticated`,
        `token_expired`, or `busy` while the identity provider cannot be reached; they never repeat the token.
        """
        try:
            header = _header(token)
            key_id = self._foreign_key_id(header)
            # Before a fetch, what the token says of itself: one that could not pass anyway causes none.
            identity = self._identity(token, self._own_key(header) if key_id is None else None)
        except Refusal as refusal:
            reply(refusal)
            return
        if key_id is None or self._key_set is None:
            reply(identity)
        else:
            self._key_set.find(key_id, lambda found: reply(self._judge(token, found)))

    async def identify(self, token: str) -> Identity:
        """Return who the token says.

        Raises:
            Refusal: As for `check`.
        """
        answer: asyncio.Future[Identity | Refusal] = asyncio.get_running_loop().create_future()
        self.check(token, lambda outcome: None if answer.done() else answer.set_result(outcome))
        outcome = await answer
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    def take(self, trust: Trust) -> None:
        """Hold tokens against this from now on. What the key set has fetched is forgotten, wherever it is fetched from.

        Who is connected stays so until its token ends.
        """
        moved = trust.jwks_url != self.trust.jwks_url
        self.trust = trust
        if self._key_set is not None and moved:
            self._key_set.close("the keys are fetched from elsewhere now")
        elif self._key_set is not None:
            self._key_set.forget()
        if moved:
            self._key_set = None if trust.jwks_url is None else KeySet(trust.jwks_url)

    def close(self) -> None:
        """Stop fetching keys; whoever waits for one is refused."""
        if self._key_set is not None:
            self._key_set.close()

    def _foreign_key_id(self, header: Mapping[str, object]) -> str | None:
        """Return the key id of a token that the key set is to check; None: one of our own keys is."""
        kid = header.get("kid")
        asymmetric = header.get("alg") in ("RS256", "ES256")
        if self._key_set is None or not asymmetric or (kid is None and header["alg"] in self.trust.keys):
            return None
        if not kid:
            raise _unauthenticated("names no key (kid), which the identity provider's tokens need")
        return str(kid)

    def _own_key(self, header: Mapping[str, object]) -> Key:
        key = self.trust.keys.get(str(header.get("alg")))
        if key is None:
            accepted = [*self.trust.keys, *(["RS256", "ES256"] if self._key_set is not None else [])]
            if not accepted:
                message = (
                    "this router has no key to check a token with: leave the token out (--dev asks for none), "
                    "or start the router with POSTROOM_SECRET"
                )
                raise Refusal(ErrorCode.UNAUTHENTICATED, message)
            raise _unauthenticated(f"is not signed with an algorithm accepted here ({', '.join(accepted)})")
        return key

    def _judge(self, token: str, found: Key | Refusal) -> Identity | Refusal:
        if isinstance(found, Refusal):
            return found
        try:
            return self._identity(token, found)
        except Refusal as refusal:
            return refusal

    def _identity(self, token: str, key: Key | None) -> Identity:
        """Read the claims, with `key` only after the signature has been checked; None: unchecked."""
        try:
            claims = jwt.decode(
                token,
                "" if key is None else key.material,
                algorithms=None if key is None else [key.algorithm],
                audience=self.trust.audience,
                issuer=self.trust.issuer,
                options={
                    "verify_signature": key is not None,
                    "require": ["exp", "sub"],
                    "verify_aud": self.trust.audience is not None,
                    "verify_iss": self.trust.issuer is not None,
                    "verify_sub": True,
                    # Below, with our clock, and numbers only: PyJWT also takes "1700000000".
                    "verify_exp": False,
                    "verify_nbf": False,
                    # An issuer's clock that is a second ahead is no reason to refuse (RFC 7519, 4.1.6).
                    "verify_iat": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _unauthenticated(_what_is_wrong(error)) from None
        self._check_times(claims)
        return _identity_from(claims)

    def _check_times(self, claims: Mapping[str, object]) -> None:
        now = self._now()
        if _number(claims, "exp") <= now:
            message = "the token has expired: get a new one (for a try-out: postroom token)"
            raise Refusal(ErrorCode.TOKEN_EXPIRED, message)
        if claims.get("nbf") is not None and _number(claims, "nbf") > now:
            raise _unauthenticated("is not valid yet (nbf)")


def bearer(header: str | None) -> str | None:
    """Return the token of an `Authorization: Bearer` header (RFC 6750, 2.1); None when there is no header.

    Raises:
        Refusal: The header is there and is something else.
    """
    if header is None:
        return None
    scheme, _, token = header.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or " " in token:
        raise Refusal(ErrorCode.UNAUTHENTICATED, "the Authorization header must be 'Bearer' and a token")
    return token


def token_in_url(query: Collection[str]) -> bool:
    """Tell whether a URL with these parameters has a token in it, where it ends up in logs."""
    return "token" in query or "access_token" in query


def issue_token(
    secret: str,
    user: str,
    role: str,
    rooms: Sequence[str],
    publish: Sequence[str],
    ttl_s: float,
    *,
    subs: Sequence[str] = (),
    audience: str | None = None,
    issuer: str | None = None,
) -> str:
    """Make an HS256 token that a router with the same secret accepts for `ttl_s` seconds from now.

    Args:
        secret: The router's secret, 32 bytes or more.
        user: `sub`, who it is for.
        role: One of `ROLES`.
        rooms: Patterns of rooms that may be subscribed to.
        publish: Patterns of rooms that may be published to.
        ttl_s: How long it counts, in seconds.
        subs: Rooms that its connections join by themselves, and may read.
        audience: `aud`, where the router asks for one.
        issuer: `iss`, likewise.
    """
    now = int(time.time())
    claims: dict[str, object] = {"sub": user, "role": role, "iat": now, "exp": now + math.ceil(ttl_s)}
    optional = {"rooms": list(rooms), "publish": list(publish), "subs": list(subs), "aud": audience, "iss": issuer}
    claims.update({name: value for name, value in optional.items() if value})
    return jwt.encode(claims, secret, algorithm="HS256")


def _header(token: str) -> dict[str, object]:
    if len(token) > MAX_TOKEN_CHARS:
        raise _unauthenticated(f"is longer than {MAX_TOKEN_CHARS} characters")
    if not token.isascii():
        raise _unauthenticated("is not a JSON Web Token")
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _unauthenticated("is not a JSON Web Token") from None


def _identity_from(claims: Mapping[str, object]) -> Identity:
    user = claims["sub"]
    if not isinstance(user, str) or not is_room_name(f"user:{user}"):
        raise _unauthenticated("has a subject (sub) that is empty, too long, or holds spaces, '*' or '>'")
    role = claims.get("role", "user")
    if role not in ROLES:
        raise _unauthenticated(f"has a role that is not one of {', '.join(ROLES)}")
    return Identity(
        user=user,
        role=str(role),
        rooms=_patterns(claims, "rooms"),
        publish=_patterns(claims, "publish"),
        subs=_subs(claims),
        expires_at=_number(claims, "exp"),
    )


def _patterns(claims: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = claims.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(pattern, str) for pattern in value):
        raise _unauthenticated(f"has a claim {name} that is not a list of strings")
    return tuple(value)


def _subs(claims: Mapping[str, object]) -> tuple[str, ...]:
    """Read the rooms to join: a list of names, or an object by name, as Centrifugo has it."""
    value = claims.get("subs")
    if isinstance(value, dict):
        value = list(value)
    rooms = _patterns({"subs": value}, "subs")
    if len(rooms) > _MOST_SUBS or not all(map(is_room_name, rooms)):
        raise _unauthenticated(f"has a claim subs that is not a list of up to {_MOST_SUBS} rooms")
    return rooms


def _number(claims: Mapping[str, object], name: str) -> float:
    value = claims[name]
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LAST_SECOND:
        return float(value)
    raise _unauthenticated(f"has a claim {name} that is not a time in seconds since 1970")


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.InvalidSignatureError, "has a wrong signature: it was made with another key, or changed on its way"),
    (jwt.InvalidAudienceError, "is for another audience (aud)"),
    (jwt.InvalidIssuerError, "is from another issuer (iss)"),
    (jwt.exceptions.InvalidSubjectError, "has a subject (sub) that is not a string"),
    (jwt.InvalidKeyError, "cannot be checked with this router's key"),
)


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"lacks the claim {error.claim}"
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "is not a JSON Web Token")


def _unauthenticated(what: str) -> Refusal:
    return Refusal(ErrorCode.UNAUTHENTICATED, f"the token {what}")
