"""The reference: its tables say what the code says."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, get_args

import pytest
import typer

import postroom_client
import postroom_client.testing
from actors import commands, events, held, receipts, replies, state
from actors.errors import CloseCode, ErrorCode
from actors.log import MemoryLog
from postroom_client._closing import FINAL_CLOSE_CODES
from server import descriptors, intake, repeats, settings
from server.commands.group import app
from server.http import answers, bodies, publishing
from server.journals import faults, sqlite
from server.protocols import presence
from server.settings import Settings

from .pages import DOCS, PAGES, REFERENCE, REPOSITORY, name, rows, steps


def test_every_error_code_is_in_the_reference_with_what_it_means_for_trying_again() -> None:
    """The table names each code once and says `yes` where the same command may succeed later."""
    table = rows(REFERENCE / "errors.md")
    for code in ErrorCode:
        assert code in table, f"docs/reference/errors.md lacks {code}"
        assert table[code][1] == ("yes" if code.temporary else "no"), code
    statuses = {code: str(status) for code, status in answers.STATUS.items()}
    assert {code: table[code][2] for code in ErrorCode} == {code: statuses.get(code, "400") for code in ErrorCode}


def test_every_close_code_is_in_the_reference_with_whether_to_come_back() -> None:
    """The table has exactly the codes of the enum, by number and name; our own client comes back where it says so."""
    table = {int(key): row for key, row in rows(REFERENCE / "errors.md").items() if re.fullmatch(r"\d{4}", key)}
    of_the_websocket_layer = {1002: "protocol_error"}  # the router itself closes with the others
    assert {number: row[1].strip("`") for number, row in table.items()} == {
        code.value: code.name.lower() for code in CloseCode
    } | of_the_websocket_layer
    final = {number for number, row in table.items() if row[2].startswith("no")}
    assert final == set(FINAL_CLOSE_CODES)


def setting_row(field: str) -> str:
    """Return the row that the reference must have for a setting."""
    meanings = attribute_docstrings(Settings)
    default = getattr(Settings(), field)
    shown = "none" if default is None else f"`{json.dumps(default)}`"
    return f"| `{field}` | {shown} | `POSTROOM_{field.upper()}` | {meanings[field]} |"


def attribute_docstrings(record: type) -> dict[str, str]:
    (definition,) = ast.parse(inspect.getsource(record)).body
    assert isinstance(definition, ast.ClassDef)
    pairs = zip(definition.body, definition.body[1:], strict=False)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairs
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def test_every_setting_is_in_the_reference_with_default_variable_and_meaning() -> None:
    """A row is the field's name, default, variable and docstring; there are no rows besides."""
    page = REFERENCE / "settings.md"
    lines = page.read_text().splitlines()
    for field in Settings.__struct_fields__:
        assert setting_row(field) in lines, f"{name(page)} needs this row:\n{setting_row(field)}"
    surplus = set(re.findall(r"^\| `(\w+)` \|", page.read_text(), re.MULTILINE)) - {*Settings.__struct_fields__}
    assert not surplus, f"{name(page)} describes settings that there are not: {surplus}"


def test_the_reference_says_which_defaults_dev_changes() -> None:
    """Those of `resolve` stand in the page as `name = value`."""
    text = (REFERENCE / "settings.md").read_text()
    resolved, sources = settings.resolve({"dev": True})
    for field, source in sources.items():
        if source == "default of --dev":
            assert f"`{field} = {getattr(resolved, field):g}`" in text


class LogEvent(NamedTuple):
    level: str
    fields: frozenset[str]


