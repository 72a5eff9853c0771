"""The pytest plug-in of Postroom's test kit: fixtures `postroom`, `postroom_alone`, `postroom_sync`.

It costs a project that does not use it nothing: whatever is heavy is imported when a fixture is asked for.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from postroom_client.testing import Postroom, RouterProcess

__all__ = ["postroom", "postroom_alone", "postroom_router", "postroom_settings", "postroom_sync"]


def _async_fixture(function: Callable[..., Any]) -> Any:
    """Make a fixture of an async generator: pytest-asyncio's where it is installed, or else whoever runs such ones."""
    try:
        import pytest_asyncio
    except ImportError:
        return pytest.fixture(function)
    return pytest_asyncio.fixture(function)


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    """Say what is missing where nobody has taken an async fixture of this file upon them."""
    function = fixturedef.func
    if function.__module__ == __name__ and inspect.isasyncgenfunction(function):
        failure = pytest.fail.Exception(
            f"the fixture {fixturedef.argname!r} is async, and pytest-asyncio is not there to run it: "
            "pip install pytest-asyncio, or use `postroom_sync` in a test that is not async",
            pytrace=False,
        )
        # As pytest notes failures itself: without it, the next test that wants the fixture trips over the last one.
        fixturedef.cached_result = (None, getattr(request, "param", None), (failure, None))
        raise failure


@pytest.fixture(scope="session")
def postroom_settings() -> dict[str, object]:
    """The router's settings by name; override it in your conftest.py."""
    return {}


@pytest.fixture(scope="session")
def postroom_router(postroom_settings: dict[str, object]) -> Iterator[RouterProcess]:
    """One router for all tests. Tests that stop it get it started again before the next one."""
    from postroom_client.testing._router import own_process

    with own_process(**postroom_settings) as process:
        process.start()
        yield process


@_async_fixture
async def postroom(postroom_router: RouterProcess) -> AsyncIterator[Postroom]:
    """The router of all tests, with clients, services and faults for this one. Use rooms of your own: `room()`."""
    from postroom_client.testing import Postroom

    postroom = Postroom(postroom_router)
    if not postroom_router.running:
        await postroom.start_router()
    try:
        yield postroom
    finally:
        await postroom.close()


@_async_fixture
async def postroom_alone(postroom_settings: dict[str, object]) -> AsyncIterator[Postroom]:
    """A router for this test alone, in which nothing has ever happened; it takes about a second to start."""
    from postroom_client.testing import router

    async with router(**postroom_settings) as postroom:
        yield postroom


@pytest.fixture
def postroom_sync(postroom_router: RouterProcess) -> Iterator[tuple[Postroom, Callable[[Awaitable[Any]], Any]]]:
    """For tests that are not async: what `postroom` gives, and a function that runs what has to be awaited."""
    from postroom_client.testing import Postroom

    async def whole(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    postroom = Postroom(postroom_router)
    if not postroom_router.running:
        postroom_router.start()
    with asyncio.Runner() as runner:
        try:
            yield postroom, lambda awaitable: runner.run(whole(awaitable))
        finally:
            runner.run(postroom.close())
