"""Tokens for the router: who it is for and what they are in, a JSON Web Token out. The secret is the router's."""

from __future__ import annotations

import os
import time

import jwt

TOKEN_S = 5 * 60
"""Short, as nobody can take a token back; the clients ask for fresh ones."""


def sign(user: str, role: str) -> str:
    """Make a token. Role `admin` reads and acknowledges everything, `service` publishes everywhere."""
    claims = {"sub": user, "role": role, "exp": int(time.time()) + TOKEN_S}
    return jwt.encode(claims, os.environ["POSTROOM_SECRET"], algorithm="HS256")
