"""Tokens: which count, which do not and why, and what a token can never make the router do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.errors import ErrorCode, Refusal
from actors.identity import Identity
from server import jwks
from server.auth import MAX_TOKEN_CHARS, Authenticator, bearer, issue_token
from server.jwks import JWKS_COOLDOWN_S, JWKS_LIFESPAN_S, KeySet
from server.keys import Key
from server.settings import Settings, SettingsError
from server.trust import trust_from

SECRET = "0123456789abcdef" * 4
RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
NOW = 1_700_000_000

HMAC = Authenticator(Settings(secret=SECRET), now=lambda: NOW)


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def claims(**changes: object) -> dict[str, object]:
    """Claims that count; a change to None leaves the claim out."""
    merged = {"sub": "ada", "exp": NOW + 60, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def signed(**changes: object) -> str:
    return jwt.encode(claims(**changes), SECRET, algorithm="HS256")


def raw_token(header: object, payload: object, signature: bytes = b"") -> str:
    """A token that no library would make."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def outcome(authenticator: Authenticator, token: str) -> Identity | Refusal:
    """What `check` says, within the call and once."""
    answers: list[Identity | Refusal] = []
    authenticator.check(token, answers.append)
    assert len(answers) == 1
    return answers[0]


def refused(authenticator: Authenticator, token: str) -> Refusal:
    answer = outcome(authenticator, token)
    assert isinstance(answer, Refusal), answer
    assert len(token) < 20 or token not in answer.message
    return answer


def accepted(authenticator: Authenticator, token: str) -> Identity:
    answer = outcome(authenticator, token)
    assert isinstance(answer, Identity), answer
    return answer


def key_file(folder: Path, content: bytes) -> Path:
    path = folder / "public.pem"
    path.write_bytes(content)
    return path


# --- claims


def test_a_token_says_who_speaks_and_what_they_may_do() -> None:
    """Every claim has its place in the identity."""
    token = signed(role="service", rooms=["session:*"], publish=["job:1"])
    assert accepted(HMAC, token) == Identity("ada", "service", ("session:*",), ("job:1",), float(NOW + 60))


@pytest.mark.parametrize("subs", [["team:1", "doc:2"], {"team:1": {}, "doc:2": {"data": 1}}])
def test_a_token_may_name_the_rooms_to_join(subs: object) -> None:
    """As a list, or by room."""
    assert accepted(HMAC, signed(subs=subs)).subs == ("team:1", "doc:2")


