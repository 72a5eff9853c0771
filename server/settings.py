"""Every setting: flags, environment and a TOML file in, one frozen `Settings` or a `SettingsError` out.

A flag wins over `POSTROOM_<NAME>`, that over the file, that over the default. An empty variable counts as not
set. In the environment, lists are separated by commas, and `none` is the empty one.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, inspect

from actors.errors import PostroomError

from .setting_values import HIDDEN, MAKE_SECRET, complaint, convert, is_loopback, read_secret, without_password

__all__ = [
    "DEFAULT_JOURNAL",
    "MEMORY",
    "Count",
    "CountOrZero",
    "Door",
    "Port",
    "Protocol",
    "Seconds",
    "SecondsOrZero",
    "Settings",
    "SettingsError",
    "load",
    "resolve",
    "unknown_variables",
]

DEFAULT_JOURNAL = "postroom-data/journal.db"
MEMORY = "memory"

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]
SecondsOrZero = Annotated[float, Meta(ge=0)]
_NONE = "none"
"""In a variable: the empty list, as an empty variable counts as not set. No setting's list has a part of this name."""
Protocol = Literal["postroom.v1", "centrifuge"]
Door = Literal["centrifuge", "socketio"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set, with its default. `load` checks the values; the constructor does not.

    Durations are seconds, sizes are bytes. `repr` hides the secret and passwords.
    """

    host: str = "127.0.0.1"
    """Address that WebSocket clients connect to; `0.0.0.0` or `::` is every interface."""
    port: Port = 8000
    """Port of the WebSocket listener. 0: any free port."""
    api_host: str = "127.0.0.1"
    """Address of the HTTP API, for services and operators; keep it off the public network."""
    api_port: Port = 8001
    """Port of the HTTP API. 0: any free port."""

    journal: str = DEFAULT_JOURNAL
    """File that events are kept in, made on first use; only one router may have it. `memory`: gone when it stops."""
    journal_bytes: CountOrZero = 1_073_741_824
    """How large the file may grow before rooms that nobody has open lose their history, those used longest ago first;
    open rooms keep theirs. 0: no bound."""
    cluster: tuple[str, ...] = ()
    """URLs of NATS servers (`nats://host:4222`, `tls://..`), any of one NATS cluster: their JetStream keeps the events
    instead of `journal`, and every router on it serves the same rooms. Empty: this router is alone."""
    cluster_name: str = "postroom"
    """What the routers of one cluster have in common; routers under another name on the same NATS are strangers."""
    cluster_user: str | None = None
    """User name for NATS. None: none, or the one in the URL."""
    cluster_password: str | None = None
    """Password for NATS. None: none, or the one in the URL."""
    cluster_credentials: Path | None = None
    """Credentials file for NATS (`.creds`: a JWT and its key). None: no such file."""
    cluster_ca: Path | None = None
    """PEM file with the authorities that a NATS server's certificate may come from. None: those of the system."""
    cluster_certificate: Path | None = None
    """PEM file with the certificate, and the key, that this router shows to NATS. None: it shows none."""
    cluster_replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    """On how many NATS servers each event is kept; 3 outlive the loss of one. Given when the streams are made."""
    cluster_keep_s: Annotated[float, Meta(ge=3600)] = 604_800.0
    """How long the cluster keeps events that no router has dropped: those of rooms that nobody uses any more."""
    node: str | None = None
    """This router's name in the cluster, the same after a restart. None: the host's name, and the port."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """Router processes on the same ports of this machine, each a node of the cluster; 64 at most. More than 1 without
    `cluster`: a NATS server is started for them."""
    plugins: tuple[str, ...] = ()
    """Functions called with the router once it is up, as `MODULE:FUNCTION`. Empty: none."""

    dev: bool = False
    """No token needed and no caps per user, address and second; loopback addresses only."""
    secret: str | None = None
    """Shared secret that HS256 tokens are signed with, 32 bytes or more. None: HS256 tokens are refused."""
    secret_file: Path | None = None
    """File that holds the secret, instead of `secret`; one line end after it is ignored. None: no such file."""
    key_file: Path | None = None
    """PEM file with the public key that RS256 (RSA) or ES256 (P-256) tokens are checked with. None: no such key."""
    jwks_url: str | None = None
    """Where the identity provider publishes its keys (RFC 7517): https, or http on loopback. None: nowhere."""
    audience: str | None = None
    """What `aud` of every token must hold. None: `aud` is not looked at."""
    issuer: str | None = None
    """What `iss` of every token must be. None: `iss` is not looked at."""
    origins: tuple[str, ...] = ()
    """Exact origins (`https://app.example.com`) whose pages may connect. Empty: pages of the same host only."""

    heartbeat_s: Seconds = 25.0
    """Time between two pings to a client."""
    pong_timeout_s: Seconds = 10.0
    """How long a ping's answer may take before the client counts as gone."""
    hello_timeout_s: Seconds = 10.0
    """How long a client may be connected without `hello` (close 4408)."""
    handshake_timeout_s: Seconds = 10.0
    """How long the HTTP upgrade may take."""
    max_handshakes: Count = 1000
    """Upgrades that may be unfinished at once; more are refused."""

    message_bytes: Annotated[int, Meta(ge=1024)] = 65_536
    """Largest message that a client or publisher may send."""
    outbox_bytes: Count = 1_048_576
    """Most that may wait for one client before it is closed as a slow consumer (4002)."""
    stall_s: Seconds = 5.0
    """How long a client may read nothing at all while something waits for it, before it is cut."""
    max_rooms: Count = 128
    """Rooms that one connection may subscribe to."""
    doors: tuple[Door, ...] = ("centrifuge", "socketio")
    """Protocols that are spoken beside the native one: `centrifuge`, `socketio`. Empty: none."""
    compression: tuple[Protocol, ...] = ()
    """Protocols whose events are sent compressed to clients that can read it: `postroom.v1`, `centrifuge`. Empty:
    none."""

    socketio_namespaces: tuple[str, ...] = ("/",)
    """Namespaces that Socket.IO clients may connect to, all of them to the same rooms; `/` is always one of them."""

    max_connections: Count = 20_000
    """Connections of this process."""
    max_connections_per_user: CountOrZero = 20
    """Connections of one user. 0: no cap."""
    max_connections_per_address: CountOrZero = 0
    """Connections of one client address, and unfinished handshakes; behind a proxy all have the proxy's. 0: no cap."""
    commands_per_s: SecondsOrZero = 200.0
    """Commands per second of one connection of role `user`. 0: no limit."""
    commands_burst: Count = 400
    """Commands that such a connection may send at once before `commands_per_s` holds."""

    token_grace_s: SecondsOrZero = 25.0
    """How long a connection outlives its token, for a refresh on the way. 0: closed at once."""
    token_warning_s: SecondsOrZero = 60.0
    """How long before its token ends a client is told (`token_expiring`). 0: not told."""

    history_events: Count = 1000
    """Events that each room keeps for clients that come back."""
    history_s: Seconds = 600.0
    """How long each room keeps them."""
    dedupe_s: Seconds = 600.0
    """How long a room remembers an `event_id`: the same id within it gives the first receipt again."""
    escalate_after_s: SecondsOrZero = 300.0
    """When an alert that nobody acknowledged goes to `role:admin`, unless it says so itself. 0: never."""
    room_idle_s: SecondsOrZero = 60.0
    """How long a room without subscribers and events stays open. 0: it retires at once."""
    drain_s: Annotated[float, Meta(ge=0, lt=30)] = 20.0
    """How long SIGTERM waits for clients to leave by themselves; under 30. 0: they are closed at once."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log events that are written."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`json`: one JSON object a line; `console`: for people; `auto`: `console` on a terminal, else `json`."""

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        for name in HIDDEN:
            if values[name] is not None:
                values[name] = "***"
        values["cluster"] = tuple(without_password(url) for url in self.cluster)
        return list(values.items())


class SettingsError(PostroomError):
    """A setting cannot be used.

    Attributes:
        setting: Its name, or `config` for the file as a whole.
        source: Where the bad value came from: `--port`, `POSTROOM_PORT`, the file's name, or `default`.
        message: What is wrong and what to do.
    """

    def __init__(self, setting: str, source: str, message: str) -> None:
        super().__init__(setting, source, message)
        self.setting = setting
        self.source = source
        self.message = message

    @property
    def from_flag(self) -> bool:
        """Whether the command line itself was wrong, and not a file that it names."""
        return self.source.startswith("--") and self.setting != "config"

    def __str__(self) -> str:
        where = "" if self.source == "default" else f" (from {self.source})"
        return f"{self.setting}{where}: {self.message}"


_FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}
_TYPES = {field.name: field.type for field in inspect.type_info(Settings).fields}  # type: ignore[attr-defined]  # a StructType, typed as Type
_FILES = frozenset({"cluster_ca", "cluster_certificate", "cluster_credentials", "key_file", "secret_file"})
"""Those that name a file beside the settings file."""
_DEV_DEFAULTS: Mapping[str, object] = {"max_connections_per_user": 0, "commands_per_s": 0.0}
_OF_OWN_NATS = frozenset({"cluster_keep_s", "cluster_name"})
"""Those of a cluster's settings that mean something for the NATS server that is started for workers."""
_NOT_SETTINGS = frozenset({"config", "url", "api_url", "token"})
"""What the command line reads from `POSTROOM_*` besides settings."""


