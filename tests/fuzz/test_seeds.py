"""The seeds of the fuzz targets, and what fuzzing found once: each is taken as it should be, without the fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest

from .targets import NAMES, load, seeds


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name in NAMES for seed in seeds(name)], ids=str)
def test_a_seed_is_taken(name: str, seed: Path) -> None:
    load(name)(seed.read_bytes())
