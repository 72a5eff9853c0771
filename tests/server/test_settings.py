"""Settings: where values come from, which are refused, and what the refusals say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from actors.errors import PostroomError
from server.protocols.native import SUBPROTOCOL
from server.settings import DEFAULT_JOURNAL, Settings, SettingsError, load, resolve, unknown_variables

SECRET = "s3cret-" * 6


def refusal(
    flags: dict[str, object] | None = None,
    environ: dict[str, str] | None = None,
    config: Path | None = None,
) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(flags or {}, environ or {}, config)
    return caught.value


def test_a_secret_is_all_that_a_router_needs() -> None:
    """Everything else has a default."""
    settings = load({}, {"POSTROOM_SECRET": SECRET})
    assert settings == Settings(secret=SECRET)
    assert (settings.port, settings.api_port, settings.journal) == (8000, 8001, DEFAULT_JOURNAL)


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path: Path) -> None:
    """Each source gives way to the one before it, setting by setting, and is remembered."""
    config = tmp_path / "postroom.toml"
    config.write_text(f'secret = "{SECRET}"\nport = 1\napi_port = 2\nmax_rooms = 3\n')
    settings, sources = resolve({"port": 7}, {"POSTROOM_PORT": "8", "POSTROOM_API_PORT": "9"}, config)
    assert (settings.port, settings.api_port, settings.max_rooms, settings.max_handshakes) == (7, 9, 3, 1000)
    assert sources["port"] == "--port"
    assert sources["api_port"] == "POSTROOM_API_PORT"
    assert sources["max_rooms"] == str(config)
    assert sources["max_handshakes"] == "default"


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    """`POSTROOM_CONFIG` counts when no `--config` is given, and the flag wins."""
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text("port = 1\n")
    second.write_text("port = 2\n")
    environ = {"POSTROOM_CONFIG": str(first), "POSTROOM_SECRET": SECRET}
    assert load({}, environ).port == 1
    assert load({}, environ, second).port == 2


def test_flags_that_were_not_given_and_empty_variables_count_as_not_set() -> None:
    """None is how the command line says so; an empty variable is how compose files do."""
    settings = load({"port": None, "plugins": [], "secret": None}, {"POSTROOM_PORT": " ", "POSTROOM_SECRET": SECRET})
    assert settings.port == 8000
    assert settings.plugins == ()


def test_lists_in_the_environment_are_separated_by_commas() -> None:
    """White space around the parts does not matter."""
    environ = {"POSTROOM_SECRET": SECRET, "POSTROOM_ORIGINS": "https://a.example, https://b.example:8443,"}
    assert load({}, environ).origins == ("https://a.example", "https://b.example:8443")


@pytest.mark.parametrize("none", ["none", " NONE "])
def test_a_variable_can_say_that_a_list_is_empty(none: str) -> None:
    """Where the default is not, nothing else could: an empty variable counts as not set."""
    assert load({}, {"POSTROOM_SECRET": SECRET, "POSTROOM_DOORS": ""}).doors == ("centrifuge", "socketio")
    assert load({}, {"POSTROOM_SECRET": SECRET, "POSTROOM_DOORS": none}).doors == ()


def test_compression_names_protocols() -> None:
    environ = {"POSTROOM_SECRET": SECRET, "POSTROOM_COMPRESSION": SUBPROTOCOL}
    assert load({}, environ).compression == (SUBPROTOCOL,)


def test_paths_in_the_file_start_from_its_folder(tmp_path: Path) -> None:
    """So the file means the same wherever the router is started."""
    config = tmp_path / "postroom.toml"
    config.write_text('key_file = "keys/public.pem"\n')
    assert resolve({}, {}, config)[0].key_file == tmp_path / "keys/public.pem"
    assert resolve({}, {"POSTROOM_KEY_FILE": "other.pem"}, config)[0].key_file == Path("other.pem")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("port", "http", "a whole number from 0 to 65535"),
        ("port", "65536", "a whole number from 0 to 65535"),
        ("max_rooms", "0", "a whole number of at least 1"),
        ("heartbeat_s", "0", "a number above 0"),
        ("heartbeat_s", "inf", "a number above 0"),
        ("token_grace_s", "-1", "a number, 0 or above"),
        ("drain_s", "30", "a number from 0 to less than 30"),
        ("dev", "perhaps", "true or false"),
        ("log_level", "loud", "one of debug, error, info, warning"),
        ("compression", "gzip", "a list with nothing else in it than centrifuge, postroom.v1"),
    ],
)
def test_a_wrong_value_is_named_with_its_source_and_what_is_wanted(name: str, value: str, wanted: str) -> None:
    """The message has the setting, the variable, the value and the range."""
    error = refusal(environ={f"POSTROOM_{name.upper()}": value})
    assert (error.setting, error.source) == (name, f"POSTROOM_{name.upper()}")
    assert repr(value) in str(error)
    assert wanted in str(error)
    assert not error.from_flag


def test_a_wrong_flag_is_told_from_a_wrong_file() -> None:
    """The command line's exit code depends on it."""
    assert refusal({"port": -1}).from_flag
    assert isinstance(refusal({"port": -1}), PostroomError)