def test_the_role_is_user_unless_the_token_says_otherwise() -> None:
    """The role with the fewest rights."""
    assert accepted(HMAC, signed()) == Identity("ada", expires_at=float(NOW + 60))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": None}, "lacks the claim exp"),
        ({"exp": str(NOW + 60)}, "claim exp that is not a time"),
        ({"exp": True}, "claim exp that is not a time"),
        ({"exp": [NOW + 60]}, "claim exp that is not a time"),
        ({"exp": float("inf")}, "claim exp that is not a time"),
        ({"exp": float("nan")}, "claim exp that is not a time"),
        ({"exp": 10**400}, "claim exp that is not a time"),
        ({"nbf": NOW + 1}, "not valid yet"),
        ({"nbf": "soon"}, "claim nbf that is not a time"),
        ({"sub": None}, "lacks the claim sub"),
        ({"sub": 17}, "subject (sub) that is not a string"),
        ({"sub": ""}, "subject (sub)"),
        ({"sub": "*"}, "subject (sub)"),
        ({"sub": "a b"}, "subject (sub)"),
        ({"sub": "a\n"}, "subject (sub)"),
        ({"sub": "x" * 201}, "subject (sub)"),
        ({"subs": "team:1"}, "claim subs that is not a list"),
        ({"subs": ["team:*"]}, "claim subs that is not a list of up to 128 rooms"),
        ({"subs": {"team": {}}}, "claim subs that is not a list of up to 128 rooms"),
        ({"subs": [7]}, "claim subs that is not a list"),
        ({"subs": [f"team:{number}" for number in range(129)]}, "claim subs that is not a list of up to 128 rooms"),
        ({"role": "root"}, "not one of user, admin, service"),
        ({"role": ["admin"]}, "not one of user, admin, service"),
        ({"rooms": "*"}, "rooms that is not a list of strings"),
        ({"rooms": [1]}, "rooms that is not a list of strings"),
        ({"publish": {"*": 1}}, "publish that is not a list of strings"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused_and_told_which(changes: dict[str, object], words: str) -> None:
    """The message names the claim and never repeats the token."""
    refusal = refused(HMAC, signed(**changes))
    assert refusal.code is ErrorCode.UNAUTHENTICATED
    assert words in refusal.message


@pytest.mark.parametrize("exp", [NOW, NOW - 1, NOW - 0.5, 0, -5])
def test_an_expired_token_is_told_apart(exp: float) -> None:
    """A client with this answer fetches a new token; there is no leeway."""
    assert refused(HMAC, signed(exp=exp)).code is ErrorCode.TOKEN_EXPIRED


def test_a_token_counts_until_its_last_moment() -> None:
    """And a clock of the issuer's that is ahead does no harm to `iat`."""
    assert accepted(HMAC, signed(exp=NOW + 0.5, iat=NOW + 30, nbf=NOW)).expires_at == NOW + 0.5


def test_audience_and_issuer_are_checked_where_configured() -> None:
    """Missing is as wrong as different."""
    strict = Authenticator(Settings(secret=SECRET, audience="postroom", issuer="https://id"), now=lambda: NOW)
    assert accepted(strict, signed(aud="postroom", iss="https://id")).user == "ada"
    assert accepted(strict, signed(aud=["other", "postroom"], iss="https://id")).user == "ada"
    assert "audience" in refused(strict, signed(aud="other", iss="https://id")).message
    assert "aud" in refused(strict, signed(iss="https://id")).message
    assert "issuer" in refused(strict, signed(aud="postroom", iss="https://evil")).message
    assert "iss" in refused(strict, signed(aud="postroom")).message


def test_audience_and_issuer_do_not_matter_where_not_configured() -> None:
    """PyJWT alone would refuse an audience that nobody asked for."""
    assert accepted(HMAC, signed(aud="anyone", iss="https://anywhere")).user == "ada"


# --- signatures


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS384", "HS512", "PS256", "EdDSA", "", None, 5])
def test_only_the_algorithm_of_the_key_counts(alg: object) -> None:
    """Whatever the token says of itself."""
    token = raw_token({"alg": alg, "typ": "JWT"}, claims())
    assert refused(HMAC, token).code is ErrorCode.UNAUTHENTICATED


def test_hs384_with_the_right_secret_is_refused_all_the_same() -> None:
    """One key, one algorithm."""
    assert "HS256" in refused(HMAC, jwt.encode(claims(), SECRET, algorithm="HS384")).message


def test_a_token_of_another_secret_is_refused() -> None:
    """The message says that the signature is what is wrong."""
    assert "signature" in refused(HMAC, jwt.encode(claims(), "x" * 64, algorithm="HS256")).message


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a refusal takes tells nobody how much of a guessed signature was right (RFC 8725, 3.2)."""
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watched(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    good = signed()
    for token in (good, good[:-4] + "AAAA", jwt.encode(claims(), "x" * 64, algorithm="HS256")):
        outcome(HMAC, token)
    assert compared == [(32, 32)] * 3, "whole SHA-256 sums, each time"


def test_a_public_key_never_serves_as_an_hmac_secret(tmp_path: Path) -> None:
    """The swap that gave algorithm confusion its name, with and without a secret configured."""
    path = key_file(tmp_path, public_pem(RSA_KEY))
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT"}, claims())
    ]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        b".".join(encoded), public_pem(RSA_KEY)
    )
    forged = b".".join([*encoded, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
    for secret in (None, SECRET):
        both = Authenticator(Settings(secret=secret, key_file=path), now=lambda: NOW)
        assert refused(both, forged).code is ErrorCode.UNAUTHENTICATED


def test_a_secret_never_serves_as_a_public_key() -> None:
    """RS256 on a router that only has a secret."""
    assert "HS256" in refused(HMAC, jwt.encode(claims(), RSA_KEY, algorithm="RS256")).message


def test_several_keys_each_take_the_tokens_of_their_algorithm(tmp_path: Path) -> None:
    """A secret for services next to a provider's public key."""
    both = Authenticator(Settings(secret=SECRET, key_file=key_file(tmp_path, public_pem(RSA_KEY))), now=lambda: NOW)
    assert accepted(both, signed()).user == "ada"
    assert accepted(both, jwt.encode(claims(), RSA_KEY, algorithm="RS256")).user == "ada"
    assert "signature" in refused(both, jwt.encode(claims(), OTHER_RSA_KEY, algorithm="RS256")).message
    assert refused(both, jwt.encode(claims(), EC_KEY, algorithm="ES256")).code is ErrorCode.UNAUTHENTICATED
    assert refused(both, jwt.encode(claims(), RSA_KEY, algorithm="PS256")).code is ErrorCode.UNAUTHENTICATED


def test_a_p256_key_file_takes_es256(tmp_path: Path) -> None:
    """The key's type decides."""
    authenticator = Authenticator(Settings(key_file=key_file(tmp_path, public_pem(EC_KEY))), now=lambda: NOW)
    token = jwt.encode(claims(), EC_KEY, algorithm="ES256", headers={"kid": "any"})
    assert accepted(authenticator, token).user == "ada"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (private_pem(RSA_KEY), "openssl pkey"),
        (b"not a key", "not a public key in PEM form"),
        (b"", "not a public key in PEM form"),
        (public_pem(ec.generate_private_key(ec.SECP384R1())), "secp384r1"),
        (public_pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path, content: bytes, words: str) -> None:
    """Not when the first client comes."""
    with pytest.raises(SettingsError) as caught:
        Authenticator(Settings(key_file=key_file(tmp_path, content)))
    assert caught.value.setting == "key_file"
    assert words in str(caught.value)


def test_a_key_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """With the path."""
    with pytest.raises(SettingsError, match=r"none\.pem.*No such file"):
        Authenticator(Settings(key_file=tmp_path / "none.pem"))


def test_a_router_without_keys_says_so() -> None:
    """Under `--dev` a token is not needed, and there may be nothing to check one with."""
    message = refused(Authenticator(Settings(dev=True)), signed()).message
    assert "--dev" in message
    assert "POSTROOM_SECRET" in message


# --- garbage


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "eyJhbGciOiJIUzI1NiJ9",
        "ä.ä.ä",
        "\ud800.x.y",
        "x" * (MAX_TOKEN_CHARS + 1),
        raw_token({"alg": "HS256"}, [1]),
        raw_token("HS256", claims()),
        raw_token({"alg": "HS256", "crit": ["x"]}, claims()),
        raw_token({"alg": "HS256", "b64": False, "crit": ["b64"]}, claims()),
        raw_token({"alg": "HS256", "kid": 7}, claims()),
        base64.urlsafe_b64encode(b"[" * 8000).decode() + ".e30.e30",
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    """Whatever it is instead."""
    assert refused(HMAC, token).code is ErrorCode.UNAUTHENTICATED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "role", "rooms", "publish", "jti"])
