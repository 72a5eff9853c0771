"""Keys that tokens are checked with: PEM text or a JWK in, the key bound to its one algorithm out.

A key never leaves its algorithm, so a public key cannot be taken for an HMAC secret (RFC 8725, 3.1).
"""

from __future__ import annotations

from pathlib import Path

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from actors.errors import PostroomError

__all__ = ["MIN_RSA_BITS", "Key", "KeyFileError", "key_from_jwk", "key_from_pem", "key_from_secret"]

MIN_RSA_BITS = 2048
"""RFC 7518, 3.3."""


class KeyFileError(PostroomError):
    """A key file cannot be used; `str()` says why and what to do."""


class Key(msgspec.Struct, frozen=True):
    """A key and the one algorithm it may be used with. `repr` hides the key."""

    algorithm: str
    """`HS256`, `RS256` or `ES256`."""
    material: str | RSAPublicKey | EllipticCurvePublicKey

    def __repr__(self) -> str:
        return f"Key({self.algorithm})"


def key_from_secret(secret: str) -> Key:
    """Make the key of HS256 tokens."""
    return Key("HS256", secret)


def key_from_pem(path: Path) -> Key:
    """Read the public key of RS256 or ES256 tokens from a PEM file. Blocks while it reads.

    Raises:
        KeyFileError: It cannot be read, or is not such a key.
    """
    try:
        pem = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise KeyFileError(f"cannot read {path}: {reason}") from error
    if b"PRIVATE KEY" in pem:
        message = (
            f"{path} is a private key, which the router must not have. Make its public half: "
            f"openssl pkey -in {path} -pubout -out public.pem"
        )
        raise KeyFileError(message)
    try:
        return _public(load_pem_public_key(pem))
    except Exception as error:  # cryptography raises several types for bytes that are no key
        reason = str(error) if isinstance(error, _Unsuitable) else "this is not a public key in PEM form"
        message = f"{path} cannot be used: {reason}; RS256 needs RSA of {MIN_RSA_BITS} bits or more, ES256 needs P-256"
        raise KeyFileError(message) from error


def key_from_jwk(jwk: jwt.PyJWK) -> Key | None:
    """Take a key from a JWK set; None for kinds that sign no token accepted here, such as a shared secret."""
    try:
        key = _public(jwk.key)
    except _Unsuitable:
        return None
    return key if key.algorithm == jwk.algorithm_name else None


class _Unsuitable(ValueError):
    pass


def _public(key: object) -> Key:
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise _Unsuitable(f"this RSA key has {key.key_size} bits")
        return Key("RS256", key)
    if isinstance(key, EllipticCurvePublicKey):
        if not isinstance(key.curve, SECP256R1):
            raise _Unsuitable(f"this key is on the curve {key.curve.name}")
        return Key("ES256", key)
    raise _Unsuitable("this key is neither RSA nor P-256")