@pytest.mark.parametrize("key", ["max_room", "max-rooms", "Max_Rooms"])
def test_an_unknown_key_in_the_file_is_refused_with_the_likely_one(tmp_path: Path, key: str) -> None:
    """A typing error must not run with the default."""
    config = tmp_path / "postroom.toml"
    config.write_text(f"{key} = 3\n")
    error = refusal(config=config)
    assert error.setting == key
    assert "did you mean max_rooms?" in str(error)


def test_an_unknown_key_that_is_like_none_gets_the_list(tmp_path: Path) -> None:
    """Sections are unknown keys too: the file is flat."""
    config = tmp_path / "postroom.toml"
    config.write_text("[zzz]\nport = 3\n")
    assert "settings are: host, port," in str(refusal(config=config))


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    """It was asked for, so it counts."""
    error = refusal(environ={"POSTROOM_CONFIG": str(tmp_path / "none.toml")})
    assert (error.setting, error.source) == ("config", "POSTROOM_CONFIG")
    assert "No such file" in str(error)
    config = tmp_path / "bad.toml"
    config.write_text("port = \n")
    assert "line 1" in str(refusal(config=config))
    config.write_bytes(b"\xff\xfe")
    assert "not a TOML file" in str(refusal(config=config))


def test_without_anything_to_check_tokens_with_the_router_does_not_start() -> None:
    """The message has a way out for a try-out and the command that makes a secret."""
    message = str(refusal())
    assert "--dev" in message
    assert 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"' in message


def test_each_kind_of_key_is_enough(tmp_path: Path) -> None:
    """Any one of the three."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    file = tmp_path / "public.pem"
    file.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for variable, value in [("SECRET", SECRET), ("KEY_FILE", str(file)), ("JWKS_URL", "https://id.example/jwks.json")]:
        load({}, {f"POSTROOM_{variable}": value})


def test_a_key_file_that_cannot_be_used_names_where_it_was_set(tmp_path: Path) -> None:
    """The settings file or the variable, not the key file; the message has the key file's own name."""
    config = tmp_path / "postroom.toml"
    config.write_text('key_file = "nope.pem"\n')
    in_file = refusal(config=config)
    assert (in_file.setting, in_file.source) == ("key_file", str(config))
    assert f"cannot read {tmp_path / 'nope.pem'}: No such file" in in_file.message
    assert refusal(environ={"POSTROOM_KEY_FILE": "nope.pem"}).source == "POSTROOM_KEY_FILE"
    config.write_text('key_file = "a\\u0000b"\n')
    assert "cannot read" in refusal(config=config).message


def test_a_settings_file_is_not_the_command_line() -> None:
    """What is wrong with the file that `--config` names is no wrong usage."""
    missing = refusal(config=Path("none.toml"))
    assert (missing.source, missing.from_flag) == ("--config", False)
    assert refusal({"port": "x"}).from_flag


def test_a_settings_file_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "postroom.toml"
    config.write_text(f"origins = {'[' * 100_000}")
    assert "not a TOML file" in refusal(config=config).message


@pytest.mark.parametrize("secret", ["short", "x" * 31, "ä" * 15])
def test_a_secret_that_can_be_guessed_is_refused_and_not_shown(secret: str) -> None:
    """Bytes count, not characters."""
    message = str(refusal(environ={"POSTROOM_SECRET": secret}))
    assert "needs 32" in message
    assert "token_urlsafe" in message
    assert secret not in message


