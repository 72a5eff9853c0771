"""The command line: what newcomers, scripts and operators see, and the exit codes they get.

Routers here are scripted stand-ins on real sockets, where a test wants answers that a real one gives seldom.
"""

from __future__ import annotations

import configparser
import io
import json
import os
import re
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import structlog

from actors.errors import PostroomError
from server import __version__, cli, logs
from server.auth import Authenticator
from server.cli import main
from server.settings import Settings

REPOSITORY = Path(__file__).parents[2]
SECRET = "0123456789abcdef" * 2


class Outcome:
    """How a command ended and what it wrote."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Run a command in this process, in an empty folder, with only the variables that are given."""
    for name in list(os.environ):
        if name.startswith("POSTROOM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*args: str, environ: Mapping[str, str] | None = None, stdin: str = "") -> Outcome:
        for name, value in (environ or {}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main(args)
        written = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        assert "Traceback" not in written.err
        return Outcome(code, written.out, written.err)

    yield run
    logs.reset()


# --- the command as a whole


def test_the_version_is_printed(run: Run) -> None:
    """And nothing else."""
    outcome = run("--version")
    assert (outcome.code, outcome.out) == (0, f"postroom {__version__}\n")


def test_help_names_every_command_with_its_purpose(run: Run) -> None:
    """Uncut, and with the commands to try."""
    text = run("--help").out
    for command in ("serve", "demo", "token", "publish", "listen", "status", "quarantine", "check-config"):
        assert re.search(rf"^  {command} +\S", text, re.MULTILINE)
    assert "..." not in text.partition("Commands:")[2]
    assert "postroom demo" in text


@pytest.mark.parametrize(
    "command", ["serve", "demo", "token", "publish", "listen", "status", "quarantine", "check-config"]
)
def test_every_command_has_examples(run: Run, command: str) -> None:
    """That can be copied."""
    outcome = run(command, "--help")
    assert outcome.code == 0
    assert re.search(rf"Examples?:\n.*postroom {command}", outcome.out, re.DOTALL)


@pytest.mark.parametrize("args", [["fly"], ["token"], ["serve", "--port", "x"], ["publish", "session:1"], []])
def test_wrong_usage_exits_with_2_and_points_at_the_help(run: Run, args: Sequence[str]) -> None:
    """A script can tell it from a failure."""
    outcome = run(*args)
    assert outcome.code == 2
    assert "--help" in outcome.err + outcome.out


def test_text_that_came_from_elsewhere_cannot_reach_the_terminal(run: Run, router: FakeRouter) -> None:
    """A plug-in's words, say: what moves the cursor is shown as it would be written."""
    Path("plug_x.py").write_text("raise RuntimeError('\\x1b[31mred\\nline')\n")
    outcome = run("serve", "--dev", "--plugin", "plug_x:start")
    assert "RuntimeError: \\x1b[31mred\\nline\n" in outcome.err
    router.error = PostroomError("a plug-in failed: \x1b[31mred\nline")
    assert "postroom: a plug-in failed: \\x1b[31mred\\nline\n" in run("serve", "--dev").err


def test_a_working_folder_that_is_gone_is_survived(run: Run, router: FakeRouter, tmp_path: Path) -> None:
    """Only what would be in it is not found."""
    folder = tmp_path / "gone"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    outcome = run("serve", "--dev", "--plugin", "no_such_plugin:start")
    assert outcome.code == 1
    assert "which was deleted" in outcome.err
    assert run("serve", "--dev", "--plugin", "json:dumps").code == 0


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["check-config", "--config", "none.toml"], 1),
        (["check-config", "--config", "bad.toml"], 1),
        (["check-config", "--dev", "--port", "99999"], 2),
        (["status", "--url", "ws://127.0.0.1:1"], 2),
    ],
)
def test_wrong_usage_is_the_command_line_only(run: Run, args: Sequence[str], code: int) -> None:
    """What a file or the environment says wrong is a failure."""
    Path("bad.toml").write_text("this is not TOML")
    assert run(*args).code == code


