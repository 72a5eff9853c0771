"""Files that a connection to NATS is made with: one in, what is wrong with it in plain words out."""

from __future__ import annotations

import ssl
from pathlib import Path

__all__ = ["complaint_of_file"]

_CREDENTIALS = (b"-----BEGIN NATS USER JWT-----", b"-----BEGIN USER NKEY SEED-----")
_MOST_BYTES = 1024 * 1024


def complaint_of_file(setting: str, path: Path) -> str | None:
    """Say why a file cannot be used for a setting; None: it can. Blocks while it reads.

    Args:
        setting: `cluster_ca`, `cluster_certificate` or `cluster_credentials`.
        path: The file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return f"cannot read {path}: {error.strerror if isinstance(error, OSError) else error}"
    if setting == "cluster_credentials":
        if not all(part in content for part in _CREDENTIALS):
            return (
                f"{path} is no credentials file of NATS: it lacks a user's JWT or seed (`nsc generate creds` makes one)"
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if setting == "cluster_ca":
            context.load_verify_locations(path)
        else:
            context.load_cert_chain(path, password=_no_password)
    except _NeedsPassword:
        return f"the key in {path} has a password: nobody is there to type it; store it without"
    except (ssl.SSLError, ValueError) as error:
        wanted = "certificates" if setting == "cluster_ca" else "a certificate and its key"
        return f"{path} does not hold {wanted} in PEM: {error}"
    return None


class _NeedsPassword(Exception):
    """OpenSSL asks for a password."""


def _no_password() -> str:
    raise _NeedsPassword