def functions() -> Iterator[ast.AST]:
    """Go through every function of the source, those within others by themselves."""
    for path in (*REPOSITORY.glob("actors/**/*.py"), *REPOSITORY.glob("server/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def fields_of(call: ast.Call, function: ast.AST) -> frozenset[str]:
    """Return the keywords of a call; those of a `**facts` are read off the dict that the function makes of them."""
    fields: set[str] = set()
    for keyword in call.keywords:
        if keyword.arg is not None:
            fields.add(keyword.arg)
            continue
        assert isinstance(keyword.value, ast.Name), ast.unparse(call)
        for node in ast.walk(function):
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys))
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(keys=keys))
                ) if name == keyword.value.id:
                    fields |= {key.value for key in keys if isinstance(key, ast.Constant)}
                case ast.Assign(
                    targets=[ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key)))]
                ) if name == keyword.value.id:
                    fields.add(key)
    return frozenset(fields)


def log_events() -> dict[str, LogEvent]:
    """Return what the source logs: every `log.level("event", field=...)` and `log.log(level, "event", ...)` in it."""
    found: dict[str, LogEvent] = {}
    for function in functions():
        for node in ast.walk(function):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log" | "_log"), attr="log"),
                    args=[levels, ast.Constant(value=str(event))],
                ):
                    level = " or ".join(re.findall(r"logging\.(\w+)", ast.unparse(levels))).lower()
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log" | "_log"), attr=level),
                    args=[ast.Constant(value=str(event))],
                ):
                    level = "error" if level == "exception" else level
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "_log"))):
                    raise AssertionError(f"which event is this? {ast.unparse(node)}")
                case _:
                    continue
            logged = LogEvent(level, fields_of(node, function))
            assert found.get(event, logged) == logged, f"{event} is logged in two ways"
            found[event] = logged
    return found


def test_every_logger_is_found_by_its_name() -> None:
    """What `log_events` looks through is all that there is."""
    for path in (*REPOSITORY.glob("actors/**/*.py"), *REPOSITORY.glob("server/**/*.py")):
        for line in path.read_text().splitlines():
            assert "structlog.get_logger" not in line or re.match(r"_?log = structlog\.get_logger\(", line), line


def supervisor_entries() -> dict[str, frozenset[str]]:
    """Return what the source reports: every `report("kind", field=...)` in it, with the fields of all of them."""
    found: dict[str, frozenset[str]] = {}
    for function in functions():
        for node in ast.walk(function):
            match node:
                case ast.Call(
                    func=ast.Name(id="report") | ast.Attribute(attr="report" | "_report"),
                    args=[ast.Constant(value=str(kind))],
                ):
                    found[kind] = found.get(kind, frozenset()) | fields_of(node, function)
    found["dropped"] = frozenset({"entries"})  # which the journal reports to itself
    return found


def test_every_entry_of_the_supervisor_journal_is_in_the_reference_with_its_fields() -> None:
    """The table has exactly the kinds that the source reports."""
    table = rows(REFERENCE / "supervisor-journal.md")
    described = {
        kind.removeprefix("supervisor."): frozenset(re.findall(r"`(\w+)`", row[1]))
        for kind, row in table.items()
        if kind.startswith("supervisor.")
    }
    assert described == supervisor_entries()


def test_every_log_event_is_in_the_reference_with_level_and_fields() -> None:
    """The table has exactly the events that the source logs."""
    page = REFERENCE / "log-events.md"
    table = rows(page)
    described = {
        event: LogEvent(row[1], frozenset(re.findall(r"`(\w+)`", row[2])))
        for event, row in table.items()
        if event not in ("event", "---", "library_log")
    }
    assert described == log_events()
    assert "library_log" in table


