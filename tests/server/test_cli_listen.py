"""`postroom listen`, as a process of its own; the router is a scripted stand-in on a real socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets


class Outcome:
    """How the command ended and what was left of its output."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


def event(offset: int, kind: str, data: object, **more: object) -> dict[str, object]:
    return {
        "type": "event",
        "room": "session:1",
        "offset": offset,
        "prev": offset - 1,
        "id": f"id-{offset}",
        "kind": kind,
        "time": "2026-01-02T03:04:05.678Z",
        "data": data,
        **more,
    }


EVENTS = [
    event(8, "session", {"status": "started"}),
    event(9, "progress", {"current": 3, "total": 10, "percent": 30.04, "eta_s": 12.3, "unit": "files", "message": "x"}),
    event(10, "alert", {"severity": "critical", "title": "disk", "message": "full"}, ack="required"),
    event(11, "notification", {"level": "info", "message": "bell\u0007 \u001b[31m\nforged"}),
    event(12, "system", {"status": "degraded", "component": "search"}),
    event(13, "build.done", {"artifact": "ä.tar"}),
]
LINES = [
    "03:04:05.678 session:1 #8 session started",
    "03:04:05.678 session:1 #9 progress 3/10 files, 30 %, 12.3 s left, x",
    "03:04:05.678 session:1 #10 alert [critical] disk: full  (to be acknowledged: id-10)",
    "03:04:05.678 session:1 #11 notification [info] bell\\x07 \\x1b[31m\\nforged",
    "03:04:05.678 session:1 #12 system search degraded",
    '03:04:05.678 session:1 #13 build.done {"artifact": "ä.tar"}',
]


class WsRouter:
    """A scripted router: it welcomes (or refuses), answers `subscribe`, and sends what it is given."""

    def __init__(self, events: Sequence[object], *, refuse: int | None = None, error: object = None) -> None:
        self.received: list[dict[str, object]] = []
        self._events = events
        self._refuse = refuse
        self._error = error
        self._server = serve_websockets(self._serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/v1/ws"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _serve(self, socket: ServerConnection) -> None:
        def send(message: object) -> None:
            socket.send(json.dumps(message))

        for text in socket:
            message = json.loads(text)
            self.received.append(message)
            if message["type"] == "hello" and self._refuse is not None:
                socket.close(self._refuse, "the token has a wrong signature")
            elif message["type"] == "hello":
                send({
                    "type": "welcome", "connection": "c1", "user": "ada", "role": "user", "protocol": 1,
                    "heartbeat_s": 25, "expires_at": None, "limits": {}, "rooms": {},
                })  # fmt: skip
            elif message["type"] == "subscribe" and self._error is not None:
                send({"type": "error", "id": message["id"], **self._error})  # type: ignore[dict-item]  # a dict
            elif message["type"] == "subscribe":
                send({
                    "type": "subscribed", "id": message["id"], "room": message["room"], "epoch": "e1",
                    "offset": 7, "recovery": "fresh", "replay": 0, "state": {},
                })  # fmt: skip
                for item in self._events:
                    send(item)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()


def start_listening(url: str, *args: str) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "server.cli", "listen", *args, "--url", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUTF8": "1"},
    )
    # Reading its output is bounded by this.
    watchdog = threading.Timer(60, process.kill)
    watchdog.daemon = True
    watchdog.start()
    return process


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().removesuffix("\n") for _ in range(count)]


def finish(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=20)
    return Outcome(process.returncode, out, err)


def test_listen_prints_each_event_as_it_comes_until_ctrl_c() -> None:
    """A line each, with nothing in it that moves the cursor; where it is connected goes to stderr."""
    router = WsRouter(EVENTS)
    process = start_listening(router.url, "session:1", "--token", "t.t.t")
    try:
        assert read_lines(process, len(LINES)) == LINES
        process.send_signal(signal.SIGINT)
        outcome = finish(process)
    finally:
        process.kill()
        router.close()
    assert (outcome.code, outcome.out) == (0, "")
    assert f"connected to {router.url} as ada (user); listening to session:1 at e1:7" in outcome.err
    assert "Traceback" not in outcome.err
    assert router.received[0]["token"] == "t.t.t"


def test_listen_prints_json_for_programs_and_begins_where_it_is_told() -> None:
    """Every field of the event."""
    router = WsRouter(EVENTS)
    process = start_listening(router.url, "session:1", "--json", "--after", "e1:7")
    try:
        lines = [json.loads(line) for line in read_lines(process, len(EVENTS))]
    finally:
        process.kill()
        finish(process)
        router.close()
    assert [(line["offset"], line["kind"], line["data"]) for line in lines] == [
        (item["offset"], item["kind"], item["data"]) for item in EVENTS
    ]
    assert lines[2]["ack"] == "required"
    assert router.received[1]["after"] == {"epoch": "e1", "offset": 7}


def test_listen_ends_quietly_when_its_reader_goes_away() -> None:
    """As in `postroom listen ... | head -1`."""
    router = WsRouter([event(8 + number, "a.b", {"filler": "x" * 2000}) for number in range(200)])
    process = start_listening(router.url, "session:1")
    try:
        read_lines(process, 1)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        with process.stderr as stderr:
            written = stderr.read()
    finally:
        process.kill()
        process.wait()
        router.close()
    assert "Traceback" not in written
    assert "Broken" not in written


def test_listen_explains_a_refused_token() -> None:
    """With the command that makes one."""
    router = WsRouter([], refuse=4401)
    try:
        outcome = finish(start_listening(router.url, "session:1", "--token", "t.t.t"))
    finally:
        router.close()
    assert (outcome.code, outcome.out) == (1, "")
    assert "export POSTROOM_TOKEN=$(postroom token" in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.err.count("wrong signature") == 1


def test_listen_explains_a_room_that_may_not_be_read() -> None:
    """With the option that allows it."""
    router = WsRouter([], error={"code": "forbidden", "message": "not yours", "temporary": False})
    try:
        outcome = finish(start_listening(router.url, "session:1"))
    finally:
        router.close()
    assert outcome.code == 1
    assert "--room PATTERN" in outcome.err


def test_listen_without_a_router_says_how_to_start_one() -> None:
    """After a few seconds of trying."""
    outcome = finish(start_listening("ws://127.0.0.1:9/v1/ws", "session:1"))
    assert outcome.code == 1
    assert "postroom serve --dev" in outcome.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["42"], "is not the name of a room"),
        (["session:1", "--token", "a\nb"], "control character"),
        (["session:1", "--after", "17"], "EPOCH:OFFSET"),
        (["session:1", "--after", "e1:x"], "EPOCH:OFFSET"),
        (["session:1", "session:2", "--after", "e1:7"], "several"),
    ],
)
def test_listen_refuses_what_cannot_be_right(args: Sequence[str], words: str) -> None:
    """Wrong usage."""
    outcome = finish(start_listening("ws://127.0.0.1:9/v1/ws", *args))
    assert outcome.code == 2
    assert words in outcome.err


def test_the_http_address_is_no_websocket_address() -> None:
    """They are easily confused."""
    outcome = finish(start_listening("http://127.0.0.1:8001", "session:1"))
    assert outcome.code == 2
    assert "not a WebSocket address" in outcome.err
