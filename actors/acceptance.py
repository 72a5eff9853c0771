"""Acceptance: a valid draft in; the draft as the room takes it out, with estimates, or a refusal."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .errors import ErrorCode, Refusal
from .estimates import with_estimates
from .events import Draft, decode_data
from .state import DEFAULT_KEY, RoomState, is_full, resize, size

__all__ = ["Acceptance"]

_SMALL_BYTES = 1024
"""A value up to this size always takes the place of the one before; what a job says grows a little as it goes on."""


class Acceptance:
    """Judges each event by those that were accepted before it, committed or not yet. Clients see the committed ones.

    Args:
        room: The room's name, for refusals.
        state: What is committed.
    """

    def __init__(self, room: str, state: RoomState) -> None:
        self._room = room
        self._state = state
        self.judge_anew(())

    def judge_anew(self, accepted: Iterable[Draft]) -> None:
        """Forget what was accepted and will not be committed; `accepted` is on its way still, in this order."""
        state = self._state
        self._ended = state.ended
        self._progress = {key: (state.progress_ms[key], data) for key, data in state.progress.items()}
        self._sizes = dict(state.sizes)
        for draft in accepted:
            if draft.kind == "session":
                self._take_session(draft)
            elif draft.kind == "progress" and draft.delivery != "ephemeral":
                self._progress[draft.key or DEFAULT_KEY] = (draft.time_ms, decode_data(draft.data))
            if draft.delivery != "ephemeral":
                resize(self._sizes, draft)

    def accept(self, draft: Draft) -> Draft:
        """Return the draft that is to be committed.

        Raises:
            Refusal: `session_ended`, or `too_large` where the room's state is full.
        """
        if draft.kind == "progress":
            draft = self._accept_progress(draft)
        elif draft.kind == "session":
            self._take_session(draft)
        elif draft.delivery == "ephemeral":
            return draft
        elif draft.ack and is_full(self._sizes):
            raise self._full()
        if draft.delivery != "ephemeral":
            resize(self._sizes, draft)
        return draft

    def _take_session(self, draft: Draft) -> None:
        self._ended = decode_data(draft.data)["status"] != "started"
        self._progress = {}

    def _accept_progress(self, draft: Draft) -> Draft:
        if self._ended:
            raise Refusal(
                ErrorCode.SESSION_ENDED,
                f"{self._room} has ended and takes no more progress; publish session 'started' to open a new run",
            )
        key = draft.key or DEFAULT_KEY
        stored = draft.delivery != "ephemeral"
        if stored and is_full(self._sizes) and not self._replaces(key, draft):
            raise self._full()
        before_ms, before = self._progress.get(key, (draft.time_ms, None))
        data = with_estimates(decode_data(draft.data), before, (draft.time_ms - before_ms) / 1000)
        if stored:
            self._progress[key] = (draft.time_ms, data)
        return msgspec.structs.replace(draft, data=msgspec.Raw(msgspec.json.encode(data)))

    def _replaces(self, key: str, draft: Draft) -> bool:
        """Tell whether a value takes the place of the one before: many small ones may not become large ones."""
        before = self._sizes.get(f"progress {key}")
        return before is not None and size(draft) <= max(before, _SMALL_BYTES)

    def _full(self) -> Refusal:
        alerts = sum(name.startswith("alert ") for name in self._sizes)
        return Refusal(
            ErrorCode.TOO_LARGE,
            f"the state of {self._room} is full: it holds {alerts} unacknowledged alerts and progress "
            f"of {len(self._sizes) - alerts} keys; acknowledge alerts, use fewer keys and smaller values, or start the "
            "session again",
        )
