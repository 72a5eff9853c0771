"""One command runs an example: what it says without a name, with a wrong one, and where a port is taken."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from examples.__main__ import names

from ..docs.pages import REPOSITORY
from .example import running_example

EXAMPLES = REPOSITORY / "examples"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


def test_without_a_name_make_lists_all_examples_and_sets_nothing_up() -> None:
    outside = {name: value for name, value in os.environ.items() if "MAKE" not in name}  # of `make test`, or none
    listed = subprocess.run(
        ["make", "--silent", "example", f"PYTHON={sys.executable}", "VENV=/none"],
        cwd=REPOSITORY,
        env=outside,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert listed.stderr == ""
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == names()


def test_a_name_that_is_none_gets_those_that_are() -> None:
    refused = run("chatt")
    assert refused.returncode == 1
    assert refused.stderr.startswith("there is no example 'chatt'\n")
    assert "\n  chat  " in refused.stderr


def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = run("chat", "--port", port)
    assert refused.returncode == 1
    assert f"port {port} cannot be used (Address already in use)" in refused.stderr
    assert "PORT=9000" in refused.stderr


@pytest.mark.parametrize("name", names())
def test_every_example_has_a_page_that_says_how_to_run_it_and_is_on_the_map(name: str) -> None:
    page = (EXAMPLES / name / "README.md").read_text()
    assert f"make example NAME={name}\n" in page
    assert "Read first" in page
    assert f"]({name}/README.md)" in (EXAMPLES / "README.md").read_text()


def test_a_client_moves_over_when_its_router_is_killed(tmp_path: Path) -> None:
    """The cluster prints what its README.md says: every event came, once and in order.

    What the killed router was just given waits for another, which the service may complain of.
    """
    with running_example("cluster", tmp_path, dict(os.environ), warns_of="events wait for") as example:
        example.prints_what_stands_in("README.md")
