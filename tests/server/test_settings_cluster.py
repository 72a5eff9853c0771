"""Settings of a cluster: which are refused, by themselves and together, and that no password is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from server.node import named, node_name
from server.settings import Settings, SettingsError, load

from ..certificates import make_certificate

URL = "nats://127.0.0.1:4222"
PASSWORD = "s3cret-password"


def refusal(environ: dict[str, str]) -> SettingsError:
    variables = {f"POSTROOM_{name.upper()}": value for name, value in environ.items()}
    with pytest.raises(SettingsError) as caught:
        load({"dev": True}, variables)
    return caught.value


@pytest.mark.parametrize(
    "url",
    [URL, "tls://nats.example", "ws://[::1]:8080", "wss://nats.example/cluster", f"nats://me:{PASSWORD}@10.0.0.1:4222"],
)
def test_the_urls_of_nats_servers(url: str) -> None:
    """Every scheme that NATS has; several servers are several URLs."""
    assert load({"dev": True, "cluster": [url, url]}).cluster == (url, url)


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{PASSWORD}@nats.example",
        f"me:{PASSWORD}@nats.example:4222",
        f"nats://me:{PASSWORD}@",
        f"nats://me:{PASSWORD}@nats.example:many",
        f"nats://me:{PASSWORD}@nats.example:99999",
        f"nats://me:pass/{PASSWORD}@nats.example",
        f"nats://me:{PASSWORD}@one.example/two",
        f"nats://{PASSWORD}@one.example two",
    ],
)
def test_what_is_no_url_of_a_nats_server_is_refused_without_its_password(url: str) -> None:
    """The complaint has an example."""
    error = refusal({"cluster": url})
    assert error.setting == "cluster"
    assert "nats://127.0.0.1:4222" in str(error) or "several servers" in str(error)
    assert PASSWORD not in str(error)


def test_one_kind_of_listener_for_all() -> None:
    """A client of NATS speaks WebSocket to all servers, or to none."""
    assert "one kind" in str(refusal({"cluster": f"{URL},ws://127.0.0.1:8080"}))


def test_a_list_that_is_none_is_refused_without_its_password(tmp_path: Path) -> None:
    """In a settings file somebody may write one URL without brackets."""
    config = tmp_path / "postroom.toml"
    config.write_text(f'dev = true\ncluster = "nats://me:{PASSWORD}@nats.example"\n')
    with pytest.raises(SettingsError) as caught:
        load({}, {}, config)
    assert "'nats://me:***@nats.example' is not a list of strings" in str(caught.value)


def test_no_password_is_shown() -> None:
    """Not where settings are printed, and not for a token in the place of user and password."""
    settings = Settings(
        cluster=(f"nats://me:{PASSWORD}@one:4222", f"tls://{PASSWORD}@two"),
        cluster_user="me",
        cluster_password=PASSWORD,
    )
    assert PASSWORD not in repr(settings)
    shown = dict(settings.__rich_repr__())
    assert shown["cluster"] == ("nats://me:***@one:4222", "tls://***@two")
    assert shown["cluster_password"] == "***"


@pytest.mark.parametrize(
    ("environ", "setting", "message"),
    [
        ({"cluster": URL, "journal": "a.db"}, "journal", "are kept by the NATS servers in `cluster`"),
        ({"cluster": URL, "journal": "memory", "workers": "2"}, "journal", "are kept by the NATS servers"),
        ({"cluster_user": "me"}, "cluster_user", "in no cluster"),
        ({"cluster_keep_s": "7200"}, "cluster_keep_s", "in no cluster"),
        ({"cluster_replicas": "3", "workers": "2"}, "cluster_replicas", "own NATS server needs none"),
        ({"cluster": URL, "cluster_password": PASSWORD}, "cluster_password", "Name the user"),
        ({"cluster": URL, "cluster_ca": "missing.pem"}, "cluster_ca", "cannot read missing.pem: No such file"),
        ({"cluster": URL, "cluster_name": "post.room"}, "cluster_name", "letters, digits"),
        ({"node": "a node"}, "node", "letters, digits"),
        ({"workers": "0"}, "workers", "a whole number from 1 to 64"),
    ],
)
def test_what_does_not_go_together_is_refused(environ: dict[str, str], setting: str, message: str) -> None:
    """Under the name of the setting that is to be changed."""
    error = refusal(environ)
    assert error.setting == setting
    assert message in str(error)
    assert PASSWORD not in str(error)


def test_what_workers_may_be_given_without_a_cluster() -> None:
    """Those that mean something for a NATS server of their own, and a place for its files."""
    settings = load({"dev": True, "workers": 2, "journal": "memory"}, {"POSTROOM_CLUSTER_KEEP_S": "7200"})
    assert (settings.workers, settings.journal, settings.cluster_keep_s) == (2, "memory", 7200)


def test_files_are_looked_at(tmp_path: Path) -> None:
    """Each must hold what it is for; paths in the settings file start from its folder."""
    authority, own = make_certificate(tmp_path, "router")
    locked = tmp_path / "locked.pem"
    key = load_pem_private_key(own.read_bytes(), None)
    locked.write_bytes(
        own.read_bytes().partition(b"-----BEGIN PRIVATE KEY")[0]
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))
    )
    (tmp_path / "user.creds").write_text(
        "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n-----BEGIN USER NKEY SEED-----\nx\n"
    )
    config = tmp_path / "postroom.toml"
    files = (
        'cluster_ca = "router-authority.pem"\ncluster_certificate = "router.pem"\ncluster_credentials = "user.creds"'
    )
    config.write_text(f'dev = true\ncluster = ["{URL}"]\n{files}\n')
    settings = load({}, {}, config)
    assert settings.cluster_ca == authority
    assert settings.cluster_certificate == own
    credentials = tmp_path / "user.creds"
    for name, wrong, message in (
        ("ca", credentials, "does not hold certificates in PEM"),
        ("certificate", authority, "does not hold a certificate and its key in PEM"),
        ("certificate", locked, "has a password"),
        ("credentials", authority, "is no credentials file of NATS"),
        ("credentials", tmp_path, "Is a directory"),
    ):
        error = refusal({"cluster": URL, f"cluster_{name}": str(wrong)})
        assert error.setting == f"cluster_{name}"
        assert message in str(error)
    error = refusal({"cluster": URL, "cluster_credentials": str(credentials), "cluster_user": "me"})
    assert "give one of them" in str(error)


def test_a_router_of_a_cluster_has_a_name() -> None:
    """The one it is given, or one that is the same after a restart; with any free port, one that nobody else has."""
    assert named(Settings()) == Settings()
    given = Settings(cluster=(URL,), node="here")
    assert named(given) == given
    assert named(Settings(cluster=(URL,))).node == node_name(Settings(port=8000))
    assert str(node_name(Settings(port=8000))).endswith("-8000")
    assert not str(node_name(Settings(port=0))).endswith("-0")


@pytest.mark.parametrize("workers", ["0", "65", "100000"])
def test_no_more_workers_are_started_than_a_machine_can_have(workers: str) -> None:
    with pytest.raises(SettingsError, match="from 1 to 64"):
        load({"dev": True, "workers": workers})
