"""What the package shows to the world."""

from __future__ import annotations

import copy
import importlib
import pickle
from types import ModuleType

import pytest

import postroom_client
import postroom_client.testing
from postroom_client import _errors
from postroom_client._positions import Gap, Position

PUBLIC_MODULES = ["_backoff", "_client", "_connect", "_errors", "_events", "_messages", "_positions", "_service"]


@pytest.mark.parametrize("package", [postroom_client, postroom_client.testing], ids=["client", "testing"])
def test_the_face_is_sorted_and_everything_on_it_exists(package: ModuleType):
    names = package.__all__
    assert names == sorted(names)
    assert all(hasattr(package, name) for name in names)


def test_the_face_holds_all_that_the_public_modules_hold():
    names = {name for module in PUBLIC_MODULES for name in importlib.import_module(f"postroom_client.{module}").__all__}
    assert set(postroom_client.__all__) == names | {"Refused", "Subscription", "TokenSource", "__version__"}


@pytest.mark.parametrize(
    "error",
    [
        postroom_client.CommandError("busy", "later", True, 5),
        postroom_client.CommandTimeout("publish", 3, "id-1"),
        postroom_client.ConnectFailed("ws://x", "refused"),
        postroom_client.ConnectionEnded(4009, "closed"),
        postroom_client.Unauthenticated(4401, "no"),
        postroom_client.ClientClosed(),
        postroom_client.GapError(Gap(room="r", reason="new_epoch", last=Position("a", 1), next=Position("b", 2))),
        postroom_client.Revoked("r", "because"),
        postroom_client.BufferFull(3, 99),
    ],
)
def test_errors_say_what_happened_and_survive_copying_and_pickling(error: postroom_client.PostroomError):
    assert str(error)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert twin.__dict__ == error.__dict__


def test_every_error_stands_in_the_tree_at_the_top_of_its_module():
    tree = _errors.__doc__ or ""
    assert all(name in tree for name in _errors.__all__)
