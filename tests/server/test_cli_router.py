"""The commands together, on a real router: what the first five minutes with Postroom are like."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from server.auth import issue_token

SECRET = "0123456789abcdef" * 2
NO_FILE = {"POSTROOM_JOURNAL": ""}
"""A cluster keeps the events."""
REPOSITORY = Path(__file__).parents[2]


def command(*args: str, environ: Mapping[str, str] | None = None, by: Sequence[str] = ()) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    process = subprocess.Popen(
        [*by, sys.executable, "-m", "server.cli", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, "PYTHONPATH": str(REPOSITORY), "POSTROOM_JOURNAL": "memory", **(environ or {})},
    )
    # Reading its output is bounded by this.
    watchdog = threading.Timer(60, process.kill)
    watchdog.daemon = True
    watchdog.start()
    return process


def finished(*args: str, environ: Mapping[str, str] | None = None, by: Sequence[str] = ()) -> tuple[int, str, str]:
    with command(*args, environ=environ, by=by) as process:
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err


class Running:
    """A router in a process of its own, and what it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed = self._read_until("Try, in another terminal")
        ws, api = re.search(r"ws://\S+", self.printed), re.search(r"http://\S+", self.printed)
        assert ws is not None
        assert api is not None
        self.ws_url, self.api_url = ws[0], api[0]
        self.environ = {"POSTROOM_URL": self.ws_url, "POSTROOM_API_URL": self.api_url}

    def _read_until(self, words: str) -> str:
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if words in line:
                break
        return "".join(lines)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """End it and return its exit code and its logs."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err


@contextlib.contextmanager
def running(*args: str, environ: Mapping[str, str] | None = None) -> Iterator[Running]:
    process = command(*args, "--port", "0", "--api-port", "0", environ=environ)
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def listening(router: Running, *args: str, by: str = "listen", **environ: str) -> Iterator[subprocess.Popen[str]]:
    """`postroom listen`, or another command that follows a room, once it is connected."""
    process = command(by, *args, environ={**router.environ, **environ})
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "listening to" in line:
                break
        yield process
    finally:
        process.kill()
        process.communicate()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_what_is_published_is_heard() -> None:
    """Under `--dev`, with the commands that `serve` prints, and nothing else to set."""
    hello = '{"level": "info", "message": "hello"}'
    with running("serve", "--dev") as router, listening(router, "session:1") as listener:
        code, out, err = finished("publish", "session:1", "notification", hello, environ=router.environ)
        assert (code, err) == (0, "")
        assert out.startswith("session:1 #1 ")
        assert next_line(listener).endswith(" session:1 #1 notification [info] hello\n")
        code, out, _ = finished("status", environ=router.environ)
        assert code == 0
        assert out.startswith("ready: 1 connections, ")
        code, logs = router.stop()
    assert code == 0
    assert "hello" not in logs
    assert all(json.loads(line)["event"] for line in logs.splitlines())


def test_a_position_from_a_receipt_can_be_listened_after() -> None:
    """The events after it come, and those before it do not."""
    with running("serve", "--dev") as router:
        positions = []
        for number in range(3):
            data = json.dumps({"number": number})
            _, out, _ = finished("publish", "session:1", "a.b", data, "--json", environ=router.environ)
            receipt = json.loads(out)
            positions.append(f"{receipt['epoch']}:{receipt['offset']}")
        with listening(router, "session:1", "--after", positions[0], "--json") as listener:
            assert [json.loads(next_line(listener))["data"]["number"] for _ in range(2)] == [1, 2]


def test_a_router_with_a_secret_takes_its_tokens_and_no_others() -> None:
    """Made by `postroom token`; without one the message has the command that makes one."""
    secret = {"POSTROOM_SECRET": SECRET}
    with running("serve", environ=secret) as router:
        publish = ("publish", "session:1", "a.b", "{}")
        code, _, err = finished(*publish, environ=router.environ)
        assert code == 1
        assert "export POSTROOM_TOKEN=$(postroom token" in err
        forged = issue_token("x" * 32, "eve", "admin", ["*"], ["*"], 60)
        code, _, err = finished(*publish, environ={**router.environ, "POSTROOM_TOKEN": forged})
        assert code == 1
        assert "signature" in err
        _, out, _ = finished("token", "--user", "me", "--role", "service", "--room", "session:*", environ=secret)
        token = {"POSTROOM_TOKEN": out.strip()}
        with listening(router, "session:1", **token) as listener:
            assert finished(*publish, environ={**router.environ, **token})[0] == 0
            assert "#1 a.b {}" in next_line(listener)
        _, logs = router.stop()
    assert forged not in logs
    assert out.strip() not in logs


def test_a_token_that_a_router_refuses_is_explained_by_listen() -> None:
    """It ends, rather than trying for ever."""
    with running("serve", environ={"POSTROOM_SECRET": SECRET}) as router:
        code, _, err = finished("listen", "session:1", environ=router.environ)
        assert code == 1
        assert "postroom token" in err
        user = issue_token(SECRET, "ada", "user", [], [], 60)
        code, _, err = finished("listen", "session:1", environ={**router.environ, "POSTROOM_TOKEN": user})
        assert code == 1
        assert "--room PATTERN" in err


def test_a_repair_is_followed_as_it_happens() -> None:
    """`postroom supervisor` prints what was; with `--follow`, what comes, of one incident under one name."""
    with running("serve", "--dev") as router:
        with listening(router, "--follow", by="supervisor") as followed:
            assert " #1 started" in next_line(followed)
            order = urllib.request.Request(f"{router.api_url}/v1/actors/source/restart", method="POST")
            with urllib.request.urlopen(order, timeout=20) as answer:
                assert json.load(answer) == {"actor": "source", "ordered": True}
            ordered, restarted, repaired = (next_line(followed) for _ in range(3))
        assert "ordered source  restart by anonymous" in ordered
        assert "restarted source  at once, ordered by anonymous" in restarted
        assert "repaired source  noticed: nothing" in repaired
        assert restarted.rsplit("[", 1)[1] == repaired.rsplit("[", 1)[1]
        code, out, _ = finished("supervisor", "--actor", "source", "--limit", "1", "--json", environ=router.environ)
        assert (code, json.loads(out)["kind"]) == (0, "supervisor.repaired")


POISON = """
from pathlib import Path

