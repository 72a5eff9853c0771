"""AsyncAPI 3: what is said over the native WebSocket in, its description out. Schemas are those of the codec's types.

The description is of the router: it receives what clients say, and sends what it says.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actors import commands, replies
from actors.errors import CloseCode
from server import __version__
from server.protocols.native import COMMANDS, MESSAGES, SUBPROTOCOL, NativeDoor
from server.protocols.schemas import UNASKED, name_of, schemas

from .calls import Asked, Call

__all__ = ["AsyncApi", "describe"]

_CHANNEL: Final = "native"
_ANSWERS: Final[dict[type[commands.Command], str]] = {
    commands.Hello: "welcome",
    commands.Subscribe: "subscribed",
    commands.Unsubscribe: "unsubscribed",
    commands.Publish: "published",
    commands.State: "state",
    commands.History: "history",
    commands.Presence: "presence",
    commands.Ack: "acknowledged",
    commands.Refresh: "refreshed",
    commands.Ping: "pong",
}
_DESCRIPTION: Final = """\
The native WebSocket protocol of a Postroom router. One JSON object with a `type` in each text frame. `hello` comes \
first, and once. Unknown fields are ignored. A command may carry an `id`, and its answer carries the same one; without \
it a `publish`, `ack` or `unsubscribe` that succeeds is not answered. Errors are always sent."""


class AsyncApi:
    """Answers with the description. It is the same for everybody, and nobody needs a token."""

    def __init__(self) -> None:
        self._description: dict[str, Any] | None = None

    def calls(self) -> list[Call]:
        """Return what it answers."""
        summary = "Describe the WebSocket protocol, as AsyncAPI 3."
        return [Call("GET", "/asyncapi.json", summary, self._answer, roles=(), answer=dict[str, Any])]

    async def _answer(self, _asked: Asked[None]) -> dict[str, Any]:
        if self._description is None:
            self._description = describe()
        return self._description


def describe() -> dict[str, Any]:
    """Return the description, as JSON has it."""
    messages = {
        **{f"client.{_tag(each)}": _message("client", each) for each in COMMANDS},
        **{f"router.{_tag(each)}": _message("router", each) for each in MESSAGES},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Postroom",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "router": {
                "host": "{host}",
                "protocol": "ws",
                "description": "A router; behind a proxy with TLS the protocol is wss.",
                "variables": {"host": {"default": "127.0.0.1:8000", "description": "The router's host and port."}},
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            }
        },
        "channels": {_CHANNEL: _channel(messages)},
        "operations": {**_received(), **_sent()},
        "components": {
            "messages": messages,
            "schemas": schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "In `hello`; services may send it with the upgrade. None is needed under `--dev`.",
                }
            },
        },
    }


def _channel(messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": NativeDoor.path,
        "servers": [{"$ref": "#/servers/router"}],
        "description": f"Subprotocol `{SUBPROTOCOL}`; offering it is optional. A binary frame is closed with 1003.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        "x-close-codes": {str(code.value): code.name.lower() for code in CloseCode},
    }


def _received() -> dict[str, Any]:
    """Return the operations that a client begins, each with its answers."""
    return {
        _tag(command): {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{_CHANNEL}"},
            "summary": _summary(command),
            "messages": [_ref(f"client.{_tag(command)}")],
            "reply": {
                "channel": {"$ref": f"#/channels/{_CHANNEL}"},
                "messages": [_ref(f"router.{_ANSWERS[command]}"), _ref("router.error")],
            },
        }
        for command in COMMANDS
    }


def _sent() -> dict[str, Any]:
    """Return the operations that the router begins."""
    return {
        f"tell_{_tag(message)}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{_CHANNEL}"},
            "summary": _summary(message),
            "messages": [_ref(f"router.{_tag(message)}")],
        }
        for message in MESSAGES
        if _tag(message) in ("event", *UNASKED)
    }


def _message(side: str, type: type[msgspec.Struct]) -> dict[str, Any]:
    tag = _tag(type)
    message: dict[str, Any] = {
        "name": tag,
        "title": f"{tag} ({side})",
        "summary": _summary(type),
        "payload": {"$ref": f"#/components/schemas/{name_of(side, type)}"},
    }
    if issubclass(type, commands.Command | replies.Reply) and tag not in UNASKED:
        message["correlationId"] = {"location": "$message.payload#/id"}
    return message


def _ref(message: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{_CHANNEL}/messages/{message}"}


def _tag(type: type[msgspec.Struct]) -> str:
    return str(type.__struct_config__.tag)


def _summary(type: type[msgspec.Struct]) -> str:
    return (type.__doc__ or "").partition("\n")[0]
