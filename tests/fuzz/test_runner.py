"""The command that fuzzes, as far as it goes without the fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest

from .__main__ import main
from .targets import seeds


def test_a_file_that_is_taken_is_replayed_with_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    seed = seeds("frames")[0]
    assert main(["frames", "--replay", str(seed)]) == 0
    assert str(seed) in capsys.readouterr().out


def test_a_file_that_breaks_its_target_is_replayed_with_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(_data: bytes) -> None:
        raise ValueError("found")

    monkeypatch.setattr("tests.fuzz.targets.frames.take", take)
    (tmp_path / "crash").write_bytes(b"{}")
    with pytest.raises(ValueError, match="found"):
        main(["frames", "--replay", str(tmp_path / "crash")])


@pytest.mark.parametrize("arguments", [["nope"], ["--replay", "x"], ["frames", "socket", "--replay", "x"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
