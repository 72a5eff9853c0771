"""Opening: something to be opened, either for a block (`async with`) or for the rest of the test (`await`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

__all__ = ["Opening"]

_Open = TypeVar("_Open")


class Opening(Generic[_Open]):
    """What `Postroom.client` returns: `await` it, or use it in `async with`.

    Args:
        context: Opens and closes it.
        keep: Opens it and closes it at the end of everything.
    """

    def __init__(
        self,
        context: AbstractAsyncContextManager[_Open],
        keep: Callable[[AbstractAsyncContextManager[_Open]], Awaitable[_Open]],
    ) -> None:
        self._context = context
        self._keep = keep

    if not TYPE_CHECKING:  # type checkers know that there is nothing more here

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"no {name!r} before it is opened: write `client = await postroom.client(...)` or "
                "`async with postroom.client(...) as client`"
            )

    def __await__(self) -> Generator[object, None, _Open]:
        return self._keep(self._context).__await__()

    async def __aenter__(self) -> _Open:
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._context.__aexit__(kind, error, traceback)