from actors.acceptance import Acceptance

accept = Acceptance.accept


def broken(self, draft):
    if self._room == "doc:1" and b"poison" in bytes(draft.data) and not Path("mended").exists():
        raise RuntimeError("cannot take poison")
    return accept(self, draft)


def plant(router):
    Acceptance.accept = broken
"""


def test_poison_is_listed_handed_in_again_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six in a burst do not end the router, and the commands say what became of them."""
    (tmp_path / "bug.py").write_text(POISON)
    monkeypatch.chdir(tmp_path)
    with running("serve", "--dev", "--plugin", "bug:plant") as router:
        events = [{"room": "doc:1", "kind": "a.b", "data": {"n": f"poison {n}"}, "event_id": f"e{n}"} for n in range(6)]
        with urllib.request.urlopen(f"{router.api_url}/v1/publish", json.dumps(events).encode(), 20) as answer:
            assert {each["error"]["code"] for each in json.load(answer)["results"]} == {"invalid_event"}
        code, out, _ = finished("quarantine", environ=router.environ)
        lines = out.splitlines()
        assert (code, len(lines)) == (0, 6)
        assert re.match(r"q-\w+ \S+ doc:1 a.b ", lines[0])
        assert lines[0].endswith("room:doc:1 failed 2 times, RuntimeError: cannot take poison")
        newest, oldest = lines[0].split()[0], lines[-1].split()[0]
        code, _, err = finished("quarantine", "retry", newest, environ=router.environ)
        assert code == 1
        assert f"{newest} stays in quarantine" in err
        (tmp_path / "mended").touch()
        code, out, _ = finished("quarantine", "retry", newest, environ=router.environ)
        assert (code, out) == (0, f"{newest} is published: doc:1 #1\n")
        code, out, _ = finished("quarantine", "drop", oldest, "--json", environ=router.environ)
        assert (code, json.loads(out)) == (0, {"id": oldest, "dropped": True})
        code, out, _ = finished("quarantine", "list", "--limit", "1", "--json", environ=router.environ)
        assert json.loads(out)["event"]["data"] == {"n": "poison 4"}


