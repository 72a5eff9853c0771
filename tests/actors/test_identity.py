"""Identity: role x verb x room, deny by default; and what can name a room."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors import identity
from actors.identity import ANONYMOUS, ROLES, Identity, is_room_name

from .oracle import GRANTS, ROOMS, USERS, expected


@given(
    user=st.sampled_from(USERS),
    role=st.sampled_from(ROLES),
    rooms=GRANTS,
    publish=GRANTS,
    room=st.sampled_from(ROOMS),
    owner=st.none() | st.sampled_from(USERS),
)
def test_each_role_may_do_what_the_protocol_says_and_nothing_else(
    user: str, role: str, rooms: tuple[str, ...], publish: tuple[str, ...], room: str, owner: str | None
) -> None:
    identity = Identity(user=user, role=role, rooms=rooms, publish=publish)
    assert identity.may_subscribe(room, owner) == expected("subscribe", identity, room, owner)
    assert identity.may_publish(room) == expected("publish", identity, room, owner)
    assert identity.may_acknowledge(room, owner) == expected("acknowledge", identity, room, owner)


@given(room=st.text(max_size=30), role=st.text(max_size=8).filter(lambda role: role not in ROLES))
def test_a_role_that_is_unknown_has_no_rights_beyond_its_own_rooms(room: str, role: str) -> None:
    identity = Identity(user="ann", role=role)
    assert identity.may_subscribe(room) == (room in identity.own_rooms)
    assert not identity.may_publish(room)
    assert not identity.trusted


def test_a_user_publishes_nowhere_by_default() -> None:
    assert not any(Identity(user="ann").may_publish(room) for room in ROOMS)


def test_an_admin_publishes_only_where_the_token_says_so() -> None:
    assert not Identity(user="ann", role="admin").may_publish("session:1")
    assert Identity(user="ann", role="admin", publish=("session:*",)).may_publish("session:1")


def test_a_service_does_not_read_everything() -> None:
    assert not Identity(user="billing", role="service").may_subscribe("user:ann")


def test_only_sessions_have_owners() -> None:
    assert not Identity(user="ann").may_subscribe("team:1", owner="ann")


def test_a_session_without_an_owner_is_not_everybodys() -> None:
    assert not Identity(user="ann").may_subscribe("session:1", owner=None)


def test_a_user_whose_name_looks_like_another_room_gets_no_other_room() -> None:
    assert Identity(user="ann:1").own_rooms[0] == "user:ann:1"
    assert not Identity(user="ann:1").may_subscribe("user:ann")


def test_the_right_to_subscribe_is_none_to_publish() -> None:
    assert not Identity(user="ann", rooms=("*",)).may_publish("team:1")
    assert not Identity(user="ann", publish=("*",)).may_subscribe("team:1")


@pytest.mark.parametrize(("role", "trusted"), [("user", False), ("service", True), ("admin", True)])
def test_services_and_admins_are_trusted_with_the_rate(role: str, trusted: bool) -> None:
    assert Identity(user="ann", role=role).trusted is trusted


@pytest.mark.parametrize("room", ROOMS)
def test_without_a_token_in_development_everything_is_allowed(room: str) -> None:
    assert ANONYMOUS.may_subscribe(room)
    assert ANONYMOUS.may_publish(room)
    assert ANONYMOUS.may_acknowledge(room)


@given(pattern=st.text("ab:*.", max_size=8), room=st.text("ab:.", max_size=12))
@example(pattern="a*a", room="a")
@example(pattern="*", room="")
@example(pattern="**", room="a:b")
def test_a_star_stands_for_any_number_of_characters_and_all_else_for_itself(pattern: str, room: str) -> None:
    assert Identity(user="x", role="none", publish=(pattern,)).may_publish(room) == fnmatch.fnmatchcase(room, pattern)


@pytest.mark.parametrize("pattern", ["team:?", "team:[1]", "team:.", "TEAM:1", "team:1 ", " team:1", ""])
def test_nothing_but_the_star_is_special_in_a_pattern(pattern: str) -> None:
    assert not Identity(user="ann", rooms=(pattern,)).may_subscribe("team:1")


def test_a_hostile_pattern_costs_no_time() -> None:
    started = time.perf_counter()
    assert not Identity(user="ann", publish=("*a" * 100 + "b",)).may_publish("team:" + "a" * 195)
    assert time.perf_counter() - started < 1.0


GOOD_NAMES = [
    "broadcast",
    "system",
    "session:42",
    "user:ann@example.org",
    "role:user",
    "a:b",
    "team-1_x:ä/ö:ü",
    "x:" + "y" * 200,
]
BAD_NAMES = [
    "",
    "session",
    "session:",
    ":42",
    "Session:42",
    "1team:42",
    "session:4 2",
    "session:*",
    "session:>",
    "session:42\n",
    "session:a\x00b",
    "session:\x7f",
    "session:\u2028",
    "session:\ud800",
    "broadcast:1 ",
    "broadcast\n",
    " system",
    "x:" + "y" * 201,
    "w" * 65 + ":1",
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_room_name_is_a_word_and_an_id_or_one_of_two(name: str) -> None:
    assert is_room_name(name)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_nothing_else_is_a_room_name(name: str) -> None:
    assert not is_room_name(name)


@given(st.text(max_size=40) | st.text(max_size=40).map(lambda id: f"team:{id}"))
def test_a_room_name_holds_no_white_space_wildcard_or_control_character(name: str) -> None:
    if is_room_name(name):
        assert name.encode()
        assert not any(character.isspace() or character in "*>" or ord(character) < 32 for character in name)


def test_a_name_that_is_too_long_is_not_remembered() -> None:
    """Names are looked at before anybody says hello: nobody may have 4,096 of 64 KiB kept."""
    before = identity._is_room_name.cache_info().currsize
    assert not is_room_name("doc:" + "x" * 60_000)
    assert identity._is_room_name.cache_info().currsize == before
    assert is_room_name("a" * 64 + ":" + "x" * 200)
    assert not is_room_name("a" * 64 + ":" + "x" * 201)
