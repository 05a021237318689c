"""What tests of the database write and read."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from bot.db.tables import JobTable
from bot.engine.job import Job, JobState, Outcome, new_job_id
from models.contracts import TextResult, Usage
from tests.fakes import submission

on_both = pytest.mark.parametrize(
    "url",
    ["sqlite", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))],
    indirect=True,
)
"""Has a test run on SQLite and on PostgreSQL."""


async def a_job(journal, request="secret prompt", model="fake-text", **who) -> Job:
    return await journal.create(Job(new_job_id(), submission(request, model, **who)))


def done(tokens: float = 7) -> Outcome:
    return Outcome(JobState.DONE, TextResult("fine", Usage(tokens, "tokens")))


async def end(journal, job, outcome=None, *, seconds: float = 2.0, parts=("part",)) -> None:
    """End a job after so many seconds of work and one of loading."""
    job.started_at = job.created_at + 1
    job.load_s = 1.0
    job.finished_at = job.started_at + job.load_s + seconds
    await journal.finished(job, outcome or done(), parts)


async def count(database, table) -> int:
    async with database.reading() as session:
        return await session.scalar(select(func.count()).select_from(table))


async def row_of(database, job) -> JobTable:
    async with database.reading() as session:
        return await session.get(JobTable, job.id)