headers = st.fixed_dictionaries(
    {"alg": st.sampled_from(["none", "HS256", "RS256", "ES256"]) | json_values},
    optional={name: json_values for name in ("kid", "typ", "crit", "b64", "jku", "jwk", "x5u")},
)


@given(st.text(max_size=200) | st.from_regex(r"eyJ[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}"))
def test_no_text_gets_in(text: str) -> None:
    """Or raises, or is answered twice."""
    refused(HMAC, text)


@given(headers, st.dictionaries(names, json_values), st.binary(max_size=40))
def test_no_unsigned_token_gets_in(header: object, payload: object, signature: bytes) -> None:
    """Whatever its header and claims are."""
    refused(HMAC, raw_token(header, payload, signature))


@given(st.dictionaries(names, json_values))
def test_signed_nonsense_gets_in_only_as_a_valid_identity(changes: dict[str, object]) -> None:
    """An issuer's bug must not become a crash."""
    # Not jwt.encode: it checks some claims itself.
    token = jwt.api_jws.encode(json.dumps({**claims(), **changes}).encode(), SECRET, algorithm="HS256")
    answer = outcome(HMAC, token)
    if isinstance(answer, Identity):
        assert answer.expires_at is not None
        assert answer.expires_at > NOW
        assert all(isinstance(pattern, str) for pattern in answer.rooms + answer.publish)


