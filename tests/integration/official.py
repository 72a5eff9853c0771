"""The official clients of the Centrifuge protocol, unchanged, behind one face: orders in, what an application sees out.

In JavaScript it is `tests/clients/javascript/centrifuge.js`; both say the same words.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import centrifuge
from centrifuge import contexts

from ..native_client import WAIT_S, Message
from ..node import running_node

__all__ = ["LANGUAGES", "Official", "official"]

LANGUAGES = ("javascript", "python")


class Official(Protocol):
    """One client. `tests.node.NodeScript` is one, too."""

    async def send(self, do: str, /, **fields: Any) -> None:
        """Give an order."""

    async def next(self, what: str | None = None, /) -> Message:
        """Return the next thing that happened (whose `what` is this one; others before it are kept)."""

    async def ask(self, do: str, /, **fields: Any) -> Message:
        """Give an order and return its outcome: `result`, or `error` and `code`."""


@asynccontextmanager
async def official(language: str) -> AsyncIterator[Official]:
    """Have a client in one of `LANGUAGES`, not connected."""
    if language == "javascript":
        async with running_node("centrifuge.js") as script:
            yield script
        return
    client = _InPython()
    try:
        yield client
    finally:
        await client.end()


def _seen(context: Any) -> Message:
    """What a context of the Python client says, in the words of the one in JavaScript."""
    fields = dict(vars(context))
    publication = fields.pop("pub", None)
    if publication is not None:
        fields |= {"offset": publication.offset, "data": publication.data}
    info = fields.pop("info", None)
    if info is not None:
        fields |= {"client": info.client, "user": info.user}
    position = fields.pop("stream_position", None)
    if position is not None:
        fields["streamPosition"] = {"offset": position.offset, "epoch": position.epoch}
    if "was_recovering" in fields:
        fields["wasRecovering"] = fields.pop("was_recovering")
    return fields


_Handler = Callable[..., Awaitable[None]]


class _Reporting:
    """Handlers of all that a client or a subscription can tell."""

    def __init__(self, say: Callable[[str, Message], None], prefix: str, **known: Any) -> None:
        self._say = say
        self._prefix = prefix
        self._known = known

    def __getattr__(self, name: str) -> _Handler:
        if not name.startswith("on_"):
            raise AttributeError(name)

        async def report(context: Any) -> None:
            what = f"{self._prefix}{name.removeprefix('on_')}"
            if isinstance(context, contexts.ErrorContext | contexts.SubscriptionErrorContext):
                error = context.error
                code = error.code if isinstance(error, centrifuge.ReplyError) else context.code
                self._say(what, {**self._known, "code": code, "message": str(error)})
            else:
                self._say(what, {**_seen(context), **self._known})

        return report


class _InPython:
    """The client of PyPI's centrifuge-python."""

    def __init__(self) -> None:
        self._happened: asyncio.Queue[Message] = asyncio.Queue()
        self._kept: deque[Message] = deque()
        self._refreshes: deque[str] = deque()
        self._client: centrifuge.Client

    def _say(self, what: str, fields: Message) -> None:
        self._happened.put_nowait({"what": what, **fields})

    async def send(self, do: str, /, **fields: Any) -> None:
        await getattr(self, f"_{do}")(**fields)

    async def ask(self, do: str, /, **fields: Any) -> Message:
        try:
            return {"what": do, "result": await getattr(self, f"_{do}")(**fields)}
        except centrifuge.ReplyError as error:
            return {"what": do, "error": str(error), "code": error.code}

    async def next(self, what: str | None = None, /) -> Message:
        for place, message in enumerate(self._kept):
            if what is None or message["what"] == what:
                del self._kept[place]
                return message
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    message = await self._happened.get()
                    if what is None or message["what"] == what:
                        return message
                    self._kept.append(message)
        except TimeoutError:
            raise AssertionError(f"no {what or 'event'} within {WAIT_S:g} s; kept {list(self._kept)}") from None

    async def end(self) -> None:
        await self._client.disconnect()
        async with asyncio.timeout(WAIT_S):
            while self._client._background_tasks:
                await asyncio.wait(self._client._background_tasks)

    async def _connect(
        self, url: str, token: str = "", refreshes: list[str] | None = None, options: Message | None = None
    ) -> None:
        self._refreshes.extend(refreshes or ())

        async def next_token() -> str:
            return self._refreshes.popleft() if self._refreshes else ""

        self._client = centrifuge.Client(
            url,
            events=_Reporting(self._say, ""),  # type: ignore[arg-type]  # it has every handler
            token=token,
            get_token=next_token if token else None,
            min_reconnect_delay=0.02,
            max_reconnect_delay=0.1,
            proxy=None,
            **(options or {}),
        )
        await self._client.connect()

    async def _subscribe(self, channel: str, options: Message | None = None) -> None:
        known = self._client.get_subscription(channel)
        if known is None:
            names = {"joinLeave": "join_leave"}
            wanted = {names.get(name, name): value for name, value in (options or {}).items()}
            events: Any = _Reporting(self._say, "sub.", channel=channel)
            known = self._client.new_subscription(channel, events=events, **wanted)
        await known.subscribe()

    async def _unsubscribe(self, channel: str) -> None:
        subscription = self._client.get_subscription(channel)
        assert subscription is not None
        await subscription.unsubscribe()

    async def _publish(self, channel: str, data: Any) -> Message:
        await self._client.publish(channel, data)
        return {}

    async def _presence(self, channel: str) -> Message:
        clients = (await self._client.presence(channel)).clients
        return {"clients": {id: {"client": each.client, "user": each.user} for id, each in clients.items()}}

    async def _stats(self, channel: str) -> Message:
        stats = await self._client.presence_stats(channel)
        return {"numClients": stats.num_clients, "numUsers": stats.num_users}

    async def _history(self, channel: str, options: Message | None = None) -> Message:
        wanted = dict(options or {})
        if "since" in wanted:
            wanted["since"] = centrifuge.StreamPosition(**wanted["since"])
        history = await self._client.history(channel, **wanted)
        publications = [{"offset": each.offset, "data": each.data} for each in history.publications]
        return {"epoch": history.epoch, "offset": history.offset, "publications": publications}

    async def _rpc(self, method: str, data: Any) -> Message:
        return {"data": (await self._client.rpc(method, data)).data}

    async def _disconnect(self) -> None:
        await self._client.disconnect()