def load(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """Gather the settings and check that a router can run with them. Blocks while it reads the files they name.

    Args:
        flags: Values by setting name, from the command line; None means that the flag was not given.
        environ: The environment; `POSTROOM_CONFIG` names the file when `config` does not.
        config: A TOML file of settings by name; paths in it start from its folder. None: no file.

    Raises:
        SettingsError: A value is wrong, or two do not go together.
    """
    settings, sources = resolve(flags, environ, config)
    _check_together(settings, sources)
    return settings


def resolve(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> tuple[Settings, dict[str, str]]:
    """Gather the settings, each checked by itself, and say where each came from.

    Arguments are those of `load`. The second result has a source for every setting: a flag, a variable, the
    file's name, `default`, or `default of --dev`.

    Raises:
        SettingsError: A value is wrong.
    """
    environ = environ or {}
    values: dict[str, object] = {}
    sources = dict.fromkeys(_FIELDS, "default")
    for source_name, raw, name in (
        *_from_file(config, environ),
        *_from_environ(environ),
        *_from_flags(flags or {}),
    ):
        values[name] = _value(name, raw, source_name)
        sources[name] = source_name
    _read_secret(values, sources)
    if values.get("dev"):
        for name, value in _DEV_DEFAULTS.items():
            if name not in values:
                values[name] = value
                sources[name] = "default of --dev"
    return msgspec.structs.replace(Settings(), **values), sources


def _read_secret(values: dict[str, object], sources: dict[str, str]) -> None:
    """Take the secret out of its file."""
    path = values.get("secret_file")
    if not isinstance(path, Path):
        return
    if "secret" in values:
        message = f"there is a secret, too (from {sources['secret']}): give one of them"
        raise SettingsError("secret_file", sources["secret_file"], message)
    try:
        secret = read_secret(path)
    except ValueError as error:
        raise SettingsError("secret_file", sources["secret_file"], str(error)) from None
    values["secret"] = _value("secret", secret, str(path))
    sources["secret"] = str(path)


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Find `POSTROOM_*` variables that mean nothing here, each with a hint (empty: nothing is close).

    They are worth a warning and no more: Kubernetes sets `POSTROOM_SERVICE_HOST` and the like by itself when
    a service is called `postroom`.
    """
    names = [key.removeprefix("POSTROOM_") for key in environ if key.startswith("POSTROOM_")]
    known = {*_FIELDS, *_NOT_SETTINGS}
    platform = re.compile(r"(.*_)?(SERVICE_(HOST|PORT)|PORT_\d+_)")
    return {
        f"POSTROOM_{name}": f"did you mean POSTROOM_{close[0].upper()}?" if close else ""
        for name in names
        if name.lower() not in known and not platform.match(name)
        for close in [difflib.get_close_matches(name.lower(), known, n=1)]
    }


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    for name, raw in flags.items():
        if raw is not None and raw != []:
            yield "--plugin" if name == "plugins" else f"--{name.replace('_', '-')}", raw, name


def _from_environ(environ: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    for name in _FIELDS:
        variable = f"POSTROOM_{name.upper()}"
        raw = environ.get(variable, "").strip()
        if not raw:
            continue
        if name.endswith("port") and raw.startswith("tcp://"):
            message = (
                f"{raw!r} was set by Kubernetes, which does so for a service called 'postroom': "
                "set `enableServiceLinks: false` in the pod, or give the service another name"
            )
            raise SettingsError(name, variable, message)
        if not isinstance(_TYPES[name], inspect.VarTupleType):
            yield variable, raw, name
        elif raw.lower() == _NONE:
            yield variable, [], name
        else:
            yield variable, [part.strip() for part in raw.split(",") if part.strip()], name


def _from_file(config: Path | None, environ: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    source = "--config"
    if config is None and environ.get("POSTROOM_CONFIG"):
        config, source = Path(environ["POSTROOM_CONFIG"]), "POSTROOM_CONFIG"
    if config is None:
        return
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("config", source, f"cannot read {config}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError("config", source, f"{config} is not a TOML file: {error}") from error
    for name, raw in table.items():
        if name not in _FIELDS:
            close = difflib.get_close_matches(name.replace("-", "_").lower(), _FIELDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"settings are: {', '.join(_FIELDS)}"
            raise SettingsError(name, str(config), f"there is no such setting; {hint}")
        if isinstance(raw, str) and (name in _FILES or (name == "journal" and raw != MEMORY)):
            raw = str(config.parent / raw)
        yield str(config), raw, name


def _value(name: str, raw: object, source: str) -> object:
    """Convert one raw value to its setting's type and check it by itself."""
    try:
        value = convert(raw, _TYPES[name], _FIELDS[name].type, show=name not in HIDDEN)
    except ValueError as error:
        raise SettingsError(name, source, str(error)) from None
    wrong = complaint(name, value)
    if wrong is not None:
        raise SettingsError(name, source, wrong)
    return value


def _check_together(settings: Settings, sources: Mapping[str, str]) -> None:
    """Refuse values that are fine by themselves and wrong together."""
    if settings.dev:
        for name in ("host", "api_host"):
            address = getattr(settings, name)
            if not is_loopback(address):
                message = (
                    f"--dev lets everyone who reaches the router do everything, so it listens on loopback only, "
                    f"and {address!r} is not: leave --dev out and set a secret ({MAKE_SECRET}), or use 127.0.0.1"
                )
                raise SettingsError(name, sources[name], message)
    elif settings.secret is None and settings.key_file is None and settings.jwks_url is None:
        message = (
            "the router has nothing to check tokens with.\n"
            "  To try it out on this machine:        postroom serve --dev\n"
            f"  To run it for others, make a secret:  {MAKE_SECRET}\n"
            "  (or name its file in secret_file; or use key_file or jwks_url, if an identity provider makes the tokens)"
        )
        raise SettingsError("secret", sources["secret"], message)
    if settings.port == settings.api_port != 0 and settings.host == settings.api_host:
        message = f"{settings.api_port} is the port of the WebSocket listener already; choose another"
        raise SettingsError("api_port", sources["api_port"], message)
    if settings.heartbeat_s < settings.pong_timeout_s:
        message = (
            f"{settings.heartbeat_s:g} s is less than pong_timeout_s = {settings.pong_timeout_s:g} s: "
            "the next ping would come before the last one may be answered"
        )
        raise SettingsError("heartbeat_s", sources["heartbeat_s"], message)
    if settings.outbox_bytes < settings.message_bytes:
        message = f"{settings.outbox_bytes} cannot hold one message of message_bytes = {settings.message_bytes}"
        raise SettingsError("outbox_bytes", sources["outbox_bytes"], message)
    _check_cluster(settings, sources)
    if settings.key_file is not None:
        from .keys import KeyFileError, key_from_pem  # here: it takes long to import

        try:
            key_from_pem(settings.key_file)
        except KeyFileError as error:
            raise SettingsError("key_file", sources["key_file"], str(error)) from error


def _check_cluster(settings: Settings, sources: Mapping[str, str]) -> None:
    """Refuse what does not go together of a cluster's settings."""

    def given(name: str) -> bool:
        # A default that a settings file repeats, as `check-config` prints it, changes nothing.
        return sources[name] != "default" and getattr(settings, name) != _FIELDS[name].default

    own_nats = settings.workers > 1 and not settings.cluster
    for name in _FIELDS:
        if not settings.cluster and name.startswith("cluster_") and given(name):
            if not own_nats:
                message = "this router is in no cluster: name NATS servers in `cluster`, or leave this out"
                raise SettingsError(name, sources[name], message)
            if name not in _OF_OWN_NATS:
                message = "the workers' own NATS server needs none: name others in `cluster`, or leave this out"
                raise SettingsError(name, sources[name], message)
    if settings.cluster and given("journal"):
        message = f"events are kept by the NATS servers in `cluster` (from {sources['cluster']}): give one of them"
        raise SettingsError("journal", sources["journal"], message)
    if settings.cluster_credentials is not None:
        for name in ("cluster_user", "cluster_password"):
            if given(name):
                message = f"there is cluster_credentials, too (from {sources['cluster_credentials']}): give one of them"
                raise SettingsError(name, sources[name], message)
    if given("cluster_password") and settings.cluster_user is None:
        raise SettingsError("cluster_password", sources["cluster_password"], "whose? Name the user in `cluster_user`")
    from .cluster.files import complaint_of_file  # here: few have them

    for name in ("cluster_ca", "cluster_certificate", "cluster_credentials"):
        path = getattr(settings, name)
        wrong = None if path is None else complaint_of_file(name, path)
        if wrong is not None:
            raise SettingsError(name, sources[name], wrong)
