"""A settings file: TOML in, settings or `SettingsError` out."""

from __future__ import annotations

import tempfile
from pathlib import Path

from server.settings import Settings, SettingsError, load

__all__ = ["take"]


def take(data: bytes) -> None:
    """Load the file; a secret is in no complaint."""
    if b"key_file" in data:  # it may name any file, and one that never ends
        return
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        try:
            settings = load(config=Path(file.name))
        except SettingsError as error:
            assert str(error)
            return
    assert isinstance(settings, Settings)
    assert settings.dev or settings.secret is not None or settings.jwks_url is not None
    assert settings.secret is None or repr(settings.secret) not in repr(settings)
