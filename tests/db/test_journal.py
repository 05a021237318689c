"""The engine's journal, on a real database."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from bot.db.journal import JobJournal
from bot.db.outbox import OutboxRepository
from bot.db.tables import InstanceTable, JobPayloadTable, JobTable, OutboxTable, RecipeTable
from bot.engine.engine import MOST_DEATHS
from bot.engine.job import Job, JobState, Outcome, new_job_id
from bot.engine.journal import JournalUnavailable
from models.contracts import (
    MediaInput,
    TranscriptionRequest,
)
from models.errors import BackendError
from tests.db.rows import a_job, count, end, on_both, row_of
from tests.fakes import fake_engine, outcome_of, submission
from tests.scripted import Stage

pytestmark = on_both


async def test_a_job_comes_back_as_it_was_submitted(journal):
    media = MediaInput("ab" * 16, "talk.ogg", "audio/ogg", 100, "0" * 64)
    asked = submission(TranscriptionRequest(media, word_timestamps=True), "fake-transcription")
    job = await journal.create(Job(new_job_id(), asked))
    (found,) = await journal.unfinished()
    assert found == job
    assert found.submission.request == asked.request


async def test_the_same_source_key_gives_the_earlier_job(journal, database):
    first = await a_job(journal, key="message:1")
    second = await a_job(journal, key="message:1")
    assert second.id == first.id
    await end(journal, first)
    third = await a_job(journal, key="message:1")
    assert (third.id, third.state) == (first.id, JobState.DONE)
    assert await count(database, JobTable) == 1


async def test_the_usage_log_holds_no_text(journal, database, tmp_path):
    job = await a_job(journal)
    await end(journal, job)
    assert await count(database, JobPayloadTable) == 0
    row = await row_of(database, job)
    stored = json.dumps({column.name: getattr(row, column.name) for column in JobTable.__table__.c})
    assert "secret" not in stored


async def test_states_are_written_as_they_change(journal, database):
    job = await a_job(journal)
    assert (await row_of(database, job)).state == "queued"
    job.state, job.attempt, job.started_at = JobState.RUNNING, 1, 5.0
    await journal.started(job)
    row = await row_of(database, job)
    assert (row.state, row.attempt, row.started_at) == ("running", 1, 5.0)
    job.state = JobState.QUEUED
    await journal.requeued(job)
    (found,) = await journal.unfinished()
    assert (found.state, found.attempt) == (JobState.QUEUED, 1)


async def test_what_a_job_takes_of_the_machine_is_kept(journal, database):
    job = await journal.create(Job(new_job_id(), submission("x"), work=12.5))
    row = await row_of(database, job)
    assert (row.work, row.device_s, row.lane) == (12.5, 0.0, None)
    job.state, job.lane, job.device_s = JobState.RUNNING, "cpu-0", 1.5
    await journal.started(job)
    await journal.requeued(job)
    (found,) = await journal.unfinished()
    assert (found.work, found.device_s, found.lane) == (12.5, 1.5, "cpu-0")
    job.device_s = 4.0
    await end(journal, job)
    row = await row_of(database, job)
    assert (row.work, row.device_s, row.lane) == (12.5, 4.0, "cpu-0")


async def test_what_the_last_jobs_took_is_remembered(journal):
    for number in range(55):
        job = await a_job(journal)
        job.work, job.device_s = 10.0 + number, 1.5
        await end(journal, job)
    other = await a_job(journal, model="other")
    other.work, other.device_s = 3.0, 5.0
    await end(journal, other)
    failed = await a_job(journal, model="broken")
    failed.work, failed.device_s = 3.0, 5.0
    await end(journal, failed, Outcome(JobState.FAILED, error=BackendError()))
    await end(journal, await a_job(journal, model="never measured"))
    found = await journal.measured()
    by_model = {one.model_id: one for one in found}
    assert set(by_model) == {"fake-text", "other"}
    assert [one.work for one in found if one.model_id == "fake-text"] == [*range(15, 65)]
    last = by_model["fake-text"]
    assert (last.modality, last.units, last.load_s) == ("text", 7, 1.0)
    assert (last.run_s, last.device_s) == (pytest.approx(2.0), 1.5)
    assert by_model["other"].run_s == 5.0, "no less than what it took of its lane"


async def test_the_end_and_its_parts_are_one_transaction(journal, database):
    job = await a_job(journal)
    await end(journal, job, parts=["first", "second"])
    row = await row_of(database, job)
    assert (row.state, row.units, row.unit, row.error_kind) == ("done", 7, "tokens", None)
    async with database.reading() as session:
        parts = list(await session.scalars(select(OutboxTable).order_by(OutboxTable.position)))
    assert [(part.position, part.payload, part.state) for part in parts] == [
        (0, "first", "pending"),
        (1, "second", "pending"),
    ]
    assert json.loads(parts[0].anchor)["message_id"] == job.submission.anchor.message_id


async def test_parts_that_cannot_be_written_leave_the_job_unfinished(journal, database):
    job = await a_job(journal)
    with pytest.raises(JournalUnavailable):
        await end(journal, job, parts=["good", None])
    assert (await row_of(database, job)).state == "queued"
    assert await count(database, OutboxTable) == 0
    assert len(await journal.unfinished()) == 1


async def test_what_cannot_be_written_beside_an_end_leaves_the_job_unfinished(database):
    async def fail(session, job, outcome):
        raise SQLAlchemyError("disk I/O error")

    journal = JobJournal(database, at_end=[fail])
    job = await a_job(journal)
    with pytest.raises(JournalUnavailable):
        await end(journal, job)
    assert (await row_of(database, job)).state == "queued"
    assert await count(database, OutboxTable) == 0


async def test_an_end_is_noted_once(journal, database):
    job = await a_job(journal)
    await end(journal, job)
    await end(journal, job, Outcome(JobState.FAILED, error=BackendError()))
    assert (await row_of(database, job)).state == "done"
    assert await count(database, OutboxTable) == 1


async def test_a_failure_keeps_its_kind(journal, database):
    job = await a_job(journal)
    await end(journal, job, Outcome(JobState.FAILED, error=BackendError()))
    row = await row_of(database, job)
    assert (row.state, row.error_kind, row.units) == ("failed", "backend_error", None)


async def test_unfinished_jobs_come_in_order(journal):
    for number in (3, 1, 2):
        await journal.create(Job(f"job{number}", submission("x"), created_at=float(number)))
    assert [job.id for job in await journal.unfinished()] == ["job1", "job2", "job3"]


UNREADABLE = [
    pytest.param({"request": {"version": 99}}, True, id="a request of another version"),
    pytest.param({"requester": None, "presentation": "?"}, True, id="only its place"),
    pytest.param({"anchor": {"channel_id": "here"}}, False, id="not even its place"),
]


@pytest.mark.parametrize(("changes", "told"), UNREADABLE)
async def test_a_job_that_cannot_be_read_is_closed_and_its_member_told_once(
    database, changes, told
):
    journal = JobJournal(database, unreadable=["sorry"])
    broken, whole = await a_job(journal), await a_job(journal)
    async with database.session() as session:
        row = await session.get(JobPayloadTable, broken.id)
        row.payload = json.dumps(json.loads(row.payload) | changes)
    for _ in range(2):
        assert [job.id for job in await journal.unfinished()] == [whole.id]
    row = await row_of(database, broken)
    assert (row.state, row.error_kind) == ("failed", "unreadable")
    assert row.finished_at >= row.created_at, "or it is never deleted"
    assert await count(database, JobPayloadTable) == 1
    parts = await OutboxRepository(database).pending(broken.id)
    assert [part.payload for part in parts] == ["sorry"] * told
    assert [part.anchor for part in parts] == [broken.submission.anchor] * told


async def test_a_job_without_its_request_is_closed(database):
    journal = JobJournal(database, unreadable=["sorry"])
    job = await a_job(journal)
    async with database.session() as session:
        await session.delete(await session.get(JobPayloadTable, job.id))
    assert await journal.unfinished() == []
    assert (await row_of(database, job)).state == "failed"


async def test_deaths_of_the_bot_are_counted_for_what_ran(journal):
    running, waiting = await a_job(journal), await a_job(journal)
    for deaths in (0, 1, 2):
        found = {job.id: job for job in await journal.unfinished()}
        assert (found[running.id].deaths, found[waiting.id].deaths) == (deaths, 0)
        await journal.requeued(found[running.id])
        found[running.id].state = JobState.RUNNING
        await journal.started(found[running.id])
    await journal.closed()
    found = {job.id: job for job in await journal.unfinished()}
    assert found[running.id].deaths == 2, "the bot has ended in order"


async def test_a_death_in_the_middle_of_a_start_is_counted_once(journal):
    await journal.unfinished()
    job = await a_job(journal)
    job.state = JobState.RUNNING
    await journal.started(job)
    for _ in range(3):
        (found,) = await journal.unfinished()
        assert found.deaths == 1


async def test_the_end_of_a_job_whose_member_was_deleted_is_nothing(journal, jobs, database):
    job = await a_job(journal)
    await jobs.delete_member(job.submission.requester.user_id)
    await end(journal, job)
    assert await count(database, OutboxTable) == 0


async def test_media_in_use_are_found_wherever_they_are(journal, database):
    paths = [digit * 32 for digit in "abcd"]
    media = MediaInput(paths[0], "a.ogg", "audio/ogg", 1, "0" * 64)
    await a_job(journal, TranscriptionRequest(media), "fake-transcription")
    ended = await a_job(journal)
    await end(journal, ended, parts=[json.dumps({"spool_path": paths[1]})])
    recipe = {
        "id": "r",
        "user_id": 1,
        "guild_id": 1,
        "channel_id": 1,
        "conversation_id": 0,
        "model_id": "m",
    }
    stored = {"request": json.dumps({"path": paths[2]}), "presentation": "{}"}
    async with database.session() as session:
        session.add(RecipeTable(**recipe, **stored, created_at=1.0, expires_at=2.0))
    assert await journal.media_in_use() == set(paths[:3])


# --------------------------------------------------------------------------- with the engine


@pytest.mark.slow
async def test_an_engine_goes_on_where_the_last_one_was_cut_off(journal, jobs, tmp_path):
    stage = Stage(tmp_path / "spool")
    first = fake_engine(stage.start_worker, tmp_path / "spool", journal=journal)
    await first.start()
    long = submission("!delay 0.1\n!words 900", key="message:1")
    running = await first.submit(long)
    await first.submit(submission("waits"))
    await first.close()
    second = fake_engine(stage.start_worker, tmp_path / "spool", journal=journal)
    await second.start()
    again = await second.submit(long)
    assert again.id == running.id
    assert await second.cancel(running.id)
    for job in second.jobs():
        await outcome_of(second, job)
    states = sorted(row.state for row in await jobs.of_member(1))
    assert states == ["cancelled", "done"]
    await second.close()


async def test_a_job_that_takes_the_bot_down_for_ever_is_given_up(journal, database, tmp_path):
    stage = Stage(tmp_path / "spool")
    first = fake_engine(stage.start_worker, tmp_path / "spool", journal=journal)
    await first.start()
    job = await first.submit(submission("x"))
    await first.close()
    async with database.session() as session:
        row = await session.get(JobTable, job.id)
        row.state, row.deaths = JobState.RUNNING, MOST_DEATHS - 1
        session.add(InstanceTable(key="running", value="yes"))
    second = fake_engine(stage.start_worker, tmp_path / "spool", journal=journal)
    await second.start()
    outcome = await outcome_of(second, job)
    assert outcome.state is JobState.FAILED
    assert "I went down 3 times while this ran" in outcome.error.user_message
    await second.close()
    assert await count(database, InstanceTable) == 0, "closed in order"