@pytest.mark.parametrize(
    ("args", "variable", "value"),
    [
        (["status"], "POSTROOM_API_URL", "ws://127.0.0.1:1"),
        (["status"], "POSTROOM_API_URL", "http://127.0.0.1:99999"),
        (["listen", "session:1"], "POSTROOM_URL", "ws://127.0.0.1:99999/v1/ws"),
        (["listen", "session:1"], "POSTROOM_URL", "ws://[::1/v1/ws"),
        (["publish", "session:1", "a.b"], "POSTROOM_TOKEN", "hush\nhush"),
    ],
)
def test_a_wrong_variable_is_a_failure_that_names_it(run: Run, args: Sequence[str], variable: str, value: str) -> None:
    """And a token is not repeated."""
    outcome = run(*args, environ={variable: value})
    assert (outcome.code, outcome.out) == (1, "")
    assert f"postroom: {variable}: " in outcome.err
    assert "hush" not in outcome.err


# --- token


def test_a_token_from_the_command_line_is_one_that_a_router_takes(run: Run) -> None:
    """Nothing else is on stdout, so that $(...) works."""
    outcome = run(
        "token", "--user", "ada", "--role", "service", "--room", "session:*", "--room", "job:1",
        "--publish", "*", "--sub", "doc:9", "--ttl", "7d", environ={"POSTROOM_SECRET": SECRET},
    )  # fmt: skip
    assert outcome.code == 0
    answers: list[object] = []
    Authenticator(Settings(secret=SECRET)).check(outcome.out.removesuffix("\n"), answers.append)
    (identity,) = answers
    assert (getattr(identity, "user", None), getattr(identity, "rooms", None)) == ("ada", ("session:*", "job:1"))
    assert getattr(identity, "subs", None) == ("doc:9",)


def test_a_token_carries_the_audience_and_issuer_of_the_settings(run: Run, tmp_path: Path) -> None:
    """A router with the same file would refuse it otherwise."""
    (tmp_path / "p.toml").write_text(f'secret = "{SECRET}"\naudience = "here"\nissuer = "me"\n')
    token = run("token", "--user", "ada", "--config", "p.toml").out.strip()
    answers: list[object] = []
    Authenticator(Settings(secret=SECRET, audience="here", issuer="me")).check(token, answers.append)
    assert getattr(answers[0], "role", answers[0]) == "user"


def test_without_a_secret_there_is_no_token(run: Run) -> None:
    """The message has the command that makes one."""
    outcome = run("token", "--user", "ada")
    assert (outcome.code, outcome.out) == (1, "")
    assert "secrets.token_urlsafe(32)" in outcome.err


def test_a_short_secret_is_refused_and_not_shown(run: Run) -> None:
    """Here as in `serve`."""
    outcome = run("token", "--user", "ada", environ={"POSTROOM_SECRET": "hunter2"})
    assert outcome.code == 1
    assert "32" in outcome.err
    assert "hunter2" not in outcome.err


@pytest.mark.parametrize(
    "args",
    [
        ["--user", "ada", "--role", "root"],
        ["--user", "a b"],
        ["--user", ""],
        ["--user", "ada", "--ttl", "5"],
        ["--user", "ada", "--ttl", "0s"],
        ["--user", "ada", "--ttl", "1.5h"],
        ["--user", "ada", "--ttl", "-1h"],
        ["--user", "ada", "--room", ""],
        ["--user", "ada", "--room", "session 1"],
        ["--user", "ada", "--room", "Session:*"],
        ["--user", "ada", "--publish", "session"],
        ["--user", "ada", "--publish", "a>*"],
        ["--user", "ada", "--sub", "doc:*"],
    ],
)
def test_a_token_that_no_router_would_take_is_not_made(run: Run, args: Sequence[str]) -> None:
    """It is wrong usage."""
    assert run("token", *args, environ={"POSTROOM_SECRET": SECRET}).code == 2


@pytest.mark.parametrize(
    "pattern", ["*", "**", "*1", "*:*", "s*n:1", "sess*", "*1*", "broad*", "system", "*:é", "-".join("a" * 32) + "-*"]
)
def test_a_pattern_that_can_match_a_room_is_taken(run: Run, pattern: str) -> None:
    """However little it says."""
    assert run("token", "--user", "ada", "--room", pattern, environ={"POSTROOM_SECRET": SECRET}).code == 0


def test_a_token_that_never_counts_is_explained(run: Run) -> None:
    assert "more than zero" in run("token", "--user", "ada", "--ttl", "0s", environ={"POSTROOM_SECRET": SECRET}).err


