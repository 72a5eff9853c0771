"""The way from tests to Node: packages are there, lines go both ways, and what fails is told."""

from __future__ import annotations

import json

import pytest

from ..node import JAVASCRIPT, running_node

pytestmark = pytest.mark.usefixtures("node_modules")


async def test_a_script_finds_its_packages_and_answers_orders():
    """Answers are found by their name, and what came before them is kept."""
    async with running_node("echo.js") as script:
        assert (await script.next("ready"))["websocket"] == "function"
        await script.send("tell", text="first")
        assert await script.ask("repeat", text="ä") == {"what": "repeat", "text": "ä"}
        assert await script.next() == {"what": "told", "text": "first"}
        assert (await script.ask("fail", text="no"))["error"] == "no"
        assert await script.ended() == 0


async def test_a_script_that_ends_early_fails_the_test_with_what_it_printed():
    """A test does not wait for a script that is gone."""
    async with running_node("nothing-of-that-name.js") as script:
        with pytest.raises(AssertionError, match="Cannot find module"):
            await script.next()


def test_every_package_has_one_version_and_no_home():
    """The lock file is good wherever packages come from: it names no host."""
    manifest = json.loads((JAVASCRIPT / "package.json").read_text())
    lock = json.loads((JAVASCRIPT / "package-lock.json").read_text())
    for name, version in manifest["dependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    assert "://" not in "".join(str(each.get("resolved", "")) for each in lock["packages"].values())
