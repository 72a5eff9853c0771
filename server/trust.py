"""What tokens are held against: settings in, their keys read, and what `aud` and `iss` must be."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .keys import Key, KeyFileError, key_from_pem, key_from_secret
from .settings import Settings, SettingsError

__all__ = ["Trust", "trust_from"]


class Trust(msgspec.Struct, frozen=True):
    """Whom the router believes."""

    keys: Mapping[str, Key]
    """By algorithm."""
    jwks_url: str | None
    audience: str | None
    issuer: str | None


def trust_from(settings: Settings) -> Trust:
    """Read the keys that the settings name. Blocks while it reads.

    Raises:
        SettingsError: `key_file` is not a usable public key.
    """
    keys = []
    if settings.secret is not None:
        keys.append(key_from_secret(settings.secret))
    if settings.key_file is not None:
        try:
            keys.append(key_from_pem(settings.key_file))
        except KeyFileError as error:
            raise SettingsError("key_file", str(settings.key_file), str(error)) from error
    return Trust(
        {key.algorithm: key for key in keys},
        settings.jwks_url,
        settings.audience,
        settings.issuer,
    )
