"""The shape of the code: imports run one way, every module says what it offers, dependencies are not too old."""

from __future__ import annotations

import ast
import importlib.metadata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ACTORS = sorted((ROOT / "actors").rglob("*.py"))
SERVER = sorted((ROOT / "server").rglob("*.py"))
CLIENT = [
    *sorted((ROOT / "clients" / "python" / "postroom_client").rglob("*.py")),
    ROOT / "clients" / "python" / "pytest_postroom.py",
]
OUTSIDE = ("socket", "http", "aiohttp", "websockets", "urllib", "ssl", "sqlite3", "pathlib", "os", "subprocess")
"""What an actor may not know of: it is given a clock, a wire and a log."""
NOT_OFFERED = ("log", "logger")
"""Loggers have public names in every module and belong to none."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """The absolute names of everything that a module imports, wherever in the module."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *((node.module,) if node.module else ())))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", ACTORS, ids=named)
def test_actors_import_nothing_else_of_ours(path: Path) -> None:
    assert not packages(path) & {"server", "postroom_client", "benchmarks", "examples", "tests"}


@pytest.mark.parametrize("path", ACTORS, ids=named)
def test_actors_know_no_socket_no_http_and_no_file(path: Path) -> None:
    assert not packages(path) & set(OUTSIDE)


@pytest.mark.parametrize("path", ACTORS, ids=named)
def test_actors_do_not_look_at_the_wall_clock(path: Path) -> None:
    assert "time.time" not in imports(path)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("time", "time"), ("time", "time_ns"), ("datetime", "now")}


@pytest.mark.parametrize("path", SERVER, ids=named)
def test_the_server_imports_actors_and_itself_and_nothing_else_of_ours(path: Path) -> None:
    """But for the command line, which connects to a router as any other program does."""
    client = set() if path.parent.name == "commands" else {"postroom_client"}
    assert not packages(path) & {"benchmarks", "examples", "tests", *client}


@pytest.mark.parametrize("path", CLIENT, ids=named)
def test_the_client_imports_neither_actors_nor_server(path: Path) -> None:
    assert not packages(path) & {"actors", "server", "benchmarks", "examples", "tests"}


# --- what a module offers


def offered(path: Path) -> list[str] | None:
    """Return `__all__`, or None where there is none."""
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def defined(path: Path) -> Iterator[str]:
    """The public names that a module defines itself; type variables are its own business."""
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign) and not _is_type_variable(node.value):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_") and name not in NOT_OFFERED)


def _is_type_variable(value: ast.expr) -> bool:
    return (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("TypeVar", "ParamSpec")
    )


WITH_CODE = [path for path in (*ACTORS, *SERVER) if path.name != "__init__.py"]


@pytest.mark.parametrize("path", WITH_CODE, ids=named)
def test_every_module_says_what_it_offers_in_order(path: Path) -> None:
    names = offered(path)
    assert names is not None, "no __all__"
    assert names == sorted(names, key=_as_ruff_sorts)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", WITH_CODE, ids=named)
def test_what_a_module_offers_is_what_it_defines(path: Path) -> None:
    assert set(offered(path) or ()) == set(defined(path))


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


# --- what is never done


@pytest.mark.parametrize("path", WITH_CODE, ids=named)
def test_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    """What comes from a socket, a file or a provider is decoded by a schema; no way leads from it to code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"}, f"line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "__import__"), f"line {node.lineno}"


# --- dependencies


@pytest.mark.parametrize(
    ("distribution", "oldest", "why"),
    [
        ("PyJWT", "2.12", "server/auth.py stands on its checks of keys and headers"),
        ("websockets", "17.1", "server/wire.py stands on its connection as it is from there on"),
    ],
)
def test_dependencies_are_not_older_than_what_they_are_trusted_for(distribution: str, oldest: str, why: str) -> None:
    installed = importlib.metadata.version(distribution)
    assert _numbers(installed) >= _numbers(oldest), f"{distribution} {installed}: {why}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