# --- keys from an identity provider


class QuietServer(ThreadingHTTPServer):
    """It waits for its threads, and says nothing of clients that went away."""

    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Provider:
    """A real HTTP server with a key set; it remembers who asked for what."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.body: bytes = b""
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.asked = threading.Event()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests.append(self.path)
                body = provider.body
                provider.asked.set()
                provider.hold.wait(10)
                self.send_response(provider.status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def publish(self, **keys: object) -> None:
        self.body = json.dumps({"keys": [as_jwk(kid, key) for kid, key in keys.items()]}).encode()

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


def as_jwk(kid: str, key: object) -> dict[str, object]:
    if isinstance(key, dict):
        return {"kid": kid, **key}
    if isinstance(key, rsa.RSAPrivateKey):
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    else:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return {**jwk, "kid": kid, "use": "sig"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    server.publish(one=RSA_KEY, two=EC_KEY)
    yield server
    server.close()


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextlib.contextmanager
def checking(
    provider: Provider, clock: Callable[[], float] = time.monotonic, **more: object
) -> Iterator[Authenticator]:
    values = {"jwks_url": provider.url, **more}
    authenticator = Authenticator(Settings(**values), now=lambda: NOW)  # type: ignore[arg-type]  # names from the test
    assert authenticator._key_set is not None
    authenticator._key_set._clock = clock
    try:
        yield authenticator
    finally:
        authenticator.close()


def foreign(kid: str | None = "one", key: object = RSA_KEY, **changes: object) -> str:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)  # type: ignore[arg-type]  # a key


async def refusal_of(authenticator: Authenticator, token: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await authenticator.identify(token)
    return caught.value


async def test_the_first_token_fetches_the_keys_and_the_next_ones_do_not(provider: Provider) -> None:
    """Both key types, one request."""
    with checking(provider) as authenticator:
        assert (await authenticator.identify(foreign())).user == "ada"
        assert accepted(authenticator, foreign("two", EC_KEY)).user == "ada"
        assert accepted(authenticator, foreign(sub="eve")).user == "eve"
    assert provider.requests == ["/jwks.json"]


async def test_tokens_that_come_during_a_fetch_share_it_and_are_each_answered_once(
    provider: Provider,
) -> None:
    """On the loop's own thread."""
    provider.hold.clear()
    answers: list[tuple[str, int]] = []
    done = asyncio.Event()

    def note(answer: Identity | Refusal) -> None:
        answers.append((answer.user if isinstance(answer, Identity) else answer.code, threading.get_ident()))
        if len(answers) == 20:
            done.set()

    with checking(provider) as authenticator:
        for number in range(20):
            authenticator.check(foreign("one" if number else "unknown", sub=f"u{number}"), note)
        assert answers == []
        provider.hold.set()
        async with asyncio.timeout(5):
            await done.wait()
    assert [name for name, _ in answers] == ["unauthenticated", *(f"u{number}" for number in range(1, 20))]
    assert {thread for _, thread in answers} == {threading.get_ident()}
    assert len(provider.requests) == 1


async def test_an_unknown_key_id_causes_at_most_one_fetch_in_ten_seconds(provider: Provider) -> None:
    """And a key that the provider added since then is found by the next one."""
    clock = Time()
    with checking(provider, clock) as authenticator:
        await authenticator.identify(foreign())
        for number in range(50):
            assert "kid" in refused(authenticator, foreign(f"unknown-{number}")).message
        assert len(provider.requests) == 1
        provider.publish(one=RSA_KEY, new=OTHER_RSA_KEY)
        clock.now += JWKS_COOLDOWN_S
        assert (await authenticator.identify(foreign("new", OTHER_RSA_KEY))).user == "ada"
        assert len(provider.requests) == 2


async def test_a_key_that_the_provider_withdrew_stops_working(provider: Provider) -> None:
    """After the keys' lifespan, at the first token."""
    clock = Time()
    with checking(provider, clock) as authenticator:
        await authenticator.identify(foreign())
        provider.publish(two=EC_KEY)
        clock.now += JWKS_LIFESPAN_S
        assert (await refusal_of(authenticator, foreign())).code is ErrorCode.UNAUTHENTICATED


