"""docs/how-to/publish-from-celery.md, done as it says: tasks in forked processes of a worker, and a real router."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postroom_client.testing import Postroom, assert_event

from .guides import WAIT_S, Program, done, lines, program, written

PAGE = "docs/how-to/publish-from-celery.md"


MORE = """
import kombu.transport.filesystem

kombu.transport.filesystem.Transport.polling_interval = 0.1


@app.task
def say(room):
    postroom.tell(Session(room, "started"))
"""
"""A task that leaves it to the end of the worker to deliver, and a broker that is looked at more often."""


class Worker:
    """The page's worker as it runs.

    Args:
        program: The worker.
        postroom: The router that its tasks publish to.
        folder: Where its broker is.
    """

    def __init__(self, program: Program, postroom: Postroom, folder: Path) -> None:
        self.program = program
        self.postroom = postroom
        self._folder = folder

    def call(self, task: str, *arguments: object) -> str:
        """Give it a task as the page does, and return the task's id."""
        (command,) = lines(PAGE, "celery -A reports call")
        words = [*command.split()[:4], f"reports.{task}", "--args", shlex.quote(json.dumps(arguments))]
        return done(" ".join(words), self._folder).split()[-1]

    def repeat(self, task_id: str, *arguments: object) -> None:
        """Give it a task another time, as a broker does that has not heard of its end."""
        again = f"import reports; reports.write_report.apply_async({arguments}, task_id={task_id!r})"
        done(f"python -c {shlex.quote(again)}", self._folder)


@pytest.fixture
async def worker(postroom_alone: Postroom, tmp_path: Path) -> AsyncIterator[Worker]:
    """The worker, started with the page's command."""
    written(PAGE, tmp_path)
    for command in lines(PAGE, "mkdir"):
        done(command, tmp_path)
    with (tmp_path / "reports.py").open("a") as module:
        module.write(MORE)
    (command,) = lines(PAGE, "celery -A reports worker")
    token = postroom_alone.token("reports", "service")
    environment = {"POSTROOM_API_URL": postroom_alone.api_url, "POSTROOM_TOKEN": token}
    async with program(f"{command} --loglevel INFO", tmp_path, **environment) as running:
        await running.says(r"\bready\.")
        yield Worker(running, postroom_alone, tmp_path)


async def test_forked_processes_publish_say_things_once_in_two_runs_and_what_waits_in_the_end(worker: Worker) -> None:
    """A second run's events are those of the first; what waits when the worker stops comes, too."""
    ann = await worker.postroom.client("ann")
    session = await ann.subscribe("session:42")
    task = worker.call("write_report", "session:42", 2)
    completed = await assert_event(session, "session", status="completed", within_s=WAIT_S)
    worker.repeat(task, "session:42", 2)
    await worker.program.says(rf"(?s){task}\S* succeeded.*{task}\S* succeeded")
    history = await ann.history("session:42")
    assert [event.id for event in history.events] == [f"{task}-{name}" for name in ("started", 1, 2, "completed")]
    assert history.events[-1].offset == completed.offset

    await worker.postroom.stop_router()
    said = worker.call("say", "session:42")
    await worker.program.says(rf"{said}\S* succeeded")
    worker.program.process.terminate()
    await worker.program.says("Warm shutdown")
    await worker.postroom.start_router()
    await assert_event(session, "session", status="started", within_s=WAIT_S)
    assert await worker.program.ends() == 0
