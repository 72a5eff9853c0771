"""Events: what publishers may send, and what each refusal says."""

from __future__ import annotations

import contextlib
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ErrorCode, Refusal
from actors.events import decode_data, draft

from .making import a_draft

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
KINDS = st.sampled_from(["notification", "alert", "progress", "session", "system", "app.thing", "alert.acknowledged"])
NAMES = ("level", "message", "title", "severity", "current", "total", "percent", "status", "owner", "eta_s", "x")


def refusal(kind: Any = "app.thing", data: Any = None, **options: Any) -> str:
    """Return what `draft` says against these arguments."""
    with pytest.raises(Refusal) as caught:
        a_draft(kind, data, **options)
    assert caught.value.code is ErrorCode.INVALID_EVENT
    return caught.value.message


def nested(depth: int) -> dict[str, Any]:
    """Return an object of `depth` objects within each other."""
    data: dict[str, Any] = {}
    for _ in range(depth - 1):
        data = {"x": data}
    return data


VALID = [
    ("notification", {"level": "success", "message": "done", "title": "Build"}),
    ("alert", {"severity": "low", "title": "t"}),
    ("alert", {"severity": "high", "title": "t", "message": "m"}),
    ("progress", {"current": 0}),
    ("progress", {"current": 3, "total": 10, "percent": 30.5, "message": "m", "unit": "files"}),
    ("progress", {"current": 3, "rate": 1.5, "elapsed_s": 2, "eta_s": 4}),
    ("session", {"status": "started", "owner": "ann"}),
    ("session", {"status": "failed", "reason": "r", "result": [1, {"a": None}]}),
    ("system", {"status": "outage", "component": "search", "message": "m"}),
    ("build.finished", {"anything": [1, 2, {}]}),
    ("a.b.c_1.2", {}),
]


@pytest.mark.parametrize(("kind", "data"), VALID)
def test_valid_data_comes_out_as_it_went_in(kind: str, data: dict[str, Any]) -> None:
    assert decode_data(a_draft(kind, data).data) == data


@pytest.mark.parametrize("kind", ["notification", "alert", "progress", "session", "system"])
def test_fields_that_the_kind_does_not_know_are_kept(kind: str) -> None:
    data = {**decode_data(a_draft(kind).data), "more": {"a": 1}}
    assert decode_data(a_draft(kind, data).data)["more"] == {"a": 1}


MISSING = [
    ("notification", {"message": "m"}, "level"),
    ("notification", {"level": "info"}, "message"),
    ("alert", {"title": "t"}, "severity"),
    ("alert", {"severity": "low"}, "title"),
    ("progress", {}, "current"),
    ("session", {}, "status"),
    ("system", {}, "status"),
]


@pytest.mark.parametrize(("kind", "data", "field"), MISSING)
def test_a_missing_field_is_named(kind: str, data: dict[str, Any], field: str) -> None:
    assert f"{kind} data" in refusal(kind, data)
    assert f"`{field}`" in refusal(kind, data)


WRONG = [
    ("notification", {"level": "loud", "message": "m"}, "level", "loud"),
    ("notification", {"level": "info", "message": 1}, "message", "int"),
    ("notification", {"level": "info", "message": "m", "title": []}, "title", "array"),
    ("alert", {"severity": "worst", "title": "t"}, "severity", "worst"),
    ("alert", {"severity": "low", "title": None}, "title", "null"),
    ("progress", {"current": "3"}, "current", "str"),
    ("progress", {"current": -1}, "current", ">= 0"),
    ("progress", {"current": True}, "current", "bool"),
    ("progress", {"current": float("inf")}, "current", "<="),
    ("progress", {"current": float("nan")}, "current", ">="),
    ("progress", {"current": 10**400}, "current", "out of range"),
    ("progress", {"current": 1, "total": -1}, "total", ">= 0"),
    ("progress", {"current": 1, "total": float("inf")}, "total", "<="),
    ("progress", {"current": 1, "percent": 100.1}, "percent", "<= 100"),
    ("progress", {"current": 1, "percent": -0.1}, "percent", ">= 0"),
    ("progress", {"current": 1, "elapsed_s": -1}, "elapsed_s", ">= 0"),
    ("progress", {"current": 1, "eta_s": -1}, "eta_s", ">= 0"),
    ("progress", {"current": 1, "rate": "fast"}, "rate", "str"),
    ("session", {"status": "begun"}, "status", "begun"),
    ("session", {"status": "started", "owner": 7}, "owner", "int"),
    ("system", {"status": "fine"}, "status", "fine"),
    ("system", {"status": "outage", "component": 1}, "component", "int"),
]


