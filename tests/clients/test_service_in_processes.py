"""A service in processes that fork (Celery, gunicorn) and that end: a scripted HTTP API, real processes."""

from __future__ import annotations

import asyncio
import sys

import pytest

from .scripted_api import BOUND_S, ScriptedApi, scripted_api

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no process forks there")

WARNINGS = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
"""From 3.12 on Python warns of every fork beside threads, and that is what is tried here."""

HEAD = """
import os, sys, threading
from postroom_client import ClientClosed, Custom, Service

def event(name):
    return Custom("session:42", "a.step", {}, event_id=name)

def forked():
    return os.fork() == 0

def join():
    assert os.wait()[1] == 0, "the child failed"

service = Service(sys.argv[1])
"""


async def run(api: ScriptedApi, program: str) -> str:
    """Run a program with a service of that API, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *WARNINGS, "-c", HEAD + program, api.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(2 * BOUND_S):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


def sent(api: ScriptedApi) -> list[str]:
    """Return the ids of all events that came, each as often as it came."""
    return sorted(event["event_id"] for request in api.requests for event in request)


async def test_both_sides_of_a_fork_deliver_and_neither_does_the_others_work():
    """What waited at the fork is the parent's, and the child's end disturbs nobody."""
    async with scripted_api() as api:
        api.gate.clear()
        program = """
service.tell(event("before"))  # it is under way, and stays so until the API answers
if forked():
    assert service.pending == 0
    service.tell(event("child-1"))
    service.ask_sync(event("child-2"), timeout=5)
    service.close()
    sys.exit()
join()
service.ask_sync(event("after"), timeout=5)
service.close()
"""
        running = asyncio.create_task(run(api, program))
        async with asyncio.timeout(BOUND_S):
            while len(api.requests) < 2:
                api.requested.clear()
                await api.requested.wait()
        api.gate.set()
        await running
        assert sent(api) == ["after", "before", "child-1", "child-2"]


async def test_a_service_that_first_sends_in_the_children_sends_in_each():
    """As where a master loads the application and workers serve it, one made anew for each that ends."""
    async with scripted_api() as api:
        await run(
            api,
            """
for number in range(3):
    if forked():
        with service:
            service.tell(event(f"worker-{number}"))
        sys.exit()
    join()
""",
        )
        assert sent(api) == ["worker-0", "worker-1", "worker-2"]


async def test_a_fork_while_threads_publish_leaves_no_lock_held():
    """Whatever the other threads were doing at that moment, each child can publish."""
    async with scripted_api() as api:
        await run(
            api,
            """
stop = threading.Event()
def publish():
    while not stop.is_set():
        service.ask_sync(event(None), timeout=5)
threads = [threading.Thread(target=publish) for _ in range(3)]
for thread in threads:
    thread.start()
for number in range(20):
    if forked():
        service.ask_sync(event(f"child-{number}"), timeout=5)
        service.close()
        os._exit(0)
    join()
stop.set()
for thread in threads:
    thread.join()
service.close()
""",
        )
        assert {f"child-{number}" for number in range(20)} <= set(sent(api))


async def test_a_service_that_was_closed_is_closed_in_the_child():
    """A fork opens nothing."""
    async with scripted_api() as api:
        printed = await run(
            api,
            """
service.ask_sync(event("before"), timeout=5)
service.close()
if forked():
    try:
        service.tell(event("child"))
    except ClientClosed:
        print("closed")
    sys.exit()
join()
""",
        )
        assert printed == "closed\n"
        assert sent(api) == ["before"]


async def test_what_waits_when_the_interpreter_ends_leaves_by_atexit_to_a_host_that_has_to_be_looked_up():
    """The pool that loops look names up in is shut by then."""
    async with scripted_api() as api:
        await run(
            api,
            """
import atexit
named = Service(sys.argv[1].replace("127.0.0.1", "localhost"))
atexit.register(named.close)
named.tell(event("last"))
""",
        )
        assert sent(api) == ["last"]


async def test_a_process_that_ends_without_closing_its_service_says_what_is_lost():
    """A script that forgets the `with` block does not lose its events in silence."""
    async with scripted_api() as api:
        api.gate.clear()
        lost = "1 events are lost with this process: close the service <Service http://127.0.0.1:"
        assert (await run(api, 'service.tell(event("lost"))')).startswith(lost)
        forgotten = """
def main():
    Service(sys.argv[1]).tell(event("lost"))

main()
"""
        assert (await run(api, forgotten)).startswith(lost)
        assert await run(api, "") == ""
