"""A message that makes its actor fail twice: its publisher is told, everybody else goes on, an operator decides."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from actors.acceptance import Acceptance
from actors.events import Draft, decode_data
from actors.loop import LoopActor, handles
from actors.mailbox import Mailbox
from server.app import Router

from ..conftest import running_router
from ..native_client import Message, NativeClient
from .operators import Operator, until_there
from .services import http_service, wait_until
from .streams import Stream

Log = list[dict[str, Any]]


class Bug:
    """A bug in every room, for events with this `n`, until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *poison: int) -> None:
        self.mended = False
        self.struck = 0
        accept = Acceptance.accept

        def broken(acceptance: Acceptance, draft: Draft) -> Draft:
            if not self.mended and decode_data(draft.data).get("n") in poison:
                self.struck += 1
                raise RuntimeError("cannot take that")
            return accept(acceptance, draft)

        monkeypatch.setattr(Acceptance, "accept", broken)


def step(n: int, **fields: Any) -> Message:
    return {"room": "doc:1", "kind": "app.step", "data": {"n": n}, **fields}


async def listed(operator: Operator) -> list[Message]:
    status, answer = await operator.call("GET", "/v1/quarantine")
    assert status == 200
    assert answer["total"] == len(answer["quarantine"])
    return list(answer["quarantine"])


async def test_the_room_goes_on_without_it_and_everybody_is_told(
    router: Router, monkeypatch: pytest.MonkeyPatch, logged: Log
) -> None:
    """Over the wire and HTTP; subscribers notice nothing; the same event again is refused without a failure."""
    bug = Bug(monkeypatch, 3, 4, 5, 6, 7)
    url = router.addresses.ws_url
    async with http_service(router) as service, NativeClient(url) as reader, NativeClient(url) as writer:
        epoch = (await reader.subscribe("doc:1"))["epoch"]
        status, answer = await service.post([step(n, event_id=f"e{n}") for n in range(1, 10)])
        assert status == 200
        results = answer["results"]
        assert [result.get("offset") for result in results] == [1, 2, None, None, None, None, None, 3, 4]
        assert {result["epoch"] for result in results if "epoch" in result} == {epoch}
        assert results[2]["error"]["code"] == "invalid_event"
        assert results[2]["error"]["temporary"] is False
        assert bug.struck == 10
        again = await writer.ask("publish", **step(3, event_id="e3"))
        assert (again["code"], again["temporary"]) == ("invalid_event", False)
        assert again["message"] == results[2]["error"]["message"]
        assert bug.struck == 10
        stream = await Stream(reader, "doc:1").until(4)
        await stream.rest()
        assert (stream.values, stream.noticed("resumed")) == ([1, 2, 8, 9], [])
    newest, *_, oldest = await listed(Operator(router))
    assert oldest["id"] in results[2]["error"]["message"]
    assert newest["event"] == {
        "kind": "app.step",
        "data": {"n": 7},
        "event_id": "e7",
        "delivery": "keep",
        "named": True,
    }
    assert (newest["room"], newest["actor"], newest["message_type"]) == ("doc:1", "room:doc:1", "Append")
    assert (newest["exception_type"], newest["error"]) == ("RuntimeError", "cannot take that")
    assert (newest["deaths"], newest["retries"]) == (2, 0)
    assert not [line for line in logged if line["event"] == "actor_given_up"]


