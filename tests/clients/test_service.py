"""The remote actor reference, against a scripted HTTP API."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator

import pytest

from postroom_client import (
    Alert,
    Backoff,
    BufferFull,
    ClientClosed,
    CommandError,
    CommandTimeout,
    Custom,
    Notification,
    Progress,
    Refused,
    Service,
)

from .scripted_api import BOUND_S, ScriptedApi, cut, in_threads, item_error, problem, results, scripted_api

QUICK = Backoff(floor_s=0.005, cap_s=0.02)


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    """An API that does what the test says."""
    async with scripted_api() as running:
        yield running


@pytest.fixture
async def refused() -> list[Refused]:
    """Where refused events go."""
    return []


@pytest.fixture
async def service(api: ScriptedApi, refused: list[Refused]) -> AsyncIterator[Service]:
    """A service of that API."""
    async with Service(
        api.url, token="token", backoff=QUICK, on_refused=refused.append, close_timeout_s=BOUND_S
    ) as running:
        yield running


async def flushed(service: Service) -> None:
    assert await asyncio.to_thread(service.flush, BOUND_S)


async def test_ask_gives_the_receipt_after_the_commit(api: ScriptedApi, service: Service):
    receipt = await service.ask(Alert("session:42", severity="critical", title="disk full"))
    assert (receipt.room, receipt.offset, receipt.duplicate) == ("session:42", 1, False)
    assert api.requests == [
        [
            {
                "kind": "alert",
                "data": {"severity": "critical", "title": "disk full"},
                "room": "session:42",
                "event_id": receipt.event_id,
            }
        ]
    ]
    assert api.tokens == ["Bearer token"]


async def test_tell_delivers_later_and_returns_the_event_id_at_once(api: ScriptedApi, service: Service):
    event_id = service.tell(Progress("session:42", current=3, total=10))
    await flushed(service)
    assert api.committed == {"session:42": [event_id]}
    assert service.pending == 0


async def test_what_waits_while_a_request_is_under_way_leaves_in_one_request_and_in_order(
    api: ScriptedApi, service: Service
):
    api.gate.clear()
    ids = [service.tell(Progress("session:1", 0))]
    await asyncio.wait_for(api.requested.wait(), BOUND_S)
    ids += [service.tell(Progress(f"session:{number % 3}", number)) for number in range(2500)]
    api.gate.set()
    await flushed(service)
    assert [len(events) for events in api.requests] == [1, 1000, 1000, 500]
    assert [event["event_id"] for events in api.requests for event in events] == ids


async def test_a_batch_takes_no_more_bytes_than_it_should(api: ScriptedApi, service: Service):
    api.gate.clear()
    for _ in range(30):
        service.tell(Custom("session:1", "a.b", {"x": "y" * 60_000}))
    api.gate.set()
    await flushed(service)
    assert sum(map(len, api.requests)) == 30
    assert max(map(len, api.requests)) <= 8


async def test_threads_tell_and_ask_without_a_loop(api: ScriptedApi, service: Service):
    receipts: list[str] = []

    def work(number: int) -> None:
        for count in range(50):
            service.tell(Progress(f"session:{number}", count, event_id=f"{number}-{count}"))
        receipts.append(service.ask_sync(Progress(f"session:{number}", 50, event_id=f"{number}-50"), BOUND_S).event_id)

    for thread in in_threads(4, work):
        await asyncio.to_thread(thread.join)
    assert sorted(receipts) == [f"{number}-50" for number in range(4)]
    assert api.committed == {f"session:{number}": [f"{number}-{count}" for count in range(51)] for number in range(4)}


async def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_event_id(api: ScriptedApi, service: Service):
    def commit_and_cut(events: list[dict]):
        api.commit_all(events)
        return cut(events)

    api.answers = [cut, commit_and_cut]
    receipt = await service.ask(Progress("session:1", 1))
    assert receipt.duplicate
    assert api.committed == {"session:1": [receipt.event_id]}
    assert len(api.requests) == 3


async def test_a_router_that_is_away_is_waited_for_and_the_order_is_kept(refused: list[Refused], unused_tcp_port: int):
    async with Service(f"http://127.0.0.1:{unused_tcp_port}", backoff=QUICK, on_refused=refused.append) as service:
        ids = [service.tell(Progress("session:1", number)) for number in range(5)]
        assert not await asyncio.to_thread(service.flush, 0.05)
        async with scripted_api(unused_tcp_port) as api:
            await flushed(service)
            assert api.committed == {"session:1": ids}
    assert refused == []


async def test_a_request_without_an_answer_in_time_is_sent_again(api: ScriptedApi):
    api.gate.clear()
    async with Service(api.url, backoff=QUICK, request_timeout_s=0.05) as service:
        asking = asyncio.create_task(service.ask(Progress("session:1", 1), timeout=BOUND_S))
        await asyncio.wait_for(api.requested.wait(), BOUND_S)
        api.requested.clear()
        await asyncio.wait_for(api.requested.wait(), BOUND_S)
        api.gate.set()
        await asking
    assert len(api.committed["session:1"]) == 1


@pytest.mark.parametrize(
    "answer",
    [
        problem(503, "busy", True),
        problem(429, "rate_limited", True),
        problem(503, "journal_unavailable", True),
        problem(502, ""),
        problem(500, "internal", True),
        lambda events: results([]),
    ],
)
async def test_a_refusal_for_now_is_tried_again(api: ScriptedApi, service: Service, refused: list[Refused], answer):
    api.answers = [answer, answer]
    ids = [service.tell(Progress("session:1", 1))]
    ids.append((await service.ask(Progress("session:1", 2), timeout=BOUND_S)).event_id)
    assert api.committed == {"session:1": ids}
    assert refused == []


async def test_retry_after_is_honoured(api: ScriptedApi, service: Service):
    api.answers = [problem(503, "busy", True, **{"Retry-After": "0.3"})]
    began = time.monotonic()
    await service.ask(Progress("session:1", 1))
    assert time.monotonic() - began >= 0.3


class Long(Backoff):
    """Waits for an hour."""

    def delay_s(self, attempt: int, uniform: object = None) -> float:
        return 3600.0


async def test_closing_waits_for_no_room_that_is_held_back_for_long(api: ScriptedApi):
    api.answers = [lambda events: results([item_error("journal_unavailable", True)])]
    service = Service(api.url, backoff=Long(floor_s=0.005), close_timeout_s=BOUND_S)
    held = service.tell(Progress("session:1", 1))
    await api.requested.wait()
    await service.ask(Progress("session:2", 1), timeout=BOUND_S)
    async with asyncio.timeout(BOUND_S):
        while service.pending > 1:  # noqa: ASYNC110  # the receipt comes a moment before its event is let go of
            await asyncio.sleep(0.001)
    assert service.pending == 1
    await service.aclose()
    assert api.committed["session:1"] == [held]


async def test_closing_waits_for_no_long_delay_but_for_the_one_that_the_router_named(api: ScriptedApi):
    api.answers = [problem(503, "busy", True), problem(503, "busy", True, **{"Retry-After": "0.3"})]
    service = Service(api.url, backoff=Long(floor_s=0.005), close_timeout_s=BOUND_S)
    event_id = service.tell(Progress("session:1", 1))
    await api.requested.wait()
    began = time.monotonic()
    await service.aclose()
    assert api.committed == {"session:1": [event_id]}
    assert time.monotonic() - began >= 0.3


async def test_an_event_that_is_refused_for_good_goes_to_on_refused_and_the_log_without_its_payload(
    api: ScriptedApi, service: Service, refused: list[Refused], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    bad = Notification("user:1", "info", "PAYLOAD", event_id="bad")
    api.answers = [api.commit_but(lambda event: event["event_id"] == "bad", "forbidden", temporary=False)]
    service.tell(bad)
    await flushed(service)
    assert [(each.message, each.event_id, str(each.error)) for each in refused] == [
        (bad, "bad", "forbidden: no: forbidden")
    ]
    assert "not delivered: Notification to user:1, event id bad: forbidden" in caplog.text
    assert "PAYLOAD" not in caplog.text
    assert "token" not in caplog.text


async def test_an_asker_gets_the_refusal_itself(api: ScriptedApi, service: Service, refused: list[Refused]):
    api.answers = [problem(400, "invalid_event")]
    with pytest.raises(CommandError, match="invalid_event: no") as caught:
        await service.ask(Progress("session:1", -1))
    assert not caught.value.temporary
    assert refused == []


async def test_one_bad_event_does_not_take_its_batch_with_it(
    api: ScriptedApi, service: Service, refused: list[Refused]
):
    def refuse_batch_with_bad(events: list[dict]):
        if any(event["event_id"] == "bad" for event in events):
            return problem(400, "invalid_event")(events)
        return api.commit_all(events)

    api.answers = [refuse_batch_with_bad] * 10
    api.gate.clear()
    service.tell(Progress("session:1", 0, event_id="0"))
    await asyncio.wait_for(api.requested.wait(), BOUND_S)
    for event_id in ("1", "bad", "2"):
        service.tell(Progress("session:1", 1, event_id=event_id))
    api.gate.set()
    await flushed(service)
    assert api.committed == {"session:1": ["0", "1", "2"]}
    assert [each.event_id for each in refused] == ["bad"]


async def test_an_event_that_is_refused_for_now_holds_back_its_room_and_no_other(api: ScriptedApi, service: Service):
    api.gate.clear()
    service.tell(Progress("other:0", 0, event_id="first"))
    await asyncio.wait_for(api.requested.wait(), BOUND_S)
    for number in range(3):
        service.tell(Progress("session:1", number, event_id=f"1-{number}"))
        service.tell(Progress("session:2", number, event_id=f"2-{number}"))
    in_room_1 = api.commit_but(lambda event: event["room"] == "session:1", "busy", temporary=True)
    api.answers = [api.commit_all, in_room_1, in_room_1]
    api.gate.set()
    await flushed(service)
    assert api.committed["session:2"] == ["2-0", "2-1", "2-2"]
    assert api.committed["session:1"] == ["1-0", "1-1", "1-2"]


async def test_an_event_that_breaks_the_router_again_and_again_is_refused_in_the_end(
    api: ScriptedApi, service: Service, refused: list[Refused]
):
    poison = api.commit_but(lambda event: event["event_id"] == "poison", "internal", temporary=True)
    api.answers = [poison] * 50
    service.tell(Progress("session:1", 1, event_id="poison"))
    service.tell(Progress("session:1", 2, event_id="after"))
    await flushed(service)
    assert [each.event_id for each in refused] == ["poison"]
    assert api.committed == {"session:1": ["after"]}


async def test_a_batch_that_breaks_the_router_again_and_again_is_taken_apart(
    api: ScriptedApi, service: Service, refused: list[Refused]
):
    def break_on_poison(events: list[dict]):
        if any(event["event_id"] == "poison" for event in events):
            return problem(500, "internal", True)(events)
        return api.commit_all(events)

    api.answers = [break_on_poison] * 50
    api.gate.clear()
    service.tell(Progress("session:1", 0, event_id="0"))
    await asyncio.wait_for(api.requested.wait(), BOUND_S)
    for event_id in ("1", "poison", "2"):
        service.tell(Progress("session:1", 1, event_id=event_id))
    api.gate.set()
    await flushed(service)
    assert api.committed == {"session:1": ["0", "1", "2"]}
    assert [each.event_id for each in refused] == ["poison"]


async def test_a_full_buffer_takes_no_more_and_drops_nothing(api: ScriptedApi):
    api.gate.clear()
    async with Service(api.url, buffer_events=3, backoff=QUICK) as service:
        ids = [service.tell(Progress("session:1", number)) for number in range(3)]
        with pytest.raises(BufferFull, match="3 events"):
            service.tell(Progress("session:1", 3))
        with pytest.raises(BufferFull):
            await service.ask(Progress("session:1", 3))
        api.gate.set()
        await flushed(service)
        service.tell(Progress("session:1", 4))
    assert api.committed["session:1"][:3] == ids
    assert len(api.committed["session:1"]) == 4


async def test_a_buffer_is_bounded_in_bytes_too(api: ScriptedApi):
    api.gate.clear()
    async with Service(api.url, buffer_bytes=10_000, backoff=QUICK) as service:
        service.tell(Custom("session:1", "a.b", {"x": "y" * 20_000}))  # one event is taken whatever its size
        with pytest.raises(BufferFull):
            service.tell(Progress("session:1", 1))
        api.gate.set()


async def test_a_message_that_is_no_json_is_refused_where_it_is_told(service: Service):
    with pytest.raises(TypeError):
        service.tell(Custom("session:1", "a.b", {"x": object()}))
    assert service.pending == 0


async def test_a_callable_gives_the_token_and_a_fresh_one_when_the_router_takes_it_no_longer(api: ScriptedApi):
    tokens = iter(["first", "second"])

    async def token() -> str:
        return next(tokens)

    async with Service(api.url, token=token, backoff=QUICK) as service:
        await service.ask(Progress("session:1", 1))
        await service.ask(Progress("session:1", 2))
        api.answers = [problem(401, "token_expired")]
        await service.ask(Progress("session:1", 3))
    assert api.tokens == ["Bearer first", "Bearer first", "Bearer first", "Bearer second"]


async def test_a_token_that_is_refused_for_good_refuses_the_event(api: ScriptedApi, service: Service):
    api.answers = [problem(401, "unauthenticated")]
    with pytest.raises(CommandError, match="unauthenticated"):
        await service.ask(Progress("session:1", 1))


async def test_an_error_of_the_token_callable_is_waited_out(api: ScriptedApi):
    tokens = iter([None, "second"])

    def token() -> str:
        value = next(tokens)
        if value is None:
            raise LookupError
        return value

    async with Service(api.url, token=token, backoff=QUICK) as service:
        await service.ask(Progress("session:1", 1))
    assert api.tokens == ["Bearer second"]


async def test_an_ask_without_an_answer_in_time_says_how_to_repeat_it(api: ScriptedApi, service: Service):
    api.gate.clear()
    with pytest.raises(CommandTimeout) as caught:
        await service.ask(Progress("session:1", 1, event_id="mine"), timeout=0.05)
    assert caught.value.event_id == "mine"
    with pytest.raises(CommandTimeout):
        await asyncio.to_thread(service.ask_sync, Progress("session:1", 1), 0.05)
    api.gate.set()
    assert (await service.ask(Progress("session:1", 1, event_id="mine"))).duplicate


async def test_an_ask_that_was_given_up_before_it_was_sent_is_not_sent(api: ScriptedApi, service: Service):
    api.gate.clear()
    service.tell(Progress("session:1", 0, event_id="told"))
    await asyncio.wait_for(api.requested.wait(), BOUND_S)
    with pytest.raises(CommandTimeout):
        await service.ask(Progress("session:1", 1, event_id="asked"), timeout=0.01)
    api.gate.set()
    await flushed(service)
    assert api.committed == {"session:1": ["told"]}


async def test_closing_delivers_what_waits(api: ScriptedApi):
    def work(_: int) -> None:
        with Service(api.url, backoff=QUICK) as service:
            for number in range(100):
                service.tell(Progress("session:1", number))

    for thread in in_threads(1, work):
        await asyncio.to_thread(thread.join)
    assert len(api.committed["session:1"]) == 100


async def test_what_cannot_be_delivered_before_the_end_is_refused_and_named(
    refused: list[Refused], unused_tcp_port: int
):
    service = Service(f"http://127.0.0.1:{unused_tcp_port}", backoff=QUICK, on_refused=refused.append)
    event_id = service.tell(Progress("session:1", 1))
    asking = asyncio.create_task(service.ask(Progress("session:1", 2)))
    await asyncio.sleep(0)
    await service.aclose(0.05)
    assert [(each.event_id, type(each.error)) for each in refused] == [(event_id, ClientClosed)]
    with pytest.raises(ClientClosed):
        await asking
    with pytest.raises(ClientClosed):
        service.tell(Progress("session:1", 3))
    await service.aclose()
    assert "postroom service" not in {thread.name for thread in threading.enumerate()}


async def test_a_service_that_was_never_used_starts_no_thread(unused_tcp_port: int):
    with Service(f"http://127.0.0.1:{unused_tcp_port}"):
        assert "postroom service" not in {thread.name for thread in threading.enumerate()}


async def test_an_error_in_on_refused_stops_nothing(api: ScriptedApi, caplog: pytest.LogCaptureFixture):
    def broken(_: Refused) -> None:
        raise LookupError

    api.answers = [lambda events: results([item_error("forbidden", False)])]
    async with Service(api.url, backoff=QUICK, on_refused=broken) as service:
        service.tell(Progress("session:1", 1))
        await flushed(service)
        await service.ask(Progress("session:1", 2))
    assert "on_refused failed" in caplog.text


@pytest.mark.parametrize("url", ["127.0.0.1:8001", "ws://127.0.0.1:8000/v1/ws"])
def test_a_url_that_is_not_http_is_refused_at_once(url: str):
    with pytest.raises(ValueError, match="give the router's HTTP address"):
        Service(url)


def test_a_service_whose_router_is_not_there_says_so_once(caplog: pytest.LogCaptureFixture):
    """A program that only waits would not say why; the more attempts there are, the less is new about them."""
    caplog.set_level(logging.INFO)

    def waiting() -> list[logging.LogRecord]:
        return [record for record in caplog.records if "events wait" in record.getMessage()]

    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with Service(url, backoff=QUICK, close_timeout_s=0.01) as service:
            service.tell(Progress("session:1", 1))
            deadline = time.monotonic() + BOUND_S
            while len(waiting()) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    (warning,) = [record for record in waiting() if record.levelno == logging.WARNING]
    assert f"{url}/v1/publish" in warning.getMessage()
    assert "is this the port of its HTTP API" in warning.getMessage()
