"""Failures on purpose: the next time a method is called, or an actor handles a message, it raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

__all__ = ["Boom", "Fault", "countdown", "fail_on_message", "fail_once"]


class Boom(Exception):
    """A failure that a test planted."""


class Fault:
    """A planted failure: it strikes up to `times`, at calls that `when` picks.

    Args:
        when: Is given the arguments of the call without `self`.
        times: How often it strikes.
        error: What it raises.
    """

    def __init__(self, when: Callable[..., bool], times: int, error: BaseException) -> None:
        self._when = when
        self._left = times
        self._error = error
        self.struck = 0

    def strike(self, *args: Any) -> None:
        """Raise if this is the call."""
        if self._left and self._when(*args):
            self._left -= 1
            self.struck += 1
            raise self._error


def _always(*_args: Any) -> bool:
    return True


def fail_once(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    *,
    when: Callable[..., bool] = _always,
    times: int = 1,
    error: BaseException | None = None,
    after: bool = False,
) -> Fault:
    """Let a method fail `times` times before it does anything (`after`: when it has done everything)."""
    fault = Fault(when, times, error or Boom(name))
    whole = getattr(owner, name)

    def failing(self: Any, *args: Any) -> Any:
        if after:
            result = whole(self, *args)
            fault.strike(*args)
            return result
        fault.strike(*args)
        return whole(self, *args)

    monkeypatch.setattr(owner, name, failing)
    return fault


def fail_on_message(
    monkeypatch: pytest.MonkeyPatch,
    actor_class: Any,
    message_type: type,
    *,
    when: Callable[..., bool] = _always,
    times: int = 1,
    error: BaseException | None = None,
    after: bool = False,
) -> Fault:
    """Let an actor class fail on messages of one type, before it handles them or after."""
    fault = Fault(when, times, error or Boom(message_type.__name__))
    whole = actor_class._handlers[message_type]

    def failing(self: Any, message: Any) -> Any:
        if after:
            result = whole(self, message)
            fault.strike(message)
            return result
        fault.strike(message)
        return whole(self, message)

    monkeypatch.setitem(actor_class._handlers, message_type, failing)
    return fault


def countdown(count: int) -> Callable[..., bool]:
    """Make a `when` that lets `count` calls pass and picks the next one."""
    left = iter(range(count, -1, -1))
    return lambda *_args: next(left, -1) == 0