@pytest.mark.parametrize("words", [("retry",), ("drop", ""), ("list", "q-1"), ("burn", "q-1")])
def test_what_quarantine_cannot_do_is_wrong_usage(words: tuple[str, ...]) -> None:
    assert finished("quarantine", *words)[0] == 2


def test_the_demo_has_something_to_listen_to() -> None:
    """A few moments after the start."""
    with running("demo") as router, listening(router, "session:demo-1", "--json") as listener:
        kinds = set()
        while "progress" not in kinds:
            event = json.loads(next_line(listener))
            kinds.add(event["kind"])
        assert "session:demo-1" in router.printed
        assert router.stop(signal.SIGINT)[0] == 0


def test_a_plugin_of_the_working_folder_runs_in_the_router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can publish."""
    (tmp_path / "shop.py").write_text(
        "from actors.messages import Publish\n"
        "def start(router):\n"
        "    router.source.tell(Publish(rooms=('system',), kind='shop.opened', data={'till': 1}))\n"
    )
    monkeypatch.chdir(tmp_path)
    with (
        running("serve", "--dev", "--plugin", "shop:start") as router,
        command("listen", "system", "--json", "--after", "?:0", environ=router.environ) as listener,
    ):
        # An unknown epoch: nothing is replayed, and the position of the plug-in's event is told.
        assert listener.stderr is not None
        line = next(line for line in listener.stderr if "listening to" in line)
        listener.kill()
    assert re.search(r"system at \S+:1\.", line)


@pytest.mark.parametrize("flag", ["--port", "--api-port"])
def test_a_port_in_use_is_explained(flag: str) -> None:
    """With the option that chooses another, and a port to choose."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        other = {"--port": "--api-port", "--api-port": "--port"}[flag]
        code, out, err = finished("serve", "--dev", flag, port, other, "0")
    assert (code, out) == (1, "")
    assert f"port {port}" in err
    free = re.search(rf", for example {flag} (\d+), which is free\n", err)
    assert free is not None
    assert int(free[1]) > int(port) + 1
    assert "Traceback" not in err


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None and "CI" not in os.environ, reason="root may write everywhere"
)
def test_a_folder_without_permission_to_write_is_explained(tmp_path: Path) -> None:
    """The journal's file is named as it was given, and what helps."""
    tmp_path.chmod(0o555)
    journal = tmp_path / "postroom-data" / "journal.db"
    # Root without that right, and not another user, who may not even read what is to be run.
    like_others = ["setpriv", "--bounding-set=-dac_override", "--"] if os.geteuid() == 0 else []
    try:
        code, _, err = finished("serve", "--dev", environ={"POSTROOM_JOURNAL": str(journal)}, by=like_others)
    finally:
        tmp_path.chmod(0o755)
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith(f"postroom: journal {journal}: this user may not write there")
    assert last.endswith("or choose another file with --journal")


def test_a_cluster_without_nats_is_explained() -> None:
    """What does not answer, and how to have one."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{nobody.getsockname()[1]}"
        code, _, err = finished("serve", "--dev", "--port", "0", "--api-port", "0", "--cluster", url, environ=NO_FILE)
    assert code == 1
    assert url.removeprefix("nats://") in err
    assert "nats-server --jetstream" in err
    assert "postroom serve --workers 2" in err


def test_a_cluster_without_its_package_is_explained(tmp_path: Path) -> None:
    """With the command that installs it."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['nats'] = None\n")
    free = ("--port", "0", "--api-port", "0")
    path = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    code, _, err = finished("serve", "--dev", *free, "--cluster", "nats://127.0.0.1:4222", environ={**NO_FILE, **path})
    assert code == 1
    assert "a cluster needs the package nats-py" in err
    assert "pip install 'postroom[cluster]'" in err


