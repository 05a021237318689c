"""What follows a job, on a real database: begun once, kept while it cannot be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot.db.jobs import JobRepository
from bot.db.journal import JobJournal
from bot.db.next_steps import NextStepRepository
from bot.db.session import Database
from bot.engine.job import Job, JobState, Outcome, new_job_id
from bot.engine.journal import JournalUnavailable
from bot.services.next_steps import NEXT, NextSteps, Step
from models.contracts import TextResult, Usage
from models.errors import BackendError
from tests.fakes import submission


class Steps:
    """Next steps of one run of the bot, and what they began."""

    def __init__(self, database: Database) -> None:
        self.begun: list[Step] = []
        self.fails: Exception | None = None
        self.ready = asyncio.Event()
        self.rows = NextStepRepository(database)
        self.service = NextSteps(self.rows)
        self.service.on("more", _text_of, self._begin)
        self.jobs = JobRepository(database)
        self.journal = JobJournal(database, at_end=[self.service.write])

    async def _begin(self, step: Step) -> None:
        self.begun.append(step)
        if self.fails:
            raise self.fails

    async def start(self) -> None:
        await self.service.start(self.ready.wait)  # type: ignore[arg-type]

    async def end(self, outcome: Outcome, step: str = "more") -> Job:
        """Have a job end that a step may follow."""
        asked = replace(submission("hello"), presentation={NEXT: step})
        job = await self.journal.create(Job(new_job_id(), asked))
        job.state, job.finished_at = outcome.state, job.created_at
        await self.journal.finished(job, outcome, [])
        await self.service.ended(job, outcome)
        await self.settled()
        return job

    async def settled(self) -> None:
        async with asyncio.timeout(60):
            while self.ready.is_set() and self.service._under_way:
                await asyncio.sleep(0.01)


def _text_of(outcome: Outcome) -> str | None:
    return outcome.result.text or None if isinstance(outcome.result, TextResult) else None


def done(text: str = "half") -> Outcome:
    return Outcome(JobState.DONE, TextResult(text, Usage(1, "tokens")))


@pytest.fixture
async def steps(database: Database) -> AsyncIterator[Steps]:
    steps = Steps(database)
    steps.ready.set()
    yield steps
    await steps.service.close()


async def test_a_step_is_begun_with_what_the_job_found_out(steps: Steps) -> None:
    await steps.start()
    job = await steps.end(done())
    assert steps.begun == [Step(job.submission, "half")]
    assert await steps.rows.owed() == []
    assert await steps.journal.unfinished() == []


@pytest.mark.parametrize("outcome", [done(""), Outcome(JobState.FAILED, error=BackendError())])
async def test_nothing_follows_where_none_is_due(steps: Steps, outcome: Outcome) -> None:
    await steps.start()
    await steps.end(outcome)
    assert steps.begun == []


async def test_what_a_former_run_owes_is_begun_first(database: Database, steps: Steps) -> None:
    former = Steps(database)
    first, second = await former.end(done("one")), await former.end(done("two"))
    assert await former.rows.owed() == [first.id, second.id]
    await steps.start()
    await steps.settled()
    assert [step.text for step in steps.begun] == ["one", "two"]
    assert await steps.rows.owed() == []


async def test_steps_wait_until_channels_are_known(steps: Steps) -> None:
    steps.ready.clear()
    await steps.start()
    await steps.end(done())
    assert steps.begun == []
    steps.ready.set()
    await steps.settled()
    assert len(steps.begun) == 1


async def test_after_the_end_nothing_is_begun_and_nothing_lost(steps: Steps) -> None:
    await steps.start()
    await steps.service.close()
    job = await steps.end(done())
    assert steps.begun == []
    assert await steps.rows.owed() == [job.id]


async def test_what_could_not_be_written_down_is_begun_in_the_next_run(
    steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    steps.fails = JournalUnavailable("locked")
    await steps.start()
    job = await steps.end(done())
    assert await steps.rows.owed() == [job.id]
    assert "waits for the next run: locked" in caplog.text


@pytest.mark.parametrize(("step", "fails"), [("more", ValueError("a bug")), ("unheard of", None)])
async def test_what_fails_is_not_begun_for_ever(
    database: Database,
    steps: Steps,
    step: str,
    fails: Exception | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = Steps(database)
    other.service.on("unheard of", _text_of, other._begin)
    await other.end(done(), step)
    steps.fails = fails
    await steps.start()
    await steps.settled()
    assert await steps.rows.owed() == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_members_data_takes_along_what_is_owed(steps: Steps) -> None:
    await steps.end(done())
    await steps.jobs.delete_member(1)
    assert await steps.rows.owed() == []