def test_every_command_is_in_the_reference_with_its_arguments_and_options() -> None:
    """Each command has a section, with a row for each parameter, its default and its variable, and for no other."""
    text = (REFERENCE / "cli.md").read_text()
    sections = dict(re.findall(r"^## `postroom ([a-z-]+)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    group = typer.main.get_command(app)
    assert sections.keys() == group.commands.keys()  # type: ignore[attr-defined]  # typer's group, typed as Command
    for command, body in sections.items():
        table = [line for line in body.splitlines() if line.startswith("| `")]
        parameters = group.commands[command].params  # type: ignore[attr-defined]  # see above
        assert len(table) == len(parameters), f"postroom {command}: {[p.name for p in parameters]}"
        for parameter in parameters:
            word = parameter.opts[-1] if parameter.param_type_name == "option" else parameter.metavar
            (row,) = [line for line in table if re.match(rf"\| `{re.escape(str(word))}[` ]", line)] or [""]
            assert row, f"postroom {command}: no row for {word}"
            for shown in (parameter.envvar, parameter.default if isinstance(parameter.default, str) else None):
                assert shown is None or f"`{shown}`" in row, f"postroom {command} {word}: {shown} is not named"


def test_every_call_of_the_http_api_is_in_the_reference() -> None:
    """The headings are the routes that the API adds, no more and no fewer."""
    sources = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "server" / "http").glob("*.py")]
    routes = {
        f"{method} {path}"
        for source in sources
        for method, path in re.findall(r'Call\(\s*"(GET|POST|PUT|DELETE)",\s*"([^"]+)"', source)
    }
    headings = set(
        re.findall(r"^## `((?:GET|POST|PUT|DELETE) [^`]+)`", (REFERENCE / "http.md").read_text(), re.MULTILINE)
    )
    assert headings == routes


def test_every_message_of_the_protocol_is_in_the_reference_with_its_fields() -> None:
    """Each command and each reply has a row that names all of its fields."""
    table = rows(REFERENCE / "protocol.md")
    records = [getattr(module, each) for module in (commands, replies) for each in module.__all__]
    bases = (commands.Command, replies.Reply)
    others = (*bases, commands.Bye, commands.Speak, commands.Unfit)  # the last are for other protocols, as `old` is
    messages = [each for each in records if isinstance(each, type) and issubclass(each, bases) and each not in others]
    for message in messages:
        kind = message.__struct_config__.tag
        side = "client" if issubclass(message, commands.Command) else "router"
        row = table.get(f"{kind}` ({side})") or table.get(str(kind))
        assert row is not None, f"no row for {kind}"
        said = presence.Presence if message is replies.Presence else message  # the codecs make the fields of its roll
        missing = {field for field in said.__struct_encode_fields__ if f"`{field}" not in row[1]} - {"id", "old"}
        assert not missing, f"{kind} lacks {missing}"


def test_every_kind_of_event_is_in_the_reference_with_its_data() -> None:
    """Each kind has a row that names every field that its schema knows."""
    table = rows(REFERENCE / "protocol.md")
    for kind, schema in events._SCHEMAS.items():
        missing = {field for field in schema.__struct_fields__ if f"`{field}" not in table[f"{kind}` (kind)"][1]}
        assert not missing, f"{kind} lacks {missing}"


def test_the_fixed_limits_are_those_of_the_code() -> None:
    """Each row of the table in the settings reference has its constant's value."""
    limits = {key: row[1] for key, row in rows(REFERENCE / "settings.md").items()}
    assert limits["events in one `POST /v1/publish"] == f"{bodies._MOST_EVENTS:,}"
    assert limits["events times rooms in one `POST /v1/publish"] == f"{publishing._MOST_UNDER_WAY:,}"
    assert limits["body of one `POST /v1/publish"] == f"{publishing.MOST_BYTES >> 20} MiB"
    assert limits["bodies that are being read at once"] == f"{publishing._MOST_BYTES_READ >> 20} MiB together"
    assert limits["time for the body of one `POST /v1/publish"] == f"{publishing._BODY_S:g} s"
    assert limits["kinds in `kinds` of one `subscribe"] == f"{commands.MOST_KINDS}, of 200 characters"
    assert limits["state of one room"] == f"about {state._MOST_BYTES >> 10} KiB"
    assert limits["kinds that a room's state counts by name"] == f"{state._MOST_KINDS}"
    most = {name: each.default for name, each in inspect.signature(MemoryLog).parameters.items()}
    shown = f"{most['retired_rooms']:,}, and {most['retired_bytes'] >> 20} MiB"
    assert limits["retired rooms that `--journal memory` remembers"] == shown
    assert limits["ids that a room remembers within `dedupe_s"] == f"{receipts._MOST:,}"
    assert limits["last acknowledgements in a room's state"] == f"{state._MOST_ACKNOWLEDGED}"
    assert limits["fragments of one WebSocket message before close 1009"] == f"{intake._MOST_FRAGMENTS}"
    empty = f"{intake._EMPTY_FRAMES_BURST:g}, and {intake._EMPTY_FRAMES_PER_S:g} more each second"
    assert limits["control frames and fragments that nobody asked for, before the client is cut"] == empty
    assert limits["connections to the HTTP API"] == f"{descriptors.MOST_REQUESTS:,}"
    kinds = "warnings and errors of one kind that are logged within a second, before the rest is counted"
    assert limits[kinds] == f"{repeats.MOST_A_SECOND}"
    assert (
        limits["events that wait for the disk before more are `busy"]
        == f"{sqlite._MOST_APPENDS:,}, and {sqlite._MOST_BYTES >> 20} MiB"
    )


