"""The reader itself: what a page must not get away with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import reader
from .commands import adapted
from .pages import overlooked, steps
from .shown import Shown


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Follow a page with this text."""
    monkeypatch.setattr(reader, "WAIT_S", 0.2)
    page = tmp_path / "page.md"
    somebody = reader.Reader(tmp_path, tmp_path)

    def follow(text: str) -> None:
        page.write_text(text)
        somebody.follow(page)

    yield follow
    somebody.leave()


def test_what_a_page_shows_has_to_come(follow: Callable[[str], None]) -> None:
    """A line as it is, a value with what it has."""
    follow('```sh\necho \'{"a": 1, "b": 2}\'\n```\n```json\n{"b": 2}\n```\n```text\n{"a": …}\n```\n')
    with pytest.raises(AssertionError, match="not seen: two"):
        follow("```sh\necho one\n```\n\n```text\ntwo\n```\n")
    with pytest.raises(AssertionError, match="not seen:"):
        follow('```json\n{"b": 3}\n```\n')


def test_a_program_that_fails_fails_its_page(follow: Callable[[str], None], node_modules: Path) -> None:
    """Commands, and programs of both languages."""
    assert node_modules
    for block in ("sh\nfalse", "python\n1 / 0", 'js\nimport "ws";\nthrow new Error("no")'):
        with pytest.raises(AssertionError):
            follow(f"```{block}\n```\n")


def test_a_page_that_has_started_no_router_asks_none(follow: Callable[[str], None]) -> None:
    """Something else may listen at the usual address, and the page would be right by luck."""
    with pytest.raises(AssertionError, match="no router yet"):
        follow("```sh\ncurl http://127.0.0.1:8001/readyz || true\n```\n")


def test_a_package_that_nobody_has_fails_its_page(follow: Callable[[str], None]) -> None:
    with pytest.raises(Exception, match="no-such-package"):
        follow("```sh\npip install no-such-package-of-ours\n```\n")


def test_what_is_written_wrongly_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    """A marker with a blank line after it, one that is unknown, a fence that the pages do not use."""
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: a reason -->\n\n```sh\nls\n```\n<!-- reader: fly -->\n~~~sh\nls\n~~~\n"
        "<!-- reader: save as a.py -->\n```python\npass\n```\n"
        "1. In a list.\n\n   <!-- not run: a reason -->\n   ```sh\n   ls\n   ```\n"
    )
    assert overlooked(page) == ["<!-- not run: a reason -->", "<!-- reader: fly -->", "~~~sh", "~~~"]
    assert [(block.save_as, block.not_run) for block in steps(page)] == [("", ""), ("a.py", ""), ("", "a reason")]


def test_ids_and_times_may_differ_and_an_epoch_stays_what_it_was_at_first() -> None:
    """The page's epoch stands for the first real one that it met."""
    shown = Shown()
    real = {"epoch": "aaaaaaaaaaaa", "time": "2026-11-29T10:00:00.123Z", "offset": 7, "more": [1, {"x": None}]}
    page = {"epoch": "6c25bd00f339", "time": "2026-01-01T12:00:00.000Z", "offset": 7, "more": "…"}
    assert shown.value(page, [f"junk\n{str(real).replace(chr(39), chr(34)).replace('None', 'null')}\n"])
    assert shown.line("6c25bd00f339:1", "aaaaaaaaaaaa:1")
    assert not shown.line("6c25bd00f339:2", "bbbbbbbbbbbb:2")
    assert not shown.value({"offset": 7.0}, ['{"offset": 7}'])
    assert not shown.value([1], ["[1, 2]"])


def test_a_port_of_this_machine_is_not_taken_for_one_of_the_page() -> None:
    """Whatever its figures are; the longer of two that begin alike is meant."""
    changes = {"--port 8000": "--port 18001", "8001": "12345", "80": "1", "8080": "2"}
    assert adapted("--port 8000 --api-port 8001 80 8080", changes) == "--port 18001 --api-port 12345 1 2"
    with pytest.raises(AssertionError, match="'9000' is not in"):
        adapted("--port 8000", {"9000": "1"})
