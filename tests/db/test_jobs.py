"""The usage log, on a real database."""

from __future__ import annotations

import time

import pytest

from bot.db.jobs import JobRow, UsageFigures
from bot.db.tables import JobTable, OutboxTable
from bot.engine.job import JobState, Outcome
from models.contracts import (
    Segment,
    SpeechRequest,
    TranscriptionResult,
    Usage,
)
from models.errors import BackendError
from tests.db.rows import a_job, count, done, end, on_both

pytestmark = on_both


async def test_a_member_sees_their_own_figures_by_modality(journal, jobs):
    for tokens in (10, 20):
        await end(journal, await a_job(journal, user=1), done(tokens), seconds=3.0)
    await end(journal, await a_job(journal, user=1), Outcome(JobState.FAILED, error=BackendError()))
    heard = TranscriptionResult((Segment(0, 1, "hi"),), "en", 60.0, Usage(60.0, "seconds"))
    spoken = await a_job(journal, SpeechRequest("hello"), "fake-speech", user=1)
    await end(journal, spoken, Outcome(JobState.DONE, heard))
    await end(journal, await a_job(journal, user=2), done(1000))
    await a_job(journal, user=1)  # still waits
    assert await jobs.usage(1, since=0.0) == [
        UsageFigures("speech", "seconds", 1, 60.0, pytest.approx(2.0)),
        UsageFigures("text", "tokens", 3, 30.0, pytest.approx(8.0)),
    ]
    assert await jobs.usage(1, since=time.time() + 10) == []


async def test_a_job_cancelled_while_it_waited_cost_no_time(journal, jobs):
    job = await a_job(journal, user=1)
    job.finished_at = job.created_at + 100
    await journal.finished(job, Outcome(JobState.CANCELLED), ())
    assert await jobs.usage(1, since=0.0) == [UsageFigures("text", None, 1, 0.0, 0.0)]


async def test_a_member_can_export_and_delete_what_is_theirs(journal, jobs, database):
    mine, other = await a_job(journal, user=1), await a_job(journal, user=2)
    await end(journal, mine)
    (row,) = await jobs.of_member(1)
    assert isinstance(row, JobRow)
    assert (row.id, row.state, row.units) == (mine.id, "done", 7)
    assert await jobs.delete_member(1) == 1
    assert await jobs.of_member(1) == []
    assert await count(database, OutboxTable) == 0
    assert [job.id for job in await journal.unfinished()] == [other.id]


async def test_old_jobs_go_and_unfinished_ones_stay(journal, jobs, database):
    old, new = await a_job(journal), await a_job(journal)
    await a_job(journal)
    await end(journal, old)
    await end(journal, new, seconds=1000.0)
    assert await jobs.delete_before(new.finished_at) == 1
    assert await count(database, JobTable) == 2