def test_a_secret_of_32_bytes_will_do() -> None:
    """The bound itself is inside."""
    assert load({}, {"POSTROOM_SECRET": "ä" * 16}).secret == "ä" * 16


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (SECRET, SECRET),
        (f"{SECRET}\n", SECRET),
        (f"{SECRET}\r\n", SECRET),
        (f"{SECRET}\n\n", f"{SECRET}\n"),
        (f" {SECRET}", f" {SECRET}"),
    ],
)
def test_a_file_can_hold_the_secret(tmp_path: Path, content: str, secret: str) -> None:
    """All of it, but for one line end; in the settings file its path starts from there."""
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    settings = load({}, {"POSTROOM_SECRET_FILE": str(path)})
    assert (settings.secret, settings.secret_file) == (secret, path)
    assert SECRET not in repr(settings)
    config = tmp_path / "postroom.toml"
    config.write_text('secret_file = "secret"\n')
    assert load(config=config).secret == secret
    _, sources = resolve(config=config)
    assert (sources["secret"], sources["secret_file"]) == (str(path), str(config))


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"short", "needs 32"),
        (b"", "needs 32"),
        (b"\xff" * 40, "UTF-8"),
        (b"x" * 70_000, "no secret"),
        (b"-----BEGIN PRIVATE KEY-----\nabcdefgh\n" * 2, "key_file"),
        (None, "cannot read"),
    ],
)
def test_a_file_with_no_secret_is_refused_and_not_shown(tmp_path: Path, content: bytes | None, wrong: str) -> None:
    """By what it is called, and why."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    message = str(refusal(environ={"POSTROOM_SECRET_FILE": str(path)}))
    assert wrong in message
    assert str(path) in message
    assert "abcdefgh" not in message


def test_a_secret_and_a_file_of_it_exclude_each_other(tmp_path: Path) -> None:
    """Nobody should have to guess which one counts."""
    path = tmp_path / "secret"
    path.write_text(SECRET)
    error = refusal(environ={"POSTROOM_SECRET_FILE": str(path), "POSTROOM_SECRET": SECRET})
    assert error.setting == "secret_file"
    assert "POSTROOM_SECRET" in str(error)
    assert SECRET not in str(error)


def test_a_pem_key_is_no_secret() -> None:
    """A public key is known to everyone."""
    message = str(refusal(environ={"POSTROOM_SECRET": "-----BEGIN PUBLIC KEY-----\nabcdefgh\n"}))
    assert "key_file" in message
    assert "abcdefgh" not in message


def test_the_secret_is_not_in_any_repr(tmp_path: Path) -> None:
    """Logs and tracebacks show settings."""
    settings = load({}, {"POSTROOM_SECRET": SECRET})
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert ("secret", "***") in settings.__rich_repr__()
    assert "secret=None" in repr(Settings())
    config = tmp_path / "postroom.toml"
    config.write_text("secret = [1, 2]\n")
    assert "[1, 2]" not in str(refusal(config=config))


@pytest.mark.parametrize("name", ["host", "api_host"])
@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.4", "router.example", ""])
def test_dev_refuses_every_address_but_loopback(name: str, address: str) -> None:
    """Without tokens, whoever reaches the router may do everything."""
    error = refusal({"dev": True, name: address})
    assert error.setting == name
    assert "loopback" in str(error)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_dev_takes_loopback_and_needs_no_secret(address: str) -> None:
    """That is what it is for."""
    assert load({"dev": True, "host": address, "api_host": address}).dev


def test_pings_may_not_come_faster_than_they_are_answered() -> None:
    """The next ping would be sent while the last one may still be answered."""
    error = refusal(environ={"POSTROOM_SECRET": SECRET, "POSTROOM_HEARTBEAT_S": "9.5"})
    assert error.setting == "heartbeat_s"
    message = str(error)
    assert "POSTROOM_HEARTBEAT_S" in message
    assert "9.5 s is less than pong_timeout_s = 10 s" in message
    error = refusal({"pong_timeout_s": "26"}, {"POSTROOM_SECRET": SECRET})
    assert error.setting == "heartbeat_s"
    assert "25 s is less than pong_timeout_s = 26 s" in str(error)


def test_a_ping_as_often_as_its_answer_may_take_will_do() -> None:
    """The bound itself is inside."""
    settings = load({"heartbeat_s": "0.5", "pong_timeout_s": "0.5"}, {"POSTROOM_SECRET": SECRET})
    assert (settings.heartbeat_s, settings.pong_timeout_s) == (0.5, 0.5)


def test_dev_lifts_the_caps_that_were_not_set() -> None:
    """What was asked for stays."""
    settings, sources = resolve({"dev": True}, {"POSTROOM_MAX_CONNECTIONS_PER_USER": "5"})
    assert (settings.max_connections_per_user, settings.commands_per_s) == (5, 0)
    assert sources["commands_per_s"] == "default of --dev"


@pytest.mark.parametrize("journal", ["a/folder/", "", " "])
def test_a_journal_that_names_no_file_is_refused(journal: str) -> None:
    """A flag may be empty where a variable may not."""
    message = str(refusal({"dev": True, "journal": journal}))
    assert "postroom-data/journal.db" in message or "a/folder/journal.db" in message


def test_a_journal_in_the_file_is_beside_it_and_memory_is_no_path(tmp_path: Path) -> None:
    config = tmp_path / "postroom.toml"
    config.write_text('dev = true\njournal = "data/events.db"\n')
    assert load(config=config).journal == str(tmp_path / "data" / "events.db")
    config.write_text('dev = true\njournal = "memory"\n')
    assert load(config=config).journal == "memory"


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "app.example", "https://app.example/", "https://App.example", "https://app.example:443"],
)
def test_origins_are_exact(origin: str) -> None:
    """What a browser never sends would silently match nothing."""
    assert "not an origin" in str(refusal(environ={"POSTROOM_SECRET": SECRET, "POSTROOM_ORIGINS": origin}))


@pytest.mark.parametrize(
    "url", ["http://id.example/jwks", "file:///etc/passwd", "jwks.json", "https://", "http://[::1"]
)
def test_keys_are_fetched_over_https_or_from_this_machine(url: str) -> None:
    """Who can change the answer can make tokens."""
    assert refusal(environ={"POSTROOM_JWKS_URL": url}).setting == "jwks_url"
    assert load({}, {"POSTROOM_JWKS_URL": "http://127.0.0.1:9/jwks"}).jwks_url


@pytest.mark.parametrize("spec", ["module", "module:", ":start", "a b:start", "module.py:start()", "../x:y"])
def test_a_plugin_is_named_by_module_and_function(spec: str) -> None:
    """A path is not a module."""
    assert "MODULE:FUNCTION" in str(refusal({"dev": True, "plugins": [spec]}))
    assert load({"dev": True, "plugins": ["shop.events:start"]}).plugins == ("shop.events:start",)


def test_settings_that_contradict_each_other_are_refused() -> None:
    """Each is fine by itself."""
    assert refusal({"dev": True, "port": 9, "api_port": 9}).setting == "api_port"
    assert load({"dev": True, "port": 0, "api_port": 0}).port == 0
    assert refusal({"dev": True}, {"POSTROOM_OUTBOX_BYTES": "1024"}).setting == "outbox_bytes"


def test_variables_that_mean_nothing_are_found_with_a_hint() -> None:
    """They are warned about; the ones that Kubernetes sets by itself are not."""
    environ = {
        "POSTROOM_SECRETS": "x",
        "POSTROOM_QQQQQ": "x",
        "POSTROOM_PORT": "8000",
        "POSTROOM_API_URL": "x",
        "POSTROOM_SERVICE_HOST": "10.0.0.1",
        "POSTROOM_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "HOME": "/",
    }
    assert unknown_variables(environ) == {
        "POSTROOM_SECRETS": "did you mean POSTROOM_SECRET?",
        "POSTROOM_QQQQQ": "",
    }


def test_the_port_that_kubernetes_sets_is_explained() -> None:
    """A service called `postroom` makes POSTROOM_PORT=tcp://...; nobody would guess where that came from."""
    assert "enableServiceLinks" in str(refusal(environ={"POSTROOM_PORT": "tcp://10.0.0.1:8000"}))


def test_settings_do_not_change() -> None:
    """They are read from many places."""
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]  # what is tested
    assert msgspec.structs.replace(Settings(), port=1).port == 1


@pytest.mark.parametrize("namespace", ["", "admin", "/a b", "/a,b", "/ä", "/a?b", "/" + "x" * 101])
def test_a_namespace_is_refused_that_no_client_can_name(namespace: str) -> None:
    """It stands in clients' URLs, and between a slash and a comma in their packets."""
    assert "is not a namespace" in str(refusal({"dev": True, "socketio_namespaces": [namespace]}))


def test_namespaces_are_a_list_in_the_environment() -> None:
    """Separated by commas, as all lists are."""
    settings = load({"dev": True}, {"POSTROOM_SOCKETIO_NAMESPACES": "/admin, /shop/2"})
    assert settings.socketio_namespaces == ("/admin", "/shop/2")
