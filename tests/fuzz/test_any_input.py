"""Any bytes, any JSON and nearly right input: each decoder gives a value of its type or its own error, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .targets import DECODERS, load, seeds

EXAMPLES = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
WORDS = st.sampled_from(
    sorted(
        {
            word
            for name in DECODERS
            for seed in seeds(name)
            for word in seed.read_bytes()[:4000].decode("latin-1").split('"')
            if len(word) < 40
        }
    )
)
"""Names and values that the seeds have."""
JSON = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=6),
    max_leaves=15,
)


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    """Draw a seed in which some pieces were cut out, doubled, or replaced."""
    seed = draw(st.sampled_from(seeds(name)))
    data = bytearray(seed.read_bytes())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        data[at:end] = draw(st.binary(max_size=8) | st.just(bytes(data[at:end] * 2)) | SCALARS.map(as_json))
    return bytes(data)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture(params=DECODERS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def take(name: str) -> Callable[[bytes], None]:
    return load(name)


@EXAMPLES
@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_value_or_an_error(take: Callable[[bytes], None], data: bytes) -> None:
    take(data)


@EXAMPLES
@given(value=JSON)
def test_any_json_is_a_value_or_an_error(take: Callable[[bytes], None], value: object) -> None:
    take(as_json(value))


@EXAMPLES
@given(data=st.data())
def test_a_nearly_right_input_is_a_value_or_an_error(
    take: Callable[[bytes], None], name: str, data: st.DataObject
) -> None:
    take(data.draw(mutated(name)))
