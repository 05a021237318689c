"""What was used of limits: written with the job that used it, and read as sums by minute."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import SQLAlchemyError

from bot.db.allowances import (
    AllowanceRepository,
    CountEnd,
    Subject,
    Used,
    count_start,
    slot_of,
    subjects_of,
)
from bot.db.journal import JobJournal
from bot.engine.job import Job, JobState, Outcome, Requester, new_job_id
from bot.engine.journal import JournalUnavailable
from models.errors import BackendError
from tests.db.rows import done, on_both
from tests.fakes import fake_catalog, submission

pytestmark = on_both

NOON = 1_800_000_000.0
MEMBER, CHANNEL, SERVER = subjects_of(Requester(1, 10, 100))


@pytest.fixture
def journal(database):
    return JobJournal(database, at_start=[count_start], at_end=[CountEnd(fake_catalog())])


@pytest.fixture
def allowances(database):
    return AllowanceRepository(database)


async def a_job(journal, at: float = NOON, **who) -> Job:
    return await journal.create(Job(new_job_id(), submission("x", **who), created_at=at))


async def end(journal, job, outcome=None, *, device_s: float = 0.0, after_s: float = 90.0) -> None:
    job.finished_at, job.device_s = job.created_at + after_s, device_s
    await journal.finished(job, outcome or done(), [])


async def test_a_job_counts_for_its_member_its_channel_and_its_server(journal, allowances):
    await end(journal, await a_job(journal), device_s=1.25)
    await end(journal, await a_job(journal, user=2), device_s=2)
    noon = slot_of(NOON)
    assert await allowances.since(0) == {
        MEMBER: {noon: Used(jobs=1), noon + 1: Used(device_ms=1250)},
        Subject("member", 10, 2): {noon: Used(jobs=1), noon + 1: Used(device_ms=2000)},
        CHANNEL: {noon: Used(jobs=2), noon + 1: Used(device_ms=3250)},
        SERVER: {noon: Used(jobs=2), noon + 1: Used(device_ms=3250)},
    }
    assert (await allowances.since(noon + 1))[MEMBER] == {noon + 1: Used(device_ms=1250)}


async def test_a_failure_is_given_back_where_it_was_counted(journal, allowances):
    failed = Outcome(JobState.FAILED, error=BackendError())
    await end(journal, await a_job(journal), failed, device_s=50, after_s=900)
    assert (await allowances.since(0))[MEMBER] == {slot_of(NOON): Used()}


async def test_a_request_that_comes_twice_or_ends_twice_counts_once(journal, allowances):
    job = await a_job(journal, key="message:1")
    assert (await a_job(journal, key="message:1")).id == job.id
    await end(journal, job, device_s=1)
    await end(journal, job, device_s=1)
    assert (await allowances.since(0))[MEMBER] == {
        slot_of(NOON): Used(jobs=1),
        slot_of(NOON) + 1: Used(device_ms=1000),
    }


async def test_a_job_that_cannot_be_written_down_is_not_counted(database, allowances):
    async def fail(session, job):
        raise SQLAlchemyError("disk I/O error")

    journal = JobJournal(database, at_start=[count_start, fail])
    with pytest.raises(JournalUnavailable):
        await a_job(journal)
    assert await allowances.since(0) == {}
    assert await journal.unfinished() == []


async def test_other_minutes_are_deleted(journal, allowances):
    for minute in range(4):
        await a_job(journal, NOON + 60 * minute)
    noon = slot_of(NOON)
    await allowances.keep(range(noon + 1, noon + 3))
    assert set((await allowances.since(0))[SERVER]) == {noon + 1, noon + 2}