def test_the_delivery_classes_are_in_the_reference_with_the_kinds_that_they_are_usual_for() -> None:
    """The kinds that the table names for a class have it where their publisher says nothing, and no other kind does."""
    table = rows(REFERENCE / "protocol.md")
    usual = {kind: events._DEFAULT_DELIVERY.get(kind, "keep") for kind in events._SCHEMAS}
    for delivery in get_args(events.Delivery):
        named = {kind for kind in usual if re.search(rf"\b{kind}\b", table[delivery][1])}
        assert named == {kind for kind, of_kind in usual.items() if of_kind == delivery}, delivery


def test_every_recovery_and_every_reason_of_a_marker_is_in_the_reference() -> None:
    """The tables have exactly the words that a client may meet."""
    table = rows(REFERENCE / "protocol.md")
    assert set(get_args(postroom_client.Recovery)) == table.keys() & {"fresh", "full", "partial", "none"}
    markers = [key for key, row in table.items() if len(row) == 2 and key in {*held._GRAVITY, "dropped", "skipped"}]
    assert sorted(markers) == sorted(held._GRAVITY)


def test_every_field_of_a_state_is_in_the_reference() -> None:
    """The table has exactly the fields that a room shows when it has all of them."""
    whole = state.RoomState(owner="ada", started_ms=1, ended_ms=2, progress={"default": {}}, acknowledged=[{}])
    section = (REFERENCE / "protocol.md").read_text().split("## State\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    assert {field for cell in named for field in re.findall(r"`(\w+)`", cell)} == whole.view().keys()


def test_every_reason_of_a_journal_in_trouble_is_in_its_guide() -> None:
    """The guide says what to do about each, in the words of the log."""
    guide = rows(DOCS / "how-to" / "journal-trouble.md")
    reasons = {*faults._REASONS.values(), *faults._SYSTEM_REASONS.values()}
    assert reasons <= guide.keys(), reasons - guide.keys()


def test_settings_files_in_the_guides_are_taken(tmp_path: Path) -> None:
    """Every `toml` block, as that of settings.md, can be loaded, beside the secret that some name."""
    (tmp_path / "secret").write_text("a-secret-for-tests-of-forty-characters--")
    for page in PAGES:
        for block in steps(page):
            if block.language == "toml":
                file = tmp_path / "postroom.toml"
                file.write_text(block.text)
                settings.resolve(config=file)


@pytest.mark.parametrize("module", [postroom_client, postroom_client.testing], ids=lambda module: module.__name__)
def test_every_name_of_the_python_client_is_in_the_reference(module: ModuleType) -> None:
    """Each public name, once, in a paragraph from which the site makes what its docstring says."""
    page = (REFERENCE / "python-client.md").read_text()
    paragraphs = re.findall(rf"\n\n([^\n#][^#]*?)\n\n<!-- site: python {re.escape(module.__name__)} -->", page)
    named = [name for paragraph in paragraphs for name in re.findall(r"`(\w+)`", paragraph.rpartition("\n\n")[2])]
    assert sorted(named) == sorted(set(module.__all__) - {"__version__"})