def test_a_token_that_a_dev_router_cannot_check_is_to_be_left_out() -> None:
    """An old POSTROOM_TOKEN: the advice is to unset it, once, and not to make another one."""
    old = {"POSTROOM_TOKEN": issue_token(SECRET, "me", "admin", [], [], 60)}
    with running("serve", "--dev") as router:
        for args in (("publish", "session:1", "a.b"), ("listen", "session:1")):
            code, _, err = finished(*args, environ={**router.environ, **old})
            assert code == 1
            assert err.count("unset POSTROOM_TOKEN") == 1
            assert err.count("no key to check a token with") == 1
            assert "make one" not in err


def test_the_two_ports_are_told_apart() -> None:
    """Each of them says which one it is not."""
    with running("serve", "--dev") as router:
        ws_as_http = re.sub(r"ws(://[^/]+).*", r"http\1", router.ws_url)
        http_as_ws = router.api_url.replace("http", "ws") + "/v1/ws"
        for args in (("publish", "session:1", "a.b"), ("status",)):
            code, _, err = finished(*args, "--url", ws_as_http)
            assert code == 1
            assert "not the HTTP API of a router" in err
            assert "8001" in err
        code, _, err = finished("listen", "session:1", "--url", http_as_ws)
        assert code == 1
        assert "8000 unless set otherwise" in err
        assert err.count("HTTP 404") == 1
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(urllib.request.Request(f"{router.api_url}/v1/ws", headers=upgrade), timeout=20)
        with answer.value as problem:
            assert "a port of their own, 8000" in json.load(problem)["detail"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "args",
    [
        ["publish", "session:1", "a.b"],
        ["check-config", "--dev"],
        ["listen", "session:demo-1"],
        ["token", "--user", "me"],
        ["status"],
        ["--help"],
        ["--version"],
    ],
    ids=lambda args: args[0],
)
def test_a_full_disk_is_explained(args: list[str], demo: Running) -> None:
    """Exit code 1, and one line."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "server.cli", *args],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "POSTROOM_SECRET": SECRET, **demo.environ},
            timeout=30,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "postroom: cannot write the output: No space left on device"
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def demo() -> Iterator[Running]:
    with running("demo") as router:
        yield router


INTERRUPTED = """
import signal, sys

class Interrupt:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt)
sys.argv = ["postroom", *{args!r}]
from server.cli import main
main()
"""


@pytest.mark.parametrize(
    ("module", "args"),
    [
        ("actors.errors", ["--help"]),
        ("typer", ["--help"]),
        ("server.commands.group", ["--help"]),
        ("aiohttp.client", ["status"]),
        ("msgspec", ["publish", "session:1", "a.b"]),
        ("websockets", ["listen", "session:1"]),
        ("jwt", ["token", "--user", "me"]),
        ("server.settings", ["check-config", "--dev"]),
        ("server.app", ["serve", "--dev"]),
    ],
)
def test_ctrl_c_ends_a_command_while_it_starts(module: str, args: list[str]) -> None:
    """In the middle of an import, as anywhere: no traceback."""
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module=module, args=args)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_ctrl_c_before_there_is_a_connection_is_no_success() -> None:
    """Once `listen` listens, Ctrl-C is how it ends; until then nothing was done."""
    with command("listen", "session:1", "--url", "ws://127.0.0.1:9/v1/ws") as process:
        assert process.stderr is not None
        assert "not connected" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_commands_that_need_little_import_little() -> None:
    """Their help comes at once: neither an HTTP library nor a router is loaded for it."""
    code = (
        "import sys; from server.commands import group\n"
        "heavy = {'aiohttp', 'jwt', 'structlog', 'websockets', 'postroom_client', 'msgspec', 'server.app'}\n"
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
