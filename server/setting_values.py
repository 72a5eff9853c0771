"""What one setting's value must be: a raw value in, the value or a complaint in plain words out, without a secret."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import inspect

__all__ = [
    "HIDDEN",
    "MAKE_SECRET",
    "MIN_SECRET_BYTES",
    "complaint",
    "convert",
    "is_loopback",
    "is_origin",
    "read_secret",
    "without_password",
]

HIDDEN = frozenset({"cluster_password", "secret"})
"""Settings whose values nobody may see."""


MIN_SECRET_BYTES = 32
"""HS256 needs a key as long as its hash (RFC 7518, 3.2)."""
MAKE_SECRET = 'export POSTROOM_SECRET=$(python3 -c "import secrets; print(secrets.token_urlsafe(32))")'
"""The shell command that every message about a missing secret names."""

_LONGEST_SECRET = 65_536

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?\Z")
_DEFAULT_PORT = re.compile(r"http://.*:80\Z|https://.*:443\Z")
_NATS_SCHEMES = ("nats", "tls", "ws", "wss")
_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_NODE = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_NAMESPACE = re.compile(r"/[A-Za-z0-9._~/-]{0,100}\Z")
_PLUGIN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*\Z")


def convert(raw: object, kind: inspect.Type, field_type: object, *, show: bool) -> object:
    """Convert `raw` (text from a flag or variable, or a value from TOML) to a setting's type.

    Args:
        raw: What was given.
        kind: The type as `msgspec.inspect` describes it, for the complaint.
        field_type: The type itself.
        show: Whether a complaint may repeat the value.

    Raises:
        ValueError: With the complaint.
    """
    try:
        value: object = msgspec.convert(raw, field_type, strict=False, dec_hook=_path)
    except msgspec.ValidationError:
        value = None
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{without_password(repr(raw)) if show else 'the value'} is not {_wanted(kind)}")
    return value


def complaint(name: str, value: object) -> str | None:
    """Say what is wrong with the value of setting `name`, beyond its type; None: nothing."""
    check = _CHECKS.get(name)
    return None if check is None else check(value)


def without_password(text: str) -> str:
    """Hide what stands before the host in URLs: a user's password, or a token; of what is no URL, all before an @."""
    if "://" not in text:
        return re.sub(r"[^\s'\"]+(?=@)", "***", text)
    return re.sub(r"(?<=://)(?:([^\s:@/]*):)?\S+(?=@)", lambda found: f"{found[1]}:***" if found[1] else "***", text)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_origin(text: str) -> bool:
    """Tell whether browsers send this as the origin of a page that they got over HTTP; it is safe in a shell, too."""
    return _ORIGIN.match(text) is not None and _DEFAULT_PORT.match(text) is None