async def test_an_operator_tries_it_again_or_drops_it(
    guarded_router: Router, token: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who did is on record. A service may publish, and may not do this."""
    bug = Bug(monkeypatch, 1, 2)
    admin, service_token = Operator(guarded_router, token("ops", "admin")), token("svc", "service")
    async with http_service(guarded_router, service_token) as service:
        await service.post([step(1, event_id="e1"), step(2, event_id="e2")])
        second, first = [entry["id"] for entry in await listed(admin)]
        for path, method in (("", "GET"), (f"/{first}/retry", "POST"), (f"/{first}", "DELETE")):
            status, answer = await Operator(guarded_router, service_token).call(method, f"/v1/quarantine{path}")
            assert (status, answer["code"]) == (403, "forbidden")
        status, answer = await admin.call("POST", f"/v1/quarantine/{first}/retry")
        assert (status, answer["id"]) == (200, first)
        assert answer["result"]["error"]["code"] == "invalid_event"
        bug.mended = True
        status, answer = await admin.call("POST", f"/v1/quarantine/{first}/retry")
        result = answer["result"]
        assert (result["room"], result["offset"], result["event_id"]) == ("doc:1", 1, "e1")
        assert await admin.call("DELETE", f"/v1/quarantine/{second}") == (200, {"id": second, "dropped": True})
        assert await listed(admin) == []
        for path, method in ((f"/{first}/retry", "POST"), (f"/{second}", "DELETE")):
            status, answer = await admin.call(method, f"/v1/quarantine{path}")
            assert (status, answer["code"]) == (404, "not_found")
        (receipt,) = await service.publish(step(2, event_id="e2"))
        assert (receipt["offset"], receipt["duplicate"]) == (2, False)
    entries = await until_there(admin, "released", 2)
    released = [entry for entry in entries if entry["kind"] == "supervisor.released"]
    assert [(entry["quarantine"], entry["how"], entry["by"]) for entry in released] == [
        (first, "retried", "ops"),
        (second, "dropped", "ops"),
    ]


async def test_a_flood_of_poison_leaves_other_rooms_alone(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 20 is put away, what is between them is published, and another room answers meanwhile."""
    Bug(monkeypatch, -1)
    async with http_service(router) as service, http_service(router) as other:
        flood = asyncio.create_task(service.post([step(n if n % 20 else -1) for n in range(400)]))
        for n in range(1, 21):
            (receipt,) = await other.publish({**step(n), "room": "doc:2"})
            assert receipt["offset"] == n
        _, answer = await flood
    results = answer["results"]
    offsets = [result["offset"] for result in results if "offset" in result]
    assert offsets == list(range(1, 381))
    assert len(await listed(Operator(router))) == 20


class Note(NamedTuple):
    text: str


class Clerk(LoopActor):
    """An actor of a plug-in that cannot read every note."""

    retried: ClassVar[tuple[type, ...]] = (Note,)
    lives = 0

    def __init__(self, notes: list[str], *, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._notes = notes
        Clerk.lives += 1

    @handles(Note)
    def _read(self, note: Note) -> None:
        if note.text == "illegible":
            raise ValueError("cannot read it")
        if note.text == "on the second look" and Clerk.lives % 2:
            raise ValueError("cannot read it yet")
        self._notes.append(note.text)


async def test_actors_of_plugins_may_have_their_messages_retried(router: Router) -> None:
    """What fails twice is listed without its content, and can be handed over again."""
    notes: list[str] = []
    Clerk.lives = 0
    clerk = router.start_actor(Clerk, notes, name="clerk")
    for text in ("one", "on the second look", *["illegible"] * 4, "two"):
        clerk.tell(Note(text))
    await wait_until(lambda: "two" in notes, "the clerk goes on")
    assert notes == ["one", "on the second look", "two"]
    entries = await listed(Operator(router))
    assert [(entry["actor"], entry["message_type"], entry.get("event")) for entry in entries] == [
        ("clerk", "Note", None)
    ] * 4
    status, answer = await Operator(router).call("POST", f"/v1/quarantine/{entries[0]['id']}/retry")
    assert (status, answer["result"]) == (200, {"handed_over": True})
    await wait_until(lambda: len(router.quarantine) == 4, "it is poison still")


async def test_what_is_in_quarantine_outlives_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process takes it from there: a long text as it was, and what looks like a token not at all."""
    bug = Bug(monkeypatch, 1)
    secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlLW9mLWEtdG9rZW4"
    async with running_router(dev=True, journal=str(tmp_path / "j.db")) as router, http_service(router) as service:
        for text in ("x" * 9000, secret):
            await service.post({**step(1), "data": {"n": 1, "text": text}})
        await until_there(Operator(router), "quarantined", 2)
    async with running_router(dev=True, journal=str(tmp_path / "j.db")) as router:
        bug.mended = True
        hidden, long = [entry["id"] for entry in await listed(Operator(router))]
        status, answer = await Operator(router).call("POST", f"/v1/quarantine/{long}/retry")
        assert (status, answer["result"]["offset"]) == (200, 1)
        status, answer = await Operator(router).call("POST", f"/v1/quarantine/{hidden}/retry")
        assert (status, answer["code"]) == (404, "not_found")
