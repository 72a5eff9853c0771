"""An HTTP answer to a service: a status, `Retry-After` and a body, a line each; an outcome per event, or one error."""

from __future__ import annotations

from postroom_client import CommandError, Receipt
from postroom_client._outcomes import read_answer, retry_after_s

__all__ = ["take"]


def take(data: bytes) -> None:
    """Read an answer; whatever a proxy makes of it, the sender has something to go on with."""
    status, _, rest = data.partition(b"\n")
    header, _, body = rest.partition(b"\n")
    number = int(status) if status.isdigit() and len(status) < 5 else 200
    retry_after = header.decode("latin-1") or None
    for events in (1, 2):
        answer = read_answer(number, retry_after, body, events)
        assert 0 <= answer.retry_after_s <= 300
        assert (answer.outcomes is None) == (answer.error is not None)
        if answer.outcomes is not None:
            assert len(answer.outcomes) == events
            assert all(isinstance(outcome, Receipt | CommandError) for outcome in answer.outcomes)
    assert 0 <= retry_after_s(data.decode("latin-1")) <= 300