async def test_known_keys_outlive_a_provider_that_is_down(provider: Provider) -> None:
    """Only unknown ones are refused, and as `busy`: the token may be good."""
    clock = Time()
    with checking(provider, clock) as authenticator:
        await authenticator.identify(foreign())
        provider.status = 500
        clock.now += JWKS_LIFESPAN_S
        assert (await authenticator.identify(foreign())).user == "ada"
        assert accepted(authenticator, foreign()).user == "ada"
        refusal = refused(authenticator, foreign("unknown"))
        assert (refusal.code, refusal.retry_after_ms) == (ErrorCode.BUSY, 10_000)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"keys": 1}', b'{"keys": []}', b"\xff", b"[" * 100_000]
)
async def test_an_answer_that_is_no_key_set_is_no_crash(provider: Provider, body: bytes) -> None:
    """The token's owner is told to come back."""
    provider.body = body
    with checking(provider) as authenticator:
        assert (await refusal_of(authenticator, foreign())).code is ErrorCode.BUSY


async def test_a_provider_that_never_finishes_is_given_up(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever."""
    monkeypatch.setattr(jwks, "JWKS_TIMEOUT_S", 0.05)
    provider.hold.clear()
    with checking(provider) as authenticator:
        async with asyncio.timeout(5):
            assert (await refusal_of(authenticator, foreign())).code is ErrorCode.BUSY


async def test_more_tokens_than_may_wait_are_refused_at_once(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue has a bound."""
    monkeypatch.setattr(jwks, "MAX_WAITING", 1)
    provider.hold.clear()
    with checking(provider) as authenticator:
        first = asyncio.ensure_future(authenticator.identify(foreign()))
        await asyncio.sleep(0)
        assert refused(authenticator, foreign()).code is ErrorCode.BUSY
        provider.hold.set()
        assert (await first).user == "ada"


async def test_closing_refuses_who_waits(provider: Provider) -> None:
    """And who comes after; the fetch that is under way is not waited for."""
    provider.hold.clear()
    with checking(provider) as authenticator:
        waiting = asyncio.ensure_future(authenticator.identify(foreign()))
        await asyncio.sleep(0)
        authenticator.close()
        with pytest.raises(Refusal, match="stopping"):
            await waiting
        assert refused(authenticator, foreign()).code is ErrorCode.BUSY


async def test_a_caller_that_gave_up_does_not_disturb_the_others(provider: Provider) -> None:
    """A cancelled HTTP request, say."""
    provider.hold.clear()
    with checking(provider) as authenticator:
        gone = asyncio.ensure_future(authenticator.identify(foreign()))
        stays = asyncio.ensure_future(authenticator.identify(foreign()))
        await asyncio.sleep(0)
        gone.cancel()
        provider.hold.set()
        assert (await stays).user == "ada"


async def test_a_forged_issuer_never_causes_a_fetch(provider: Provider) -> None:
    """Neither from the place that the token names nor from the configured one."""
    evil = Provider()
    try:
        place = f"http://127.0.0.1:{evil.server.server_port}"
        evil.publish(one=OTHER_RSA_KEY)
        with checking(provider, issuer="https://id.example") as authenticator:
            for headers in ({"kid": "one", "jku": f"{place}/jwks.json"}, {"kid": place, "x5u": place}):
                token = jwt.encode(claims(iss=place), OTHER_RSA_KEY, algorithm="RS256", headers=headers)
                assert "issuer" in refused(authenticator, token).message
            assert provider.requests == []
            true_issuer = claims(iss="https://id.example")
            headers = {"kid": "one", "jku": f"{place}/jwks.json"}
            token = jwt.encode(true_issuer, OTHER_RSA_KEY, algorithm="RS256", headers=headers)
            assert "signature" in (await refusal_of(authenticator, token)).message
        assert evil.requests == []
    finally:
        evil.close()


@pytest.mark.parametrize("changes", [{"exp": NOW - 1}, {"exp": None}, {"sub": None}, {"role": "root"}])
async def test_a_token_that_cannot_pass_causes_no_fetch(provider: Provider, changes: dict[str, object]) -> None:
    """Its own words are enough to refuse it."""
    with checking(provider) as authenticator:
        refused(authenticator, foreign(**changes))  # type: ignore[arg-type]  # claims from the table
    assert provider.requests == []


async def test_a_provider_that_redirects_is_not_followed(provider: Provider) -> None:
    """The configured URL and no other is asked."""
    provider.status = 302
    with checking(provider) as authenticator:
        assert (await refusal_of(authenticator, foreign())).code is ErrorCode.BUSY
    assert provider.requests == ["/jwks.json"]


async def test_a_key_set_brings_public_keys_only(provider: Provider) -> None:
    """A shared secret in it, or a key for another algorithm, opens nothing."""
    k = base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")
    wide = {**as_jwk("wide", RSA_KEY), "alg": "RS512"}
    provider.publish(one=RSA_KEY, shared={"kty": "oct", "k": k, "alg": "HS256"}, wide=wide)
    with checking(provider) as authenticator:
        hs = jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "shared"})
        assert "RS256, ES256" in refused(authenticator, hs).message
        assert (await refusal_of(authenticator, foreign("wide"))).code is ErrorCode.UNAUTHENTICATED
        assert (await authenticator.identify(foreign())).user == "ada"


