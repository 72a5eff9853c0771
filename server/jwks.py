"""The identity provider's keys: a key id in, its key or a refusal out, with fetches kept few and off the loop.

Only the configured URL is ever asked; nothing a token says leads anywhere else. The blocking fetch is a thread
actor's job; everything else happens on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import jwt
import msgspec
import pykka
import structlog

from actors.errors import ErrorCode, Refusal

from .keys import Key, key_from_jwk

__all__ = ["JWKS_COOLDOWN_S", "JWKS_LIFESPAN_S", "JWKS_TIMEOUT_S", "MAX_WAITING", "KeySet"]

JWKS_COOLDOWN_S = 10.0
"""Least time between two fetches, whatever unknown key ids arrive."""
JWKS_LIFESPAN_S = 300.0
"""Age at which keys are fetched again, so that one the provider withdrew stops working."""
JWKS_TIMEOUT_S = 5.0
"""How long the provider may take for an answer."""
MAX_WAITING = 1000
"""Tokens that may wait for one fetch; more are refused as `busy`."""

_Reply = Callable[[Key | Refusal], None]
_Keys = dict[str, Key]
_log = structlog.get_logger("postroom.jwks")


class KeySet:
    """The keys at one JWKS URL (RFC 7517), by key id.

    Call it on the event loop only. Nothing is fetched before the first `find`.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: _Keys = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._failed = False
        self._waiting: list[tuple[str, _Reply]] | None = None
        self._attempt = 0
        self._fetcher: pykka.ActorRef[_Fetcher] | None = None
        self._closed = False

    def find(self, kid: str, reply: _Reply) -> None:
        """Call `reply` once with the key called `kid`, or with a refusal.

        At once when the key is known and fresh, or when no fetch is due; otherwise on this loop, after a fetch.
        Keys that are known outlive a provider that does not answer.
        """
        if self._closed:
            reply(_busy("the router is stopping"))
            return
        now = self._clock()
        known = kid in self._keys
        fresh = now < self._fetched_at + JWKS_LIFESPAN_S
        if known and fresh:
            reply(self._keys[kid])
            return
        if self._waiting is None and now >= self._tried_at + JWKS_COOLDOWN_S:
            self._fetch(now)
        if self._waiting is None or (known and self._failed):
            reply(self._outcome(kid))
        elif len(self._waiting) >= MAX_WAITING:
            reply(_busy("too many tokens wait for the identity provider's keys"))
        else:
            self._waiting.append((kid, reply))

    def forget(self) -> None:
        """Know no key any more: they are fetched anew for the next token, and for those that wait for a fetch now."""
        self._keys = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._failed = False
        if self._waiting is not None:
            waiting = self._waiting
            self._fetch(self._clock())
            self._waiting = waiting

    def close(self, reason: str = "the router is stopping") -> None:
        """Refuse who is waiting and stop the fetching thread, without waiting for it."""
        self._closed = True
        if self._fetcher is not None:
            self._fetcher.stop(block=False)
        self._answer(lambda kid: _busy(reason))

    def _fetch(self, now: float) -> None:
        loop = asyncio.get_running_loop()
        if self._fetcher is None:
            self._fetcher = _Fetcher.start(self._url)
        self._tried_at = now
        self._waiting = []
        self._attempt += 1
        attempt = self._attempt

        def deliver(result: _Keys | str) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._fetched, attempt, result)

        self._fetcher.tell(_Fetch(deliver))
        # The time-out of a socket is per read: an answer that drips in needs a bound of its own.
        loop.call_later(2 * JWKS_TIMEOUT_S, self._fetched, attempt, "no complete answer in time")

    def _fetched(self, attempt: int, result: _Keys | str) -> None:
        if attempt != self._attempt or self._waiting is None:
            return
        self._failed = isinstance(result, str)
        if isinstance(result, str):
            _log.warning("jwks_fetch_failed", url=self._url, reason=result, keys_kept=len(self._keys))
        else:
            self._keys = result
            self._fetched_at = self._clock()
            _log.info("jwks_fetched", url=self._url, keys=len(result))
        self._answer(self._outcome)

    def _answer(self, outcome: Callable[[str], Key | Refusal]) -> None:
        waiting, self._waiting = self._waiting or [], None
        for kid, reply in waiting:
            # Each in a turn of its own: one that fails must not keep the others waiting.
            asyncio.get_running_loop().call_soon(reply, outcome(kid))

    def _outcome(self, kid: str) -> Key | Refusal:
        if kid in self._keys:
            return self._keys[kid]
        if self._failed:
            return _busy("the identity provider's keys cannot be fetched now")
        message = "the token is signed with a key (kid) that the identity provider does not publish: get a new token"
        return Refusal(ErrorCode.UNAUTHENTICATED, message)


def _busy(reason: str) -> Refusal:
    return Refusal(ErrorCode.BUSY, f"{reason}: try again later", retry_after_ms=round(JWKS_COOLDOWN_S * 1000))


class _Fetch(msgspec.Struct, frozen=True):
    deliver: Callable[[_Keys | str], None]
    """Called on the actor's thread with the keys, or with the reason why there are none."""


class _Fetcher(pykka.ThreadingActor):
    """Fetches the key set, one request at a time, on its own thread."""

    use_daemon_thread = True  # it may be inside a read when the process wants to end

    def __init__(self, url: str) -> None:
        super().__init__()
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=JWKS_TIMEOUT_S)

    def on_receive(self, message: _Fetch) -> None:
        try:
            found = {jwk.key_id: key_from_jwk(jwk) for jwk in self._client.get_signing_keys()}
        except Exception as error:  # whatever the network or the answer does, the waiting must hear of it
            message.deliver(f"{type(error).__name__}: {error}")
            return
        message.deliver({kid: key for kid, key in found.items() if kid is not None and key is not None})
