"""Acceptance: a valid draft in; the draft as the room takes it out, with estimates, or a refusal."""

from __future__ import annotations

import msgspec

from .errors import ErrorCode, Refusal
from .estimates import with_estimates
from .events import Draft, decode_data
from .state import DEFAULT_KEY, RoomState

__all__ = ["Acceptance"]


class Acceptance:
    """Judges each event by those that were accepted before it, committed or not yet. Clients see the committed ones.

    Args:
        room: The room's name, for refusals.
        state: What is committed.
    """

    def __init__(self, room: str, state: RoomState) -> None:
        self._room = room
        self._state = state
        self.judge_by_state()

    def judge_by_state(self) -> None:
        """Forget what was accepted and will not be committed."""
        state = self._state
        self._ended = state.ended
        self._progress = {key: (state.progress_ms[key], data) for key, data in state.progress.items()}

    def accept(self, draft: Draft) -> Draft:
        """Return the draft that is to be committed.

        Raises:
            Refusal: `session_ended`, or `too_large` where the room's state is full.
        """
        if draft.kind == "progress":
            return self._accept_progress(draft)
        if draft.kind == "session":
            self._ended = decode_data(draft.data)["status"] != "started"
            self._progress = {}
        elif draft.ack and self._state.full:
            raise self._full()
        return draft

    def _accept_progress(self, draft: Draft) -> Draft:
        if self._ended:
            raise Refusal(
                ErrorCode.SESSION_ENDED,
                f"{self._room} has ended and takes no more progress; publish session 'started' to open a new run",
            )
        key = draft.key or DEFAULT_KEY
        if key not in self._progress and self._state.full:
            raise self._full()
        before_ms, before = self._progress.get(key, (draft.time_ms, None))
        data = with_estimates(decode_data(draft.data), before, (draft.time_ms - before_ms) / 1000)
        self._progress[key] = (draft.time_ms, data)
        return msgspec.structs.replace(draft, data=msgspec.Raw(msgspec.json.encode(data)))

    def _full(self) -> Refusal:
        return Refusal(
            ErrorCode.TOO_LARGE,
            f"the state of {self._room} is full: it holds {len(self._state.alerts)} unacknowledged alerts and progress "
            f"of {len(self._state.progress)} keys; acknowledge alerts, use fewer keys, or start the session again",
        )
