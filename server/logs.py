"""Logs for operators: events of structlog and of the standard library in, one safe line each on stderr out.

Secrets are taken out of every line, nothing in a value can start a new one, and repeats are counted. Libraries that
use the standard library's logging appear as the event `library_log`, with their words as `message`.
"""

from __future__ import annotations

import atexit
import logging
import re
import sys
from collections.abc import Mapping
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .printable import printable
from .repeats import Repeats

__all__ = ["configure", "redact", "reset"]

_HIDDEN = "[hidden]"
_SECRET_KEY = re.compile(r"(?:^|[_.-])(token|jwt|authorization|secret|cookie|password)s?$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*"  # a JWT, or what a cut-off one left: base64url of '{"'
    r"|(?i:(?<=bearer )\S+)"
    r"|(?<=://)[^\s/]+(?=@)"  # user and password in a URL
)
_DEEPEST = 6

# Their lower levels write a line, or a whole frame, for each message, and frames hold tokens and payloads; or one for
# each actor that ends.
_CHATTER = {"websockets": logging.WARNING, "aiohttp.access": logging.WARNING, "pykka": logging.INFO}


class _Handler(logging.StreamHandler[TextIO]):
    """What `configure` puts on the root logger.

    Args:
        stream: Where lines go.
        repeats: What is left out.
    """

    def __init__(self, stream: TextIO, repeats: Repeats) -> None:
        super().__init__(stream)
        self.repeats = repeats
        self.addFilter(repeats)
        atexit.register(repeats.flush)

    def end(self) -> None:
        """Say what was left out."""
        atexit.unregister(self.repeats.flush)
        self.repeats.flush()


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    fmt: Literal["auto", "json", "console"] = "auto",
    node: str | None = None,
) -> None:
    """Send all logs of this process to stderr in one form. Calling it again replaces the configuration.

    Args:
        level: The least severe events that are written; `websockets` and `aiohttp.access` start at warning, `pykka` at
            info.
        fmt: `json`: one object a line. `console`: for people. `auto`: `console` when stderr is a terminal.
        node: What this router is called in its cluster: every line says so. None: it is alone.
    """
    reset()
    console = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        *([] if node is None else [_Of(node)]),
    ]
    repeats = Repeats()
    structlog.configure(
        processors=[repeats.process, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )
    handler = _Handler(sys.stderr, repeats)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name_foreign],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                # Plain text: pretty tracebacks show local variables, and these hold tokens.
                structlog.processors.format_exc_info,
                redact,
                *_renderers(console),
            ],
        )
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(number)
    for name, least in _CHATTER.items():
        logging.getLogger(name).setLevel(max(number, least))


def reset() -> None:
    """Undo `configure`: structlog and the standard library as they are in a new process."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        handler.end()
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.WARNING)
    for name in _CHATTER:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Hide what could let somebody in: values of keys such as `token`, and everything that looks like a JWT.

    A structlog processor. Objects are turned into text, so that nothing slips through their `repr` later.
    """
    return {_safe(str(key)): _hide(key, value, 0) for key, value in event_dict.items()}


def _hide(key: object, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(key, str) and _SECRET_KEY.search(key):
        return _HIDDEN
    if isinstance(value, str):
        return _safe(value)
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {_safe(str(name)): _hide(name, item, depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_hide(None, item, depth + 1) for item in value]
    return _safe(repr(value))


def _safe(text: str) -> str:
    return _SECRET_TEXT.sub(_HIDDEN, text)


class _Of:
    """Says of each line which node it is from. A structlog processor.

    Args:
        node: Its name.
    """

    def __init__(self, node: str) -> None:
        self._node = node

    def __call__(self, _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        event_dict["node"] = self._node
        return event_dict


def _name_foreign(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    event_dict["message"] = event_dict.pop("event")
    event_dict["event"] = "library_log"
    return event_dict


def _renderers(console: bool) -> list[Processor]:
    if not console:
        return [_head_first, structlog.processors.JSONRenderer()]
    return [
        _escape,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            timestamp_key="time",
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _head_first(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    head = {key: event_dict[key] for key in ("time", "level", "event", "node", "logger") if key in event_dict}
    return {**head, **event_dict}


def _escape(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Make characters that move the cursor, or hide, visible; JSON does so by itself."""
    return {
        printable(str(key)): _block(value) if key in ("exception", "stack") else _escaped(value)
        for key, value in event_dict.items()
    }


def _escaped(value: object) -> object:
    # repr() of a container escapes the strings in it.
    return printable(value) if isinstance(value, str) else value


def _block(value: object) -> str:
    """Keep the lines of a traceback, each marked, so that none can pass for a log line."""
    return "\n".join(f"  | {printable(line)}" for line in str(value).splitlines())