async def test_a_key_is_used_with_its_own_algorithm_only(provider: Provider) -> None:
    """A token that says ES256 and names the RSA key."""
    with checking(provider) as authenticator:
        assert (await refusal_of(authenticator, foreign("one", EC_KEY))).code is ErrorCode.UNAUTHENTICATED


async def test_a_token_without_a_key_id_is_for_the_key_file(provider: Provider, tmp_path: Path) -> None:
    """With both configured, the key id decides; without a key file it is needed."""
    with checking(provider, key_file=key_file(tmp_path, public_pem(OTHER_RSA_KEY))) as authenticator:
        assert accepted(authenticator, foreign(None, OTHER_RSA_KEY)).user == "ada"
        assert (await authenticator.identify(foreign())).user == "ada"
        assert (await refusal_of(authenticator, foreign("one", OTHER_RSA_KEY))).code == "unauthenticated"
    with checking(provider) as authenticator:
        assert "names no key" in refused(authenticator, foreign(None)).message


async def test_nobody_listens_at_the_key_url() -> None:
    """A provider that is down when the router starts."""
    authenticator = Authenticator(Settings(jwks_url="http://127.0.0.1:9/jwks"), now=lambda: NOW)
    assert (await refusal_of(authenticator, foreign())).code is ErrorCode.BUSY
    authenticator.close()


# --- taking other keys while it runs


def test_another_secret_audience_and_issuer_count_at_once() -> None:
    """What was good before is refused from then on."""
    authenticator = Authenticator(Settings(secret=SECRET), now=lambda: NOW)
    old = signed()
    assert accepted(authenticator, old).user == "ada"
    other = SECRET[::-1]
    authenticator.take(trust_from(Settings(secret=other, audience="postroom", issuer="https://id")))
    assert "signature" in refused(authenticator, old).message
    assert "aud" in refused(authenticator, jwt.encode(claims(iss="https://id"), other, "HS256")).message
    good = jwt.encode(claims(iss="https://id", aud="postroom"), other, "HS256")
    assert accepted(authenticator, good).user == "ada"


async def test_keys_that_were_fetched_are_forgotten_and_fetched_at_once(provider: Provider) -> None:
    """A key that the provider withdrew opens nothing any more, however soon after the last fetch."""
    with checking(provider) as authenticator:
        assert (await authenticator.identify(foreign())).user == "ada"
        provider.publish(two=EC_KEY)
        authenticator.take(authenticator.trust)
        assert (await refusal_of(authenticator, foreign())).code is ErrorCode.UNAUTHENTICATED
        assert (await authenticator.identify(foreign("two", EC_KEY))).user == "ada"
    assert len(provider.requests) == 2


