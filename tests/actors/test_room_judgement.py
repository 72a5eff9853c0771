"""Events under way: what is judged while the log has not answered yet."""

from __future__ import annotations

import pytest

from actors.errors import ErrorCode, Refusal
from actors.mailbox import Target
from actors.messages import Append, AppendFailed, Published, Refused

from .fake_clock import settled
from .house import Ear, House
from .late_log import LateLog

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOM = "session:1"


async def test_an_event_that_is_refused_does_not_make_those_under_way_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session that has been told to end takes no more progress, though another event was refused meanwhile."""
    log = LateLog(late=False)
    house = House(log=log)
    await house.append(ROOM, "session", {"status": "started"})
    log.late = True
    ending, refused, late = Ear(), Ear(), Ear()
    house.put(ROOM, ending, "session", {"status": "completed"})
    await settled()

    def busy(room: str, append: Append, to: Target) -> None:
        to.tell(AppendFailed(append, Refusal(ErrorCode.BUSY, "busy")))

    with monkeypatch.context() as patched:
        patched.setattr(log, "append", busy)
        house.put(ROOM, refused)
        await settled()
    house.put(ROOM, late, "progress", {"current": 1})
    await settled()
    log.commit()
    await settled()
    assert refused.only(Refused).refusal.code is ErrorCode.BUSY
    assert ending.only(Published).receipt.offset == 2
    assert late.only(Refused).refusal.code is ErrorCode.SESSION_ENDED
    log.late = False
    await house.end()


async def test_a_session_event_that_was_not_committed_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    await house.append(ROOM, "session", {"status": "started"})

    def unavailable(room: str, append: Append, to: Target) -> None:
        to.tell(AppendFailed(append, Refusal(ErrorCode.JOURNAL_UNAVAILABLE, "the disk is full")))

    with monkeypatch.context() as patched:
        patched.setattr(house.log, "append", unavailable)
        assert isinstance(await house.append(ROOM, "session", {"status": "completed"}), Refused)
    assert isinstance(await house.append(ROOM, "progress", {"current": 1}), Published)
    await house.end()