@pytest.mark.parametrize(("kind", "data", "field", "what"), WRONG)
def test_a_wrong_field_is_named_with_what_is_wrong(kind: str, data: dict[str, Any], field: str, what: str) -> None:
    message = refusal(kind, data)
    assert f"$.{field}" in message
    assert what in message


@pytest.mark.parametrize(
    "kind", ["", "build", "Build.done", "build.", ".done", "build done.x", "1.x", "a.b\n", "\ud800"]
)
def test_an_unknown_kind_is_named_and_the_known_ones_are_listed(kind: str) -> None:
    message = refusal(kind)
    assert repr(kind) in message or "kind must have 1 to 200 characters" in message
    assert "kind" in message


def test_a_kind_that_is_too_long_is_refused() -> None:
    assert "kind must have 1 to 200 characters, not 202" in refusal("a." + "b" * 200)


def test_publishers_cannot_send_the_rooms_own_kind() -> None:
    assert "'alert.acknowledged'" in refusal("alert.acknowledged", {"event_id": "e", "user": "ann"})


@pytest.mark.parametrize("data", [[], "text", 5, True])
def test_data_that_is_no_object_is_refused(data: object) -> None:
    assert type(data).__name__ in refusal("app.thing", data)
    assert "object" in refusal("alert", data)


@pytest.mark.parametrize("name", ["event_id", "key"])
def test_names_have_1_to_200_characters(name: str) -> None:
    assert a_draft(**{name: "x" * 200})
    assert f"{name} must have 1 to 200 characters, not 201" in refusal(**{name: "x" * 201})
    assert f"{name} must have 1 to 200 characters, not 0" in refusal(**{name: ""})


@pytest.mark.parametrize("name", ["event_id", "key"])
@pytest.mark.parametrize("value", [5, True, ["x"], {"x": 1}, b"x"])
def test_names_are_strings(name: str, value: object) -> None:
    assert f"{name} must be a string, not {type(value).__name__}" in refusal(**{name: value})


@pytest.mark.parametrize("name", ["event_id", "key"])
def test_names_that_no_frame_could_carry_are_refused(name: str) -> None:
    assert name in refusal(**{name: "half \ud83d"})


@pytest.mark.parametrize("word", ["acknowledged", "escalated"])
def test_the_ids_and_kinds_of_what_the_router_says_of_alerts_are_its_own(word: str) -> None:
    """A publisher that took one would keep the alert from being acknowledged, or from reaching the admins."""
    for event_id in (f"a1.{word}", f"a1@1.{word}", f".{word}"):
        message = refusal(event_id=event_id)
        assert repr(event_id) in message
        assert f"'.{word}'" in message
    assert a_draft(event_id=word).id == word
    assert a_draft(event_id=f"a1.{word}.twice").id == f"a1.{word}.twice"
    assert f"alert.{word}" in refusal(f"alert.{word}")


def test_a_refused_delivery_is_named_with_the_possible_ones() -> None:
    message = refusal(delivery="never")
    assert "'never'" in message
    assert "'keep', 'latest' or 'ephemeral'" in message


@pytest.mark.parametrize(
    ("kind", "delivery"),
    [("progress", "latest"), ("system", "latest"), ("alert", "keep"), ("session", "keep"), ("app.thing", "keep")],
)
def test_each_kind_has_its_usual_delivery(kind: str, delivery: str) -> None:
    assert a_draft(kind).delivery == delivery