async def test_who_waits_for_keys_when_they_are_forgotten_waits_for_the_new_ones(provider: Provider) -> None:
    """What was on its way may be from before."""
    provider.hold.clear()
    with checking(provider) as authenticator:
        waiting = asyncio.ensure_future(authenticator.identify(foreign("three", OTHER_RSA_KEY)))
        await asyncio.to_thread(provider.asked.wait, 5)
        provider.publish(three=OTHER_RSA_KEY)
        authenticator.take(authenticator.trust)
        provider.hold.set()
        assert (await waiting).user == "ada"


async def test_keys_can_come_from_elsewhere_or_from_nowhere(provider: Provider) -> None:
    """Who waits for the old place may try again."""
    provider.hold.clear()
    other = Provider()
    try:
        other.publish(one=OTHER_RSA_KEY)
        with checking(provider) as authenticator:
            waiting = asyncio.ensure_future(authenticator.identify(foreign()))
            await asyncio.sleep(0)
            authenticator.take(trust_from(Settings(jwks_url=other.url)))
            with pytest.raises(Refusal) as caught:
                await waiting
            assert caught.value.code is ErrorCode.BUSY
            assert (await authenticator.identify(foreign("one", OTHER_RSA_KEY))).user == "ada"
            assert (await refusal_of(authenticator, foreign())).code is ErrorCode.UNAUTHENTICATED
            authenticator.take(trust_from(Settings(secret=SECRET)))
            assert "HS256" in refused(authenticator, foreign("one", OTHER_RSA_KEY)).message
            assert accepted(authenticator, signed()).user == "ada"
    finally:
        provider.hold.set()
        other.close()


async def test_a_reply_that_fails_keeps_nobody_else_waiting(provider: Provider) -> None:
    """Each is called in a turn of its own."""
    provider.hold.clear()
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    second: asyncio.Future[Key | Refusal] = asyncio.get_running_loop().create_future()
    keys = KeySet(provider.url)
    keys.find("one", lambda _: 1 / 0)  # type: ignore[arg-type]  # it never returns
    keys.find("one", second.set_result)
    provider.hold.set()
    assert isinstance(await second, Key)
    assert len(failures) == 1
    keys.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(headers, st.dictionaries(names, json_values), st.binary(max_size=40))
def test_no_unsigned_token_gets_past_a_key_set(header: object, payload: object, signature: bytes) -> None:
    """Every kind of key configured at once."""

    async def run() -> None:
        authenticator = Authenticator(Settings(secret=SECRET, jwks_url="http://127.0.0.1:9/jwks"), now=lambda: NOW)
        await refusal_of(authenticator, raw_token(header, payload, signature))
        authenticator.close()

    asyncio.run(run())


# --- making tokens, and the header that carries them


async def test_an_issued_token_counts_until_its_time_is_over() -> None:
    """`postroom token` and the router agree, on every claim that can be asked for."""
    config = Settings(secret=SECRET, audience="postroom", issuer="https://id")
    token = issue_token(
        SECRET,
        "ada",
        "service",
        ["session:*"],
        ["job:1"],
        60,
        subs=["team:blue"],
        audience="postroom",
        issuer="https://id",
    )
    identity = await Authenticator(config).identify(token)
    assert identity.expires_at is not None
    assert abs(identity.expires_at - time.time() - 60) < 5
    assert (identity.user, identity.role) == ("ada", "service")
    assert (identity.rooms, identity.publish) == (("session:*",), ("job:1",))
    assert identity.subs == ("team:blue",)
    later = Authenticator(config, now=lambda: time.time() + 61)
    assert (await refusal_of(later, token)).code is ErrorCode.TOKEN_EXPIRED


@pytest.mark.parametrize("header", ["Bearer abc.d-_.e", "bearer abc.d-_.e", "  BEARER   abc.d-_.e "])
def test_the_bearer_header_carries_the_token(header: str) -> None:
    """The scheme's case does not matter."""
    assert bearer(header) == "abc.d-_.e"


def test_no_header_is_no_token() -> None:
    """What that means is decided elsewhere."""
    assert bearer(None) is None


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "abc.d.e", "Bearer a b"])
def test_another_header_is_refused(header: str) -> None:
    """Rather than taken for none: under `--dev` none may do everything."""
    with pytest.raises(Refusal, match="Bearer") as caught:
        bearer(header)
    assert caught.value.code is ErrorCode.UNAUTHENTICATED
