"""Quarantine over HTTP: whoever has a message tried again is answered in time, whatever the log does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.acceptance import Acceptance
from actors.errors import ErrorCode, Refusal
from actors.identity import Identity
from actors.messages import Refused
from server.http.calls import Asked
from server.http.quarantine import QuarantineCalls

from ..actors.fake_clock import settled
from ..actors.house import House
from ..actors.late_log import LateLog

ROOM = "session:1"


async def test_a_retry_that_takes_too_long_is_answered_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message stays until its answer comes, is not tried twice meanwhile, and leaves when it was taken."""
    log = LateLog()
    house = House(log=log)
    with monkeypatch.context() as patch:
        patch.setattr(Acceptance, "accept", lambda *_: 1 / 0)
        assert isinstance(await house.append(ROOM), Refused)
    (entry,) = house.quarantine.entries()
    _, retry, _ = QuarantineCalls(house.quarantine, retry_s=0.01).calls()
    asked: Asked[Any] = Asked({"id": entry.id}, Identity(user="ops", role="admin"), None)
    log.late = True
    for words in ("has no answer yet", "is being tried already"):
        with pytest.raises(Refusal, match=words) as caught:
            await asyncio.wait_for(retry.handler(asked), 5.0)
        assert caught.value.code is ErrorCode.BUSY
    assert len(house.quarantine) == 1
    log.commit()
    await settled()
    assert len(house.quarantine) == 0
    log.late = False
    await house.end()
