"""The environment: lines of NAME=VALUE in, settings or `SettingsError` out."""

from __future__ import annotations

from server.settings import Settings, SettingsError, load, unknown_variables

__all__ = ["take"]

_FILES = {"POSTROOM_CONFIG", "POSTROOM_KEY_FILE"}
"""They may name any file, and one that never ends."""


def take(data: bytes) -> None:
    """Load the variables as a process gets them: bytes that are no text come as halves of surrogate pairs."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    environ = {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
    for name in _FILES:
        environ.pop(name, None)
    for name, hint in unknown_variables(environ).items():
        assert name in environ
        assert not hint or hint.startswith("did you mean POSTROOM_")
    try:
        settings = load(environ=environ)
    except SettingsError as error:
        assert str(error)
        return
    assert isinstance(settings, Settings)
    assert settings.dev or settings.secret is not None or settings.jwks_url is not None