@pytest.mark.parametrize("kind", ["progress", "system", "notification", "app.thing"])
@pytest.mark.parametrize("delivery", ["keep", "latest", "ephemeral"])
def test_a_publisher_may_choose_another_delivery(kind: str, delivery: str) -> None:
    assert a_draft(kind, delivery=delivery).delivery == delivery


@pytest.mark.parametrize("delivery", ["latest", "ephemeral"])
def test_what_nobody_may_miss_is_always_kept(delivery: str) -> None:
    """Session events, and alerts that somebody must acknowledge; other alerts are the publisher's to decide."""
    for kind in ("session", "alert"):
        assert "always kept" in refusal(kind, delivery=delivery)
        assert a_draft(kind, delivery="keep").delivery == "keep"
    assert "always kept" in refusal("alert", {"severity": "low", "title": "t"}, ack="required", delivery=delivery)
    assert a_draft("alert", ack="none", delivery=delivery).delivery == delivery


@pytest.mark.parametrize(
    ("severity", "ack", "stays"),
    [
        ("critical", None, True),
        ("critical", "none", False),
        ("low", None, False),
        ("low", "required", True),
        ("high", "none", False),
    ],
)
def test_an_alert_waits_for_its_acknowledgement_when_critical_or_on_request(
    severity: str, ack: str | None, stays: bool
) -> None:
    assert a_draft("alert", {"severity": severity, "title": "t"}, ack=ack).ack is stays


def test_only_alerts_take_ack() -> None:
    assert "only an alert" in refusal("session", ack="required")
    assert "'maybe'" in refusal("alert", ack="maybe")


def test_a_custom_event_with_a_severity_is_no_alert() -> None:
    assert not a_draft("app.thing", {"severity": "critical"}).ack


@pytest.mark.parametrize("data", [{"x": object()}, {"x": "\ud800"}, {("a", "b"): 1}, MappingProxyType({"a": 1})])
def test_data_that_json_cannot_hold_is_refused(data: Any) -> None:
    assert "data" in refusal("app.thing", data)


@pytest.mark.parametrize("kind", ["app.thing", "progress"])
def test_data_is_nested_64_deep_at_most(kind: str) -> None:
    assert a_draft(kind, {**nested(64), "current": 1})
    assert "64 objects and arrays" in refusal(kind, {**nested(65), "current": 1})


def test_wide_data_is_not_taken_for_deep_data() -> None:
    assert a_draft(data={"rows": [{"cells": [[]]} for _ in range(1000)]})


@pytest.mark.parametrize("kind", ["app.thing", "session"])
def test_data_nested_past_all_bounds_is_a_refusal_too(kind: str) -> None:
    data = nested(50_000)
    data["status"] = "started"
    assert refusal(kind, data)
    while data:  # taken apart here: Python frees such a thing by recursion
        data = data.pop("x", {})


@given(kind=KINDS, data=JSON)
def test_any_json_as_data_is_taken_or_refused(kind: str, data: Any) -> None:
    try:
        made = draft(kind, data, event_id="e", time_ms=0)
    except Refusal:
        return
    assert msgspec.json.decode(made.data) is not None


@given(kind=KINDS, data=st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_values_in_the_known_fields_are_taken_or_refused(kind: str, data: Any) -> None:
    with contextlib.suppress(Refusal):
        draft(kind, data, event_id="e", time_ms=0)


@given(kind=JSON, event_id=JSON, key=JSON, delivery=JSON, ack=JSON)
def test_any_json_in_the_other_places_is_taken_or_refused(
    kind: Any, event_id: Any, key: Any, delivery: Any, ack: Any
) -> None:
    for event_kind in (kind, "alert", "app.thing"):
        try:
            made = draft(
                event_kind,
                {"severity": "low", "title": "t"},
                event_id=event_id,
                time_ms=0,
                key=key,
                delivery=delivery,
                ack=ack,
            )
        except Refusal:
            continue
        assert isinstance(made.id, str)
        assert made.key is None or isinstance(made.key, str)