@pytest.mark.parametrize(("ttl", "seconds"), [("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604_800)])
def test_the_time_of_a_token_has_a_unit(run: Run, ttl: str, seconds: int) -> None:
    """Seconds, minutes, hours, days."""
    token = run("token", "--user", "ada", "--ttl", ttl, environ={"POSTROOM_SECRET": SECRET}).out.strip()
    answers: list[object] = []
    now = Authenticator(Settings(secret=SECRET))._now()
    Authenticator(Settings(secret=SECRET)).check(token, answers.append)
    assert abs(getattr(answers[0], "expires_at", 0) - now - seconds) < 10


# --- check-config


def test_check_config_shows_every_setting_and_its_source(run: Run, tmp_path: Path) -> None:
    """But never the secret."""
    (tmp_path / "p.toml").write_text("max_rooms = 5\n")
    outcome = run(
        "check-config", "--config", "p.toml", "--port", "9000",
        environ={"POSTROOM_SECRET": SECRET, "POSTROOM_ORIGINS": "https://a.example"},
    )  # fmt: skip
    assert outcome.code == 0
    assert re.search(r"^port = 9000 +# --port$", outcome.out, re.MULTILINE)
    assert re.search(r"^max_rooms = 5 +# p\.toml$", outcome.out, re.MULTILINE)
    assert re.search(r'^origins = \["https://a\.example"\] +# POSTROOM_ORIGINS$', outcome.out, re.MULTILINE)
    assert re.search(r"^api_port = 8001 +# default$", outcome.out, re.MULTILINE)
    assert SECRET not in outcome.out
    assert "secret = ***" in outcome.out


def test_what_check_config_prints_is_a_settings_file(run: Run, tmp_path: Path) -> None:
    """It reads back as it was."""
    first = run("check-config", "--dev").out
    (tmp_path / "p.toml").write_text(first)
    assert tomllib.loads(run("check-config", "--config", "p.toml").out) == tomllib.loads(first)


def test_check_config_takes_what_serve_takes_of_a_cluster(run: Run, tmp_path: Path) -> None:
    """A URL with a password in it is left out of the settings file, as the secret is."""
    urls = ("--cluster", "nats://me:p4ssword@one:4222", "--cluster", "nats://two:4222", "--workers", "3")
    outcome = run("check-config", "--dev", *urls, environ={"POSTROOM_CLUSTER_REPLICAS": "3"})
    assert '# cluster = ["nats://me:***@one:4222", "nats://two:4222"]' in outcome.out
    assert "p4ssword" not in outcome.out
    assert re.search(r"^workers = 3 +# --workers$", outcome.out, re.MULTILINE)
    first = run("check-config", "--dev", *urls[2:]).out
    (tmp_path / "p.toml").write_text(first)
    assert tomllib.loads(run("check-config", "--config", "p.toml").out) == tomllib.loads(first)


def test_check_config_refuses_what_serve_would(run: Run, tmp_path: Path) -> None:
    """Exit code 1 for a bad file or variable, 2 for a bad option."""
    (tmp_path / "p.toml").write_text("max_room = 5\n")
    bad_file = run("check-config", "--config", "p.toml")
    assert bad_file.code == 1
    assert "did you mean max_rooms?" in bad_file.err
    assert run("check-config", environ={"POSTROOM_KEY_FILE": "none.pem"}).code == 1
    assert run("check-config", "--dev", "--host", "0.0.0.0").code == 2
    assert run("check-config", "--dev", "--journal", "a/folder/").code == 2


def test_a_variable_that_means_nothing_is_warned_about(run: Run) -> None:
    """It stops nobody, as platforms set some by themselves."""
    outcome = run("check-config", "--dev", environ={"POSTROOM_PROT": "1"})
    assert outcome.code == 0
    assert "POSTROOM_PROT is not a setting and was ignored; did you mean POSTROOM_PORT?" in outcome.err


# --- serve and demo, with a stand-in for the router


class FakeRouter(ModuleType):
    """Stands in for `server.process`: notes what it was asked to run, and is ready at once."""

    def __init__(self) -> None:
        super().__init__("server.process")
        self.settings: Settings | None = None
        self.plugins: list[object] = []
        self.error: Exception | None = None

    def run(
        self,
        settings: Settings,
        *,
        on_ready: Callable[..., None],
        plugins: Sequence[object],
        load: Callable[[], Settings],
    ) -> int:
        assert load() == settings, "a reload would not gather what the start did"
        if self.error is not None:
            raise self.error
        self.settings = settings
        self.plugins = list(plugins)
        structlog.get_logger("fake").info("router_ready")
        port, api_port = settings.port or 40_000, settings.api_port or 40_001
        on_ready(SimpleNamespace(ws_url=f"ws://127.0.0.1:{port}/v1/ws", api_url=f"http://127.0.0.1:{api_port}"))
        return 0


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> FakeRouter:
    fake = FakeRouter()
    monkeypatch.setitem(sys.modules, "server.process", fake)
    monkeypatch.setattr("server.process", fake, raising=False)
    return fake


def test_serve_says_where_clients_connect_and_what_to_try(run: Run, router: FakeRouter) -> None:
    """Plain lines on stdout; logs go to stderr."""
    outcome = run("serve", "--dev")
    assert outcome.code == 0
    for words in (
        "ws://127.0.0.1:8000/v1/ws",
        "http://127.0.0.1:8001",
        "ws://127.0.0.1:8000/connection/websocket",
        "http://127.0.0.1:8000  (transports",
        "http://127.0.0.1:8001/v1/rooms/ROOM/stream",
        f"in postroom-data/journal.db under {Path.cwd()}\n",
        "everyone on this machine",
        "postroom listen session:1\n",
    ):
        assert words in outcome.out
    assert "router_ready" in outcome.err
    assert "router_ready" not in outcome.out


def test_serve_with_a_secret_says_how_to_make_a_token(run: Run, router: FakeRouter) -> None:
    """And with other ports the commands to try name them."""
    secret = {"POSTROOM_SECRET": SECRET, "POSTROOM_DOORS": "centrifuge"}
    outcome = run("serve", "--port", "0", "--api-port", "9001", environ=secret)
    assert "Closed              to everyone without a token\n" in outcome.out
    assert "Socket.IO" not in outcome.out
    assert "export POSTROOM_TOKEN=$(postroom token" in outcome.out
    assert "--url ws://127.0.0.1:40000/v1/ws" in outcome.out
    assert "--url http://127.0.0.1:9001" in outcome.out
    assert "--dev" not in outcome.out


def test_serve_without_a_secret_says_how_to_get_going(run: Run, router: FakeRouter) -> None:
    """Both ways: a try-out, and a secret."""
    outcome = run("serve")
    assert (outcome.code, outcome.out) == (1, "")
    assert "postroom serve --dev" in outcome.err
    assert "secrets.token_urlsafe(32)" in outcome.err
    assert router.settings is None


def test_a_python_that_is_too_old_is_told_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything else is imported, which would not work there."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setattr(sys, "version", "3.9.2 (main)")
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--dev"])
    assert str(ended.value.code).startswith(
        f"postroom: this is Python 3.9.2 ({sys.executable}), and Postroom needs 3.11"
    )


def test_the_settings_of_the_package_say_the_same_of_python() -> None:
    """What the command says, pip says as well."""
    metadata = configparser.ConfigParser()
    metadata.read(REPOSITORY / "setup.cfg")
    assert metadata["options"]["python_requires"] == ">=" + ".".join(map(str, cli._PYTHON))


def test_a_router_that_cannot_start_ends_with_its_reason(run: Run, router: FakeRouter) -> None:
    """A port in use, say."""
    router.error = PostroomError("port 8000 is in use: stop the other program or use --port")
    outcome = run("serve", "--dev")
    assert outcome.code == 1
    assert "postroom: port 8000 is in use" in outcome.err


def test_options_reach_the_settings(run: Run, router: FakeRouter) -> None:
    """Every one of them."""
    Path("p.toml").write_text("max_rooms = 5\n")
    Path("mine.py").write_text("def start(router): ...\n")
    run(
        "serve", "--dev", "--host", "::1", "--port", "1", "--api-port", "2", "--journal", "memory",
        "--config", "p.toml", "--plugin", "mine:start", "--plugin", "json:dumps",
    )  # fmt: skip
    assert router.settings is not None
    got = router.settings
    assert (got.host, got.port, got.api_port, got.journal, got.max_rooms) == ("::1", 1, 2, "memory", 5)
    assert [getattr(plugin, "__name__", "") for plugin in router.plugins] == ["start", "dumps"]


def test_the_demo_is_a_dev_router_with_sessions(run: Run, router: FakeRouter) -> None:
    """It prints which, and the command that shows one."""
    outcome = run("demo", "--port", "9000")
    assert outcome.code == 0
    assert router.settings is not None
    assert router.settings.dev
    assert [getattr(plugin, "__module__", "") for plugin in router.plugins] == [
        "server.demo",
        "server.demo_clients",
    ]
    assert "postroom listen session:demo-1 --url ws://127.0.0.1:9000/v1/ws" in outcome.out


@pytest.mark.parametrize(
    ("source", "spec", "words"),
    [
        (None, "no_such_plugin:start", "no module 'no_such_plugin'"),
        (None, "no_such_plugin.part:start", "no module 'no_such_plugin'"),
        ("x = 1\n", "plug_a:start", "has no function 'start'"),
        ("start = 1\n", "plug_b:start", "is not a function"),
        ("import no_such_module\n", "plug_c:start", "plug_c.py:1: ModuleNotFoundError"),
        ("\n1 / 0\n", "plug_d:start", "plug_d.py:2: ZeroDivisionError"),
        ("def start(:\n", "plug_e:start", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_explained(
    run: Run, router: FakeRouter, source: str | None, spec: str, words: str
) -> None:
    """Before anything listens."""
    if source is not None:
        Path(f"{spec.partition(':')[0]}.py").write_text(source)
    outcome = run("serve", "--dev", "--plugin", spec)
    assert outcome.code == 1
    assert words in outcome.err
    assert router.settings is None


def test_modules_of_the_working_folder_replace_no_installed_ones(run: Run, router: FakeRouter) -> None:
    """The folder is at the end of the path."""
    Path("graphlib.py").write_text("raise SystemExit('the wrong one')\n")
    assert run("serve", "--dev", "--plugin", "graphlib:TopologicalSorter").code == 0
    assert sys.path[-1] == str(Path.cwd())


# --- publish and status, with a scripted HTTP API


class QuietServer(ThreadingHTTPServer):
    """It waits for its threads, and says nothing of clients that went away."""

    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Api:
    """A scripted HTTP API; it remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None, object]] = []
        self.answers: dict[str, tuple[int, str]] = {}
        self.hold = threading.Event()
        self.hold.set()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                api.requests.append((self.path, self.headers.get("Authorization"), body))
                api.hold.wait(10)
                status, text = api.answers.get(self.path, (404, "nothing here"))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, path: str, status: int, body: object) -> None:
        self.answers[path] = (status, json.dumps(body))

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.close()


RECEIPT = {"room": "session:42", "epoch": "e1", "offset": 17, "event_id": "x-1", "duplicate": False}
HELLO = '{"level": "info", "message": "hello"}'


def test_publish_sends_the_event_and_prints_the_receipt(run: Run, api: Api) -> None:
    """With the token, and an id so that the router takes it once."""
    api.answer("/v1/publish", 200, {"results": [RECEIPT]})
    outcome = run("publish", "session:42", "notification", HELLO, "--url", api.url, "--token", "t.t.t")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "session:42 #17  position e1:17  event x-1\n"
    ((path, authorization, body),) = api.requests
    assert (path, authorization) == ("/v1/publish", "Bearer t.t.t")
    assert isinstance(body, dict)
    assert len(body.pop("event_id")) == 36
    assert body == {"room": "session:42", "kind": "notification", "data": json.loads(HELLO)}


def test_publish_takes_url_token_and_data_from_where_scripts_have_them(run: Run, api: Api) -> None:
    """The environment and stdin."""
    api.answer("/v1/publish", 200, {"results": [{**RECEIPT, "duplicate": True}]})
    environ = {"POSTROOM_API_URL": f"{api.url}/", "POSTROOM_TOKEN": "t.t.t"}
    outcome = run("publish", "session:42", "build.done", "-", "--event-id", "x-1", environ=environ, stdin='{"a": 1}\n')
    assert "#17, which was there already" in outcome.out
    ((_, authorization, body),) = api.requests
    assert authorization == "Bearer t.t.t"
    assert body == {"room": "session:42", "kind": "build.done", "data": {"a": 1}, "event_id": "x-1"}


def test_publish_sends_key_delivery_and_ack(run: Run, api: Api) -> None:
    """Where they are given."""
    api.answer("/v1/publish", 200, {"results": [RECEIPT]})
    alert = '{"severity": "low", "title": "x"}'
    options = ("--key", "worker-1", "--delivery", "keep", "--ack", "required")
    assert run("publish", "session:42", "alert", alert, *options, "--url", api.url).code == 0
    ((_, _, body),) = api.requests
    assert isinstance(body, dict)
    assert (body["key"], body["delivery"], body["ack"]) == ("worker-1", "keep", "required")


@pytest.mark.parametrize("stdin", ["[" * 100_000, '{"a": ' * 100_000, "", "\udcff"])
def test_what_stdin_has_must_be_json(run: Run, stdin: str) -> None:
    """The message repeats its beginning only."""
    outcome = run("publish", "session:42", "a.b", "-", stdin=stdin)
    assert outcome.code == 2
    assert "JSON" in outcome.err
    assert len(outcome.err) < 1000


def test_white_space_around_a_token_is_not_part_of_it(run: Run, api: Api) -> None:
    """Files and Windows leave some at its end; a variable with nothing else is no token."""
    api.answer("/v1/publish", 200, {"results": [RECEIPT]})
    for token in (" t.t.t\r\n", " \n"):
        run("publish", "session:42", "a.b", "--url", api.url, environ={"POSTROOM_TOKEN": token})
    assert [authorization for _, authorization, _ in api.requests] == ["Bearer t.t.t", None]


def test_the_receipt_can_be_json(run: Run, api: Api) -> None:
    """For programs."""
    api.answer("/v1/publish", 200, {"results": [RECEIPT]})
    outcome = run("publish", "session:42", "build.done", "--json", "--url", api.url)
    assert json.loads(outcome.out) == RECEIPT


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["42", "notification", HELLO], "'42' is not the name of a room"),
        (["session:*", "notification", HELLO], "is not the name of a room"),
        (["session:42", "notification", "{level: info}"], "single quotes"),
        (["session:42", "notification", "[1]"], "not a JSON object"),
        (["session:42", "notification", "{}"], '{"level": "info", "message"'),
        (["session:42", "progress", '{"current": "three"}'], '{"current": 3, "total": 10}'),
        (["session:42", "note", "{}"], "with a dot"),
        (["session:42", "a.b", "{}", "--url", "localhost:8001"], "not the URL of an HTTP API"),
        (["session:42", "a.b", "{}", "--url", "ws://127.0.0.1:8000"], "not the URL of an HTTP API"),
        (["session:42", "a.b", "{}", "--url", "http://127.0.0.1:99999"], "not the URL of an HTTP API"),
        (["session:42", "a.b", "{}", "--url", "http://a..b:1"], "not the URL of an HTTP API"),
        (["session:42", "a.b", "{}", "--event-id", "x" * 201], "event_id"),
        (["session:42", "a.b", "{}", "--event-id", ""], "1 to 200 characters"),
        (["session:42", "a.b", "{}", "--key", ""], "key must have 1 to 200 characters"),
        (["session:42", "a.b", "{}", "--delivery", "now"], "'keep', 'latest' or 'ephemeral'"),
        (["session:42", "a.b", "{}", "--ack", "required"], "only an alert takes ack"),
        (["session:42", "a.b", '{"a": NaN}'], "not JSON that can be read"),
        (["session:42", "a.b", '{"a": 1e999}'], "not JSON that can be read"),
        (["session:42", "a.b", "{}", "--token", "a\nb"], "control character"),
    ],
)
def test_an_event_that_cannot_be_right_is_not_sent(run: Run, args: Sequence[str], words: str) -> None:
    """Wrong usage, with an example of what would be right."""
    outcome = run("publish", *args)
    assert outcome.code == 2
    assert words in outcome.err


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"code": "unauthenticated", "detail": "no token"}, "export POSTROOM_TOKEN=$(postroom token"),
        (401, {"code": "token_expired", "detail": "over"}, "export POSTROOM_TOKEN=$(postroom token"),
        (403, {"code": "forbidden", "detail": "not your room"}, "role service"),
        (401, {"code": "unauthenticated", "detail": "no key: leave the token out"}, "unset POSTROOM_TOKEN"),
        (503, {"code": "busy", "title": "Busy"}, "try again"),
        (500, {"title": "Internal error \x1b[31m"}, "Internal error \\x1b[31m"),
        (200, {"results": [{"error": {"code": "session_ended", "message": "it ended"}}]}, "it ended"),
        (200, {"results": []}, "HTTP 200"),
        (200, {}, "HTTP 200"),
    ],
)
def test_a_refused_event_is_a_failure_with_advice(run: Run, api: Api, status: int, body: object, words: str) -> None:
    """Nothing on stdout."""
    api.answer("/v1/publish", status, body)
    outcome = run("publish", "session:42", "a.b", "--url", api.url)
    assert (outcome.code, outcome.out) == (1, "")
    assert "was not published" in outcome.err
    assert words in outcome.err


def test_after_an_internal_error_nobody_knows(run: Run, api: Api) -> None:
    """The message has the id that makes trying again safe."""
    api.answer("/v1/publish", 500, {"code": "internal", "detail": "an actor failed"})
    outcome = run("publish", "session:42", "a.b", "--event-id", "x-1", "--url", api.url)
    assert outcome.code == 1
    assert "whether the event was published is not known" in outcome.err
    assert "--event-id x-1" in outcome.err


def test_something_else_at_the_url_is_recognised(run: Run, api: Api) -> None:
    """The WebSocket port, for example."""
    outcome = run("publish", "session:42", "a.b", "--url", api.url)
    assert outcome.code == 1
    assert "not the HTTP API of a router (HTTP 404" in outcome.err


def test_an_answer_that_does_not_come_is_ambiguous(run: Run, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the id that makes trying again safe."""
    monkeypatch.setattr("server.commands.api.TIMEOUT_S", 0.1)
    api.hold.clear()
    outcome = run("publish", "session:42", "a.b", "--url", api.url)
    assert outcome.code == 1
    assert "may have been published" in outcome.err
    ((_, _, body),) = api.requests
    assert isinstance(body, dict)
    assert f"--event-id {body['event_id']}" in outcome.err


@pytest.mark.parametrize("args", [["publish", "session:42", "a.b"], ["status"]])
def test_no_router_at_the_url(run: Run, args: Sequence[str]) -> None:
    """The message has the command that starts one."""
    outcome = run(*args, "--url", "http://127.0.0.1:9")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no router answers at http://127.0.0.1:9" in outcome.err
    assert "postroom serve --dev" in outcome.err


def test_status_of_a_router_that_is_ready(run: Run, api: Api) -> None:
    """One line with its figures."""
    figures = {"connections": 3, "rooms": 2, "uptime_s": 3725.4, "version": "0.1.0", "journal": "memory"}
    api.answer("/healthz", 200, {"status": "ok"})
    api.answer("/readyz", 200, {"ready": True, **figures})
    outcome = run("status", environ={"POSTROOM_API_URL": api.url})
    assert outcome.code == 0
    assert outcome.out == (
        f"ready: 3 connections, 2 rooms, up 1 h 2 min, version 0.1.0, events in memory ({api.url})\n"
    )


def test_status_of_a_router_that_is_not(run: Run, api: Api) -> None:
    """The reason, and exit code 1."""
    api.answer("/healthz", 200, {"status": "ok"})
    api.answer("/readyz", 503, {"ready": False, "reason": "draining"})
    outcome = run("status", "--url", api.url)
    assert (outcome.code, outcome.out) == (1, "")
    assert "not ready: draining" in outcome.err
    api.answer("/healthz", 500, {})
    assert "HTTP 500 from /healthz" in run("status", "--url", api.url).err


def test_a_router_that_hangs_is_told_from_one_that_is_not_there(
    run: Run, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts and says nothing."""
    monkeypatch.setattr("server.commands.api.TIMEOUT_S", 0.1)
    api.hold.clear()
    outcome = run("status", "--url", api.url)
    assert outcome.code == 1
    assert "hangs or is overloaded" in outcome.err
