"""Streams: what the cluster keeps its events in is made where it is not there, and checked where it is."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

import structlog

from actors.errors import PostroomError
from server.cluster.link import ApiError, Link, NotAnswered

from .layout import Layout

__all__ = ["Log", "StreamError", "Terms", "prepare", "renew"]

log = structlog.get_logger("postroom.journal")

_NOT_FOUND = 10059
_IN_USE = 10058
_LOG_ID = "postroom-log"
_UNDER_WAY_S = 60.0
"""Longer than an event may be under way, and sent again under its id: until then the stream must know the id."""
_FIRST_VERSION = (2, 11)
"""Of NATS that gives several messages for one request (`batch` of a direct get)."""


class StreamError(PostroomError):
    """A stream cannot be used; `str()` says why and what to do."""


class Log(NamedTuple):
    """What there is of the log."""

    ident: str
    """Its own id, which is another one for another log."""
    last: int = 0
    """The number of the last message that its stream of events has ever had."""
    replicas: int = 1


class Terms(NamedTuple):
    """On what terms the streams are made."""

    replicas: int
    keep_s: float
    """How long what nobody has dropped is kept."""
    dedupe_s: float
    """How long the id of an event is remembered."""


async def prepare(link: Link, layout: Layout, terms: Terms, known: str = "") -> Log:
    """Make the streams, or check that they do; return what there is.

    Args:
        link: The connection to NATS.
        layout: Where things are.
        terms: On what terms streams are made.
        known: The id of the log that is known. Where it is that, the stream of snapshots may be without a leader for a
            while: events need it not.

    Raises:
        StreamError: They cannot be used.
        ApiError: JetStream refuses.
        LinkDown: There is no connection.
        NotAnswered: There is no JetStream, or it has no leader now.
    """
    version = str(link.server_info.get("version", ""))
    if _numbers(version) < _FIRST_VERSION:
        raise StreamError(f"NATS {version} is too old: Postroom needs 2.11 or newer")
    both: dict[str, Any] = {
        "retention": "limits",
        "storage": "file",
        "num_replicas": terms.replicas,
        "max_age": round(terms.keep_s * 1e9),
        "allow_direct": True,
    }
    events = {
        **both,
        "name": layout.events,
        "subjects": [layout.all_events],
        "discard": "new",  # a full stream takes nothing more: nobody who was told that an event is safe loses it
        "duplicate_window": round(min(max(terms.dedupe_s, _UNDER_WAY_S), terms.keep_s) * 1e9),
        "republish": {"src": layout.all_events, "dest": layout.all_live},
    }
    rooms = {
        **both,
        "name": layout.rooms,
        "subjects": list(layout.all_of_rooms),
        "discard": "old",
        "max_msgs_per_subject": 1,
    }
    found = await _ensure(link, events)
    try:
        if (await _ensure(link, rooms, found.ident)).ident != found.ident:
            await _begin_anew(link, layout.rooms, found.ident)
    except NotAnswered:
        if found.ident != known:
            raise
    return found


async def renew(link: Link, layout: Layout) -> None:
    """Give the log another id, as its stream has lost messages: offsets that it gives now, it has given before.

    Raises:
        ApiError, LinkDown, NotAnswered: It has the id that it had.
    """
    await _name(link, layout.events, secrets.token_hex(6))


async def _begin_anew(link: Link, stream: str, ident: str) -> None:
    """Drop the snapshots of another log: the stream of events was lost without them, and their offsets mean nothing."""
    await link.ask(f"STREAM.PURGE.{stream}", {})
    await _name(link, stream, ident)
    log.warning("stream_emptied", stream=stream)


async def _name(link: Link, stream: str, ident: str) -> None:
    config = (await link.ask(f"STREAM.INFO.{stream}", wait_s=5.0))["config"]
    metadata = {**(config.get("metadata") or {}), _LOG_ID: ident}
    await link.ask(f"STREAM.UPDATE.{stream}", {**config, "metadata": metadata}, wait_s=10.0)


async def _ensure(link: Link, wanted: dict[str, Any], ident: str = "") -> Log:
    """Make a stream, which gets this id or a new one, or check that it does; return what there is of it."""
    name = wanted["name"]
    try:
        info = await link.ask(f"STREAM.INFO.{name}", wait_s=5.0)
        config = info["config"]
    except ApiError as error:
        if error.err_code != _NOT_FOUND:
            raise
        ident = ident or secrets.token_hex(6)
        try:
            await link.ask(f"STREAM.CREATE.{name}", {**wanted, "metadata": {_LOG_ID: ident}}, wait_s=10.0)
        except ApiError as refusal:
            if refusal.err_code != _IN_USE:
                raise StreamError(f"stream {name} cannot be made: {refusal}") from refusal
            return await _ensure(link, wanted, ident)  # another router was faster
        log.info("stream_created", stream=name, replicas=wanted["num_replicas"])
        return Log(ident, 0, wanted["num_replicas"])
    for field in ("subjects", "republish", "storage", "retention"):
        if field in wanted and not _covers(config.get(field), wanted[field]):
            raise StreamError(
                f"stream {name} was made for something else: its {field} is {config.get(field)}, and must be "
                f"{wanted[field]}; take another cluster_name, or remove the stream if nobody needs what it holds"
            )
    metadata = dict(config.get("metadata") or {})
    changes = {field: value for field, value in wanted.items() if _differs(field, config.get(field), value)}
    if changes or _LOG_ID not in metadata:
        metadata.setdefault(_LOG_ID, ident or secrets.token_hex(6))
        try:
            await link.ask(f"STREAM.UPDATE.{name}", {**config, **changes, "metadata": metadata}, wait_s=10.0)
        except ApiError as refusal:
            raise StreamError(f"stream {name} cannot be changed to {changes}: {refusal}") from refusal
        log.info("stream_changed", stream=name, **changes)
    return Log(str(metadata[_LOG_ID]), int(info["state"]["last_seq"]), int(config.get("num_replicas") or 1))


def _covers(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(found.get(name) == value for name, value in wanted.items())
    return bool(found == wanted)


def _differs(field: str, found: Any, wanted: Any) -> bool:
    """Tell whether a stream is to be changed: never what its operators gave it more of."""
    if field == "num_replicas":
        return int(found or 1) < int(wanted)
    if field in ("max_age", "duplicate_window"):
        return 0 < int(found or 0) < int(wanted)  # 0 of max_age: for ever
    return field in ("allow_direct", "discard", "max_msgs_per_subject") and bool(found != wanted)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split(".") if part.isdigit())