def read_secret(path: Path) -> str:
    """Return the secret that a file holds; one line end after it is not part of it. Blocks while it reads.

    Raises:
        ValueError: With what is wrong.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_SECRET + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ValueError(f"cannot read {path}: {error.strerror if isinstance(error, OSError) else error}") from None
    if len(content) > _LONGEST_SECRET:
        raise ValueError(f"{path} has more than {_LONGEST_SECRET} bytes, which is no secret")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError(f"what {path} holds is not text in UTF-8; make another secret: {MAKE_SECRET}") from None


def _path(_type: type, raw: object) -> Path:
    if not isinstance(raw, str | Path):
        raise ValueError("not a path")
    return Path(raw)


def _wanted(kind: inspect.Type) -> str:
    match kind:
        case inspect.IntType(ge=low, le=None):
            return f"a whole number of at least {low}"
        case inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case inspect.FloatType(gt=0):
            return "a number above 0"
        case inspect.FloatType(lt=None):
            return "a number, 0 or above"
        case inspect.FloatType(lt=high):
            return f"a number from 0 to less than {high:g}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case inspect.VarTupleType(item_type=inspect.LiteralType(values=values)):
            return f"a list with nothing else in it than {', '.join(map(str, values))}"
        case inspect.VarTupleType():
            return "a list of strings"
        case _:
            return "a string"


def _check_secret(value: object) -> str | None:
    try:
        size = len(str(value).encode())
    except UnicodeEncodeError:  # bytes of a variable that are no text
        return "this is not text in UTF-8; make another one: " + MAKE_SECRET
    if size < MIN_SECRET_BYTES:
        return f"a secret of {size} bytes can be guessed; it needs {MIN_SECRET_BYTES} or more. Make one: {MAKE_SECRET}"
    if "-----BEGIN" in str(value):
        return "this is a PEM key, not a shared secret; put a public key in a file and name it in key_file"
    return None


def _check_journal(value: object) -> str | None:
    text = str(value)
    if text.strip(":").lower() == "memory" and text != "memory":
        return f"{text!r} would be a file of that name: to keep events in memory only, write `memory`"
    if not text.strip() or "\0" in text:
        return f"{text!r} is no path: name a file, like postroom-data/journal.db, or use `memory`"
    if text.endswith(("/", os.sep)):
        return f"{text!r} is a folder: name a file in it, like {text}journal.db"
    return None


def _check_jwks_url(value: object) -> str | None:
    try:
        url = urlsplit(str(value))
        host = url.hostname or ""
    except ValueError:
        return f"{value!r} is not a URL"
    if not host or not (url.scheme == "https" or (url.scheme == "http" and is_loopback(host))):
        return (
            f"{value!r} must be an https:// URL (http:// only on loopback): whoever can change the answer on "
            "its way can make tokens. A public key can be put in a file instead: key_file"
        )
    return None


def _check_origins(value: object) -> str | None:
    assert isinstance(value, tuple)
    for origin in value:
        if not is_origin(origin):
            return (
                f"{origin!r} is not an origin as browsers send it: scheme, host in lower case and a port that is "
                "not the default one, without a path; for example https://app.example.com"
            )
    return None


def _check_plugins(value: object) -> str | None:
    assert isinstance(value, tuple)
    for spec in value:
        if not _PLUGIN.match(spec):
            return f"{spec!r} is not MODULE:FUNCTION, for example my_plugin:start"
    return None


def _check_namespaces(value: object) -> str | None:
    assert isinstance(value, tuple)
    for namespace in value:
        if not _NAMESPACE.match(namespace):
            return (
                f"{namespace!r} is not a namespace: a slash, and then up to 100 letters, digits and -._~/ "
                "as they stand in a client's URL; for example /admin"
            )
    return None


def _check_cluster(value: object) -> str | None:
    assert isinstance(value, tuple)
    for text in value:
        shown = without_password(repr(text))
        try:
            url = urlsplit(text)
            fine = url.scheme in _NATS_SCHEMES and url.hostname and url.port != 0
        except ValueError:  # also of a port that is no number
            fine = False
        if not fine or not text.isprintable() or " " in text:
            return (
                f"{shown} is not the URL of a NATS server, for example nats://127.0.0.1:4222 (or tls://, ws://, wss://)"
            )
        if url.path.strip("/") and url.scheme in ("nats", "tls"):
            return f"{shown} has more than a host and a port; several servers are several URLs"
    if len({text.startswith("ws") for text in value}) > 1:
        return "some of these URLs are of WebSocket listeners (ws://, wss://) and some are not: use one kind for all"
    return None


def _check_cluster_name(value: object) -> str | None:
    return None if _CLUSTER.match(str(value)) else f"{value!r} is not up to 32 letters, digits and -_ of ASCII"


def _check_node(value: object) -> str | None:
    return None if _NODE.match(str(value)) else f"{value!r} is not up to 100 letters, digits and -._ of ASCII"


_CHECKS = {
    "cluster": _check_cluster,
    "cluster_name": _check_cluster_name,
    "node": _check_node,
    "secret": _check_secret,
    "journal": _check_journal,
    "jwks_url": _check_jwks_url,
    "origins": _check_origins,
    "plugins": _check_plugins,
    "socketio_namespaces": _check_namespaces,
}
