"""What jobs cost is written down with their end, and stays when they go."""

from __future__ import annotations

import calendar

import pytest
from sqlalchemy import make_url, text

from bot.db.jobs import JobRepository
from bot.db.journal import JobJournal
from bot.db.session import Database, make_engine, migration_config
from bot.db.spending import Cost, SpendingRepository, add_spending, month_of
from bot.engine.job import Job, JobState, Outcome, new_job_id
from models.errors import JobCancelled
from tests.db.rows import done, on_both, row_of
from tests.fakes import submission

NOVEMBER = calendar.timegm((2026, 11, 30, 23, 59, 59))
CANCELLED = Outcome(JobState.CANCELLED, error=JobCancelled())


@pytest.fixture
def journal(database):
    return JobJournal(database, at_end=[add_spending])


@pytest.fixture
def spending(database):
    return SpendingRepository(database)


async def ended(journal, micro_usd, outcome=None, *, at: float = NOVEMBER, **who) -> Job:
    job = await journal.create(Job(new_job_id(), submission("x", **who)))
    job.micro_usd, job.finished_at = micro_usd, at
    await journal.finished(job, outcome or done(), [])
    return job


@on_both
async def test_every_end_adds_to_its_server_and_month(journal, spending):
    await ended(journal, 2500)
    await ended(journal, 3, CANCELLED)
    await ended(journal, None)
    await ended(journal, 0)
    await ended(journal, 70, guild=20)
    await ended(journal, 900, at=NOVEMBER + 1)
    assert await spending.of_month("2026-11") == {10: Cost(2503, 1), 20: Cost(70)}
    assert await spending.of_month("2026-12") == {10: Cost(900)}


@on_both
async def test_large_sums_are_exact(journal, jobs, spending):
    for _ in range(3):
        await ended(journal, 2**53 + 1)
    assert await spending.of_month("2026-11") == {10: Cost(3 * 2**53 + 3)}
    assert (await jobs.cost(1, 0, ["fake-text"])).micro_usd == 3 * 2**53 + 3


@on_both
async def test_the_end_that_is_told_twice_counts_once(journal, spending):
    job = await ended(journal, 2500)
    await journal.finished(job, done(), [])
    assert await spending.of_month("2026-11") == {10: Cost(2500)}


@on_both
async def test_a_sum_outlives_its_jobs(journal, jobs, spending):
    await ended(journal, 2500)
    assert await jobs.delete_member(1) == 1
    assert await spending.of_month("2026-11") == {10: Cost(2500)}


@on_both
async def test_what_a_member_spent(journal, jobs):
    await ended(journal, 2500)
    await ended(journal, None)
    await ended(journal, 10, at=NOVEMBER - 1000)
    await ended(journal, 40, user=2)
    await ended(journal, None, model_id="local")
    assert await jobs.cost(1, NOVEMBER, ["fake-text"]) == Cost(2500, 1)
    assert await jobs.cost(1, NOVEMBER + 1, ["fake-text"]) == Cost()


@on_both
async def test_what_lost_attempts_cost_outlives_the_bot(journal):
    job = await journal.create(Job(new_job_id(), submission("x")))
    job.charge(800)
    await journal.requeued(job)
    (again,) = await journal.unfinished()
    assert again.micro_usd == 800


def test_a_month_ends_by_utc():
    assert (month_of(NOVEMBER), month_of(NOVEMBER + 1)) == ("2026-11", "2026-12")


OLD_JOB = """
INSERT INTO jobs (id, source_key, user_id, guild_id, channel_id, modality, model_id, state,
                  attempt, created_at, load_s)
VALUES ('old0000000000000', 'message:1', 1, 10, 100, 'text', 'fake-text', 'done', 1, 5.0, 0.0)
"""


async def test_what_an_older_program_wrote_stays_and_has_an_unknown_cost(url):
    from alembic import command

    await _in_thread(command.upgrade, migration_config(make_url(url)), "0001")
    engine = make_engine(make_url(url))
    async with engine.begin() as connection:
        await connection.execute(text(OLD_JOB))
    await engine.dispose()
    database = Database(url)
    await database.open()
    (row,) = await JobRepository(database).of_member(1)
    assert (row.id, row.state, row.micro_usd) == ("old0000000000000", "done", None)
    found = await row_of(database, row)
    assert (found.source_key, found.work, found.device_s, found.lane) == (
        "message:1",
        None,
        0,
        None,
    )
    await database.close()


async def _in_thread(call, *arguments):
    """Alembic runs an event loop of its own."""
    import asyncio

    await asyncio.to_thread(call, *arguments)
