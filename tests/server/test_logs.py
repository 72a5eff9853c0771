"""Logs: one safe line for each event, whoever logs it and whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from server.auth import issue_token
from server.logs import configure, redact, reset

TOKEN = issue_token("0123456789abcdef" * 2, "ada", "user", ["session:*"], [], 60)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """What stderr got since the last call."""
    yield lambda: capsys.readouterr().err
    reset()


def one(written: Written) -> dict[str, object]:
    """The only line, as JSON."""
    (line,) = written().splitlines()
    entry: dict[str, object] = json.loads(line)
    return entry


def test_an_event_is_a_line_of_json_with_its_keys(written: Written) -> None:
    """Time, level and logger come with it."""
    configure("info", "json")
    structlog.get_logger("postroom.app").info("connection_opened", user="ada", rooms=3)
    entry = one(written)
    assert list(entry)[:4] == ["time", "level", "event", "logger"]
    assert str(entry.pop("time")).endswith("Z")
    assert entry == {
        "level": "info",
        "event": "connection_opened",
        "logger": "postroom.app",
        "user": "ada",
        "rooms": 3,
    }


def test_libraries_log_in_the_same_form(written: Written) -> None:
    """Their words are a value, so that events keep their names."""
    configure("info", "json")
    logging.getLogger("pykka").warning("Unhandled %s\nin actor", "message")
    entry = one(written)
    assert (entry["event"], entry["logger"], entry["level"]) == ("library_log", "pykka", "warning")
    assert entry["message"] == "Unhandled message\nin actor"


def test_websockets_and_access_logs_start_at_warning_even_at_debug_level(written: Written) -> None:
    """Their frames hold tokens and payloads."""
    configure("debug", "json")
    for name in ("websockets.server", "websockets", "aiohttp.access"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("matter")
    logging.getLogger("asyncio").debug("detail")
    lines = [json.loads(line)["message"] for line in written().splitlines()]
    assert lines == ["matter", "matter", "matter", "detail"]


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_holds_for_both_kinds_of_loggers(written: Written, level: str, lines: int) -> None:
    """What is below it is not written."""
    configure(level, "json")  # type: ignore[arg-type]  # one of the four
    for logger in (structlog.get_logger("a"), logging.getLogger("b")):
        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)("something_happened")
    assert len(written().splitlines()) == 2 * lines


def test_a_terminal_gets_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is not a terminal gets JSON, unless told otherwise."""
    for stream, fmt, is_json in [
        (Terminal(), "auto", False),
        (io.StringIO(), "auto", True),
        (Terminal(), "json", True),
        (io.StringIO(), "console", False),
    ]:
        monkeypatch.setattr(sys, "stderr", stream)
        configure("info", fmt)  # type: ignore[arg-type]  # one of the three
        structlog.get_logger("a").info("router_started")
        reset()
        assert "router_started" in stream.getvalue()
        assert stream.getvalue().startswith("{") == is_json


def test_configuring_twice_does_not_write_twice(written: Written) -> None:
    """The later one counts."""
    configure("error", "json")
    configure("info", "json")
    structlog.get_logger("a").info("router_started")
    logging.getLogger("b").error("x")
    assert len(written().splitlines()) == 2


def test_reset_leaves_nothing_behind() -> None:
    """Structlog, the root logger and the libraries' levels."""
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    configure("debug", "json")
    reset()
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger().level == level
    assert logging.getLogger("websockets").level == logging.NOTSET
    assert not structlog.is_configured()


class Holder:
    def __repr__(self) -> str:
        return f"Holder({TOKEN})"


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_no_token_gets_into_a_line(written: Written, fmt: str) -> None:
    """As a value, inside one, in an object's repr, in bytes, in a key, in words or in a traceback."""
    configure("debug", fmt)  # type: ignore[arg-type]  # one of the two
    log = structlog.get_logger("a")
    log.info("hello", words=f"got {TOKEN}!", nested={"list": [(TOKEN,)]}, holder=Holder(), raw=TOKEN.encode())
    log.info(f"event {TOKEN}", **{TOKEN: 1, "map": {TOKEN: 1}})
    log.info("cut_off", part=TOKEN[:30], header=f"Bearer {TOKEN[40:]}")
    logging.getLogger("b").warning("%s and %r", TOKEN, Holder())
    try:
        raise ValueError(TOKEN)
    except ValueError:
        log.exception("failed")
        logging.getLogger("b").exception("failed")
    text = written()
    assert text.count("[hidden]") >= 11
    for part in TOKEN.split("."):
        assert part not in text
    assert TOKEN[40:] not in text


@pytest.mark.parametrize(
    "key",
    ["token", "Authorization", "secret", "cookie", "Set-Cookie", "access_token", "POSTROOM_SECRET", "tokens"],
)
def test_values_of_keys_that_name_secrets_are_hidden(key: str) -> None:
    """Whatever they look like, at any depth."""
    hidden = redact(None, "info", {"event": "x", key: "plain", "inner": {key: ["plain"]}})
    assert hidden == {"event": "x", key: "[hidden]", "inner": {key: "[hidden]"}}


def test_other_values_stay_as_they_are() -> None:
    """Also next to the words that name secrets."""
    entry = {"event": "x", "token_expires_at": "soon", "secretary": "ada", "n": 1, "f": 0.5, "none": None}
    assert redact(None, "info", dict(entry)) == entry


@given(st.text(), st.text())
def test_no_value_can_start_a_new_line(name: str, value: str) -> None:
    """In either form, with any character of Unicode, in values and in keys."""
    for fmt in ("json", "console"):
        stream, before = io.StringIO(), sys.stderr
        sys.stderr = stream
        try:
            configure("info", fmt)
            structlog.get_logger("a").info("joined", room=value, nested={name: [value]}, **{f"k{name}": value})
            logging.getLogger("b").info("%s", value)
        finally:
            sys.stderr = before
            reset()
        assert len(stream.getvalue().splitlines()) == 2
        assert stream.getvalue().replace("\n", "").isprintable()


def test_lines_of_a_traceback_cannot_pass_for_log_lines(written: Written) -> None:
    """For people each one is marked; in JSON it is all one line."""
    for fmt in ("console", "json"):
        configure("info", fmt)
        try:
            raise ValueError("first\n2026-01-01 [info] forged\r\x1b[2K")
        except ValueError:
            structlog.get_logger("a").exception("failed")
    text = written()
    *console, as_json = text.splitlines()
    assert all(line.startswith("  | ") for line in console[1:])
    assert "\x1b" not in text
    assert "forged" in json.loads(as_json)["exception"]


def test_a_router_of_a_cluster_says_in_each_line_which_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of libraries included; a router that is alone has no such field."""
    try:
        configure("info", "json", node="here-1")
        structlog.get_logger("postroom.test").info("something_happened")
        logging.getLogger("library").warning("words")
        configure("info", "json")
        structlog.get_logger("postroom.test").info("something_happened")
    finally:
        reset()
    nodes = [json.loads(line).get("node") for line in capsys.readouterr().err.splitlines()]
    assert nodes == ["here-1", "here-1", None]


def test_a_password_in_a_url_is_hidden() -> None:
    """Whether there is a user before it, or it is a token; the host stays."""
    hidden = redact(None, "", {"reason": "nats://me:p4ss@one:4222, tls://t0ken@two/x and http://three/a@b"})
    assert hidden["reason"] == "nats://[hidden]@one:4222, tls://[hidden]@two/x and http://three/a@b"
