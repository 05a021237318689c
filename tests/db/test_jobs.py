"""The journal and the usage log, on a real file."""

from __future__ import annotations

import json
import sqlite3
import threading
import time

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from bot.db.jobs import JobRepository, JobRow, UsageFigures
from bot.db.session import Database
from bot.db.tables import JobPayloadTable, JobTable, OutboxTable, RecipeTable
from bot.engine.job import Job, JobState, Outcome, new_job_id
from bot.engine.journal import JournalUnavailable
from models.contracts import (
    MediaInput,
    Segment,
    SpeechRequest,
    TextResult,
    TranscriptionRequest,
    TranscriptionResult,
    Usage,
)
from models.errors import BackendError
from tests.db.test_session import lock_for
from tests.fakes import fake_engine, outcome_of, submission
from tests.scripted import Stage


async def a_job(jobs, request="secret prompt", model="fake-text", **who) -> Job:
    return await jobs.create(Job(new_job_id(), submission(request, model, **who)))


def done(tokens: float = 7) -> Outcome:
    return Outcome(JobState.DONE, TextResult("fine", Usage(tokens, "tokens")))


async def end(jobs, job, outcome=None, *, seconds: float = 2.0, parts=("part",)) -> None:
    """End a job after so many seconds of work and one of loading."""
    job.started_at = job.created_at + 1
    job.load_s = 1.0
    job.finished_at = job.started_at + job.load_s + seconds
    await jobs.finished(job, outcome or done(), parts)


async def count(database, table) -> int:
    async with database.reading() as session:
        return await session.scalar(select(func.count()).select_from(table))


async def row_of(database, job) -> JobTable:
    async with database.reading() as session:
        return await session.get(JobTable, job.id)


# --------------------------------------------------------------------------- the journal


async def test_a_job_comes_back_as_it_was_submitted(jobs):
    media = MediaInput("ab" * 16, "talk.ogg", "audio/ogg", 100, "0" * 64)
    asked = submission(TranscriptionRequest(media, word_timestamps=True), "fake-transcription")
    job = await jobs.create(Job(new_job_id(), asked))
    (found,) = await jobs.unfinished()
    assert found == job
    assert found.submission.request == asked.request


async def test_the_same_source_key_gives_the_earlier_job(jobs, database):
    first = await a_job(jobs, key="message:1")
    second = await a_job(jobs, key="message:1")
    assert second.id == first.id
    await end(jobs, first)
    third = await a_job(jobs, key="message:1")
    assert (third.id, third.state) == (first.id, JobState.DONE)
    assert await count(database, JobTable) == 1


async def test_the_usage_log_holds_no_text(jobs, database, tmp_path):
    job = await a_job(jobs)
    await end(jobs, job)
    assert await count(database, JobPayloadTable) == 0
    row = await row_of(database, job)
    stored = json.dumps({column.name: getattr(row, column.name) for column in JobTable.__table__.c})
    assert "secret" not in stored


async def test_states_are_written_as_they_change(jobs, database):
    job = await a_job(jobs)
    assert (await row_of(database, job)).state == "queued"
    job.state, job.attempt, job.started_at = JobState.RUNNING, 1, 5.0
    await jobs.started(job)
    row = await row_of(database, job)
    assert (row.state, row.attempt, row.started_at) == ("running", 1, 5.0)
    job.state = JobState.QUEUED
    await jobs.requeued(job)
    (found,) = await jobs.unfinished()
    assert (found.state, found.attempt) == (JobState.QUEUED, 1)


async def test_what_a_job_takes_of_the_machine_is_kept(jobs, database):
    job = await jobs.create(Job(new_job_id(), submission("x"), work=12.5))
    row = await row_of(database, job)
    assert (row.work, row.device_s, row.lane) == (12.5, 0.0, None)
    job.state, job.lane, job.device_s = JobState.RUNNING, "cpu-0", 1.5
    await jobs.started(job)
    await jobs.requeued(job)
    (found,) = await jobs.unfinished()
    assert (found.work, found.device_s, found.lane) == (12.5, 1.5, "cpu-0")
    job.device_s = 4.0
    await end(jobs, job)
    row = await row_of(database, job)
    assert (row.work, row.device_s, row.lane) == (12.5, 4.0, "cpu-0")


async def test_what_the_last_jobs_took_is_remembered(jobs):
    for number in range(55):
        job = await a_job(jobs)
        job.work, job.device_s = 10.0 + number, 1.5
        await end(jobs, job)
    other = await a_job(jobs, model="other")
    other.work, other.device_s = 3.0, 5.0
    await end(jobs, other)
    failed = await a_job(jobs, model="broken")
    failed.work, failed.device_s = 3.0, 5.0
    await end(jobs, failed, Outcome(JobState.FAILED, error=BackendError()))
    await end(jobs, await a_job(jobs, model="never measured"))
    found = await jobs.measured()
    by_model = {one.model_id: one for one in found}
    assert set(by_model) == {"fake-text", "other"}
    assert [one.work for one in found if one.model_id == "fake-text"] == [*range(15, 65)]
    last = by_model["fake-text"]
    assert (last.modality, last.units, last.load_s) == ("text", 7, 1.0)
    assert (last.run_s, last.device_s) == (pytest.approx(2.0), 1.5)
    assert by_model["other"].run_s == 5.0, "no less than what it took of its lane"


async def test_the_end_and_its_parts_are_one_transaction(jobs, database):
    job = await a_job(jobs)
    await end(jobs, job, parts=["first", "second"])
    row = await row_of(database, job)
    assert (row.state, row.units, row.unit, row.error_kind) == ("done", 7, "tokens", None)
    async with database.reading() as session:
        parts = list(await session.scalars(select(OutboxTable).order_by(OutboxTable.position)))
    assert [(part.position, part.payload, part.state) for part in parts] == [
        (0, "first", "pending"),
        (1, "second", "pending"),
    ]
    assert json.loads(parts[0].anchor)["message_id"] == job.submission.anchor.message_id


async def test_parts_that_cannot_be_written_leave_the_job_unfinished(jobs, database):
    job = await a_job(jobs)
    with pytest.raises(JournalUnavailable):
        await end(jobs, job, parts=["good", None])
    assert (await row_of(database, job)).state == "queued"
    assert await count(database, OutboxTable) == 0
    assert len(await jobs.unfinished()) == 1


async def test_what_cannot_be_written_beside_an_end_leaves_the_job_unfinished(database):
    async def fail(session, job, outcome):
        raise SQLAlchemyError("disk I/O error")

    jobs = JobRepository(database, at_end=[fail])
    job = await a_job(jobs)
    with pytest.raises(JournalUnavailable):
        await end(jobs, job)
    assert (await row_of(database, job)).state == "queued"
    assert await count(database, OutboxTable) == 0


async def test_an_end_is_noted_once(jobs, database):
    job = await a_job(jobs)
    await end(jobs, job)
    await end(jobs, job, Outcome(JobState.FAILED, error=BackendError()))
    assert (await row_of(database, job)).state == "done"
    assert await count(database, OutboxTable) == 1


async def test_a_failure_keeps_its_kind(jobs, database):
    job = await a_job(jobs)
    await end(jobs, job, Outcome(JobState.FAILED, error=BackendError()))
    row = await row_of(database, job)
    assert (row.state, row.error_kind, row.units) == ("failed", "backend_error", None)


async def test_unfinished_jobs_come_in_order_and_unreadable_ones_are_closed(jobs, database):
    expected = []
    for number in (3, 1, 2):
        job = Job(f"job{number}", submission("x"), created_at=float(number))
        expected.append(await jobs.create(job))
    broken = await a_job(jobs)
    async with database.session() as session:
        (await session.get(JobPayloadTable, broken.id)).payload = '{"request": {"version": 99}}'
    assert [job.id for job in await jobs.unfinished()] == ["job1", "job2", "job3"]
    row = await row_of(database, broken)
    assert (row.state, row.error_kind) == ("failed", "unreadable")


async def test_the_end_of_a_job_whose_member_was_deleted_is_nothing(jobs, database):
    job = await a_job(jobs)
    await jobs.delete_member(job.submission.requester.user_id)
    await end(jobs, job)
    assert await count(database, OutboxTable) == 0


async def test_media_in_use_are_found_wherever_they_are(jobs, database):
    paths = [digit * 32 for digit in "abcd"]
    media = MediaInput(paths[0], "a.ogg", "audio/ogg", 1, "0" * 64)
    await a_job(jobs, TranscriptionRequest(media), "fake-transcription")
    ended = await a_job(jobs)
    await end(jobs, ended, parts=[json.dumps({"spool_path": paths[1]})])
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
    assert await jobs.media_in_use() == set(paths[:3])


# --------------------------------------------------------------------------- figures


async def test_a_member_sees_their_own_figures_by_modality(jobs):
    for tokens in (10, 20):
        await end(jobs, await a_job(jobs, user=1), done(tokens), seconds=3.0)
    await end(jobs, await a_job(jobs, user=1), Outcome(JobState.FAILED, error=BackendError()))
    heard = TranscriptionResult((Segment(0, 1, "hi"),), "en", 60.0, Usage(60.0, "seconds"))
    spoken = await a_job(jobs, SpeechRequest("hello"), "fake-speech", user=1)
    await end(jobs, spoken, Outcome(JobState.DONE, heard))
    await end(jobs, await a_job(jobs, user=2), done(1000))
    await a_job(jobs, user=1)  # still waits
    assert await jobs.usage(1, since=0.0) == [
        UsageFigures("speech", "seconds", 1, 60.0, pytest.approx(2.0)),
        UsageFigures("text", "tokens", 3, 30.0, pytest.approx(8.0)),
    ]
    assert await jobs.usage(1, since=time.time() + 10) == []


async def test_a_job_cancelled_while_it_waited_cost_no_time(jobs):
    job = await a_job(jobs, user=1)
    job.finished_at = job.created_at + 100
    await jobs.finished(job, Outcome(JobState.CANCELLED), ())
    assert await jobs.usage(1, since=0.0) == [UsageFigures("text", None, 1, 0.0, 0.0)]


async def test_a_member_can_export_and_delete_what_is_theirs(jobs, database):
    mine, other = await a_job(jobs, user=1), await a_job(jobs, user=2)
    await end(jobs, mine)
    (row,) = await jobs.of_member(1)
    assert isinstance(row, JobRow)
    assert (row.id, row.state, row.units) == (mine.id, "done", 7)
    assert await jobs.delete_member(1) == 1
    assert await jobs.of_member(1) == []
    assert await count(database, OutboxTable) == 0
    assert [job.id for job in await jobs.unfinished()] == [other.id]


async def test_old_jobs_go_and_unfinished_ones_stay(jobs, database):
    old, new = await a_job(jobs), await a_job(jobs)
    await a_job(jobs)
    await end(jobs, old)
    await end(jobs, new, seconds=1000.0)
    assert await jobs.delete_before(new.finished_at) == 1
    assert await count(database, JobTable) == 2


# --------------------------------------------------------------------------- with the engine


@pytest.mark.slow
async def test_a_database_locked_for_ten_seconds_loses_no_job(jobs, tmp_path):
    stage = Stage(tmp_path / "spool")
    engine = fake_engine(stage.start_worker, tmp_path / "spool", journal=jobs)
    await engine.start()
    running = await engine.submit(submission("!sleep 0.2\nfirst"))
    locked = threading.Event()
    arguments = (tmp_path / "sextant.db", 10.0, locked)
    other = threading.Thread(target=lock_for, args=arguments)
    other.start()
    locked.wait()
    began = time.monotonic()
    late = await engine.submit(submission("second"))
    assert time.monotonic() - began > 8, "the lock held the submission up"
    assert (await outcome_of(engine, running)).result.text == "first"
    assert (await outcome_of(engine, late)).result.text == "second"
    other.join()
    await engine.close()
    assert await jobs.unfinished() == []
    assert {row.state for row in await jobs.of_member(1)} == {"done"}


async def test_an_engine_goes_on_where_the_last_one_was_cut_off(jobs, tmp_path):
    stage = Stage(tmp_path / "spool")
    first = fake_engine(stage.start_worker, tmp_path / "spool", journal=jobs)
    await first.start()
    running = await first.submit(submission("!sleep 1\nx", key="message:1"))
    await first.submit(submission("waits"))
    await first.close()
    second = fake_engine(stage.start_worker, tmp_path / "spool", journal=jobs)
    await second.start()
    again = await second.submit(submission("!sleep 1\nx", key="message:1"))
    assert again.id == running.id
    assert await second.cancel(running.id)
    for job in second.jobs():
        await outcome_of(second, job)
    states = sorted(row.state for row in await jobs.of_member(1))
    assert states == ["cancelled", "done"]
    await second.close()


async def test_a_locked_journal_is_told_in_the_engines_words(url, tmp_path, monkeypatch):
    monkeypatch.setattr("bot.db.session.BUSY_TIMEOUT_MS", 50)
    database = Database(url)
    await database.open()
    jobs = JobRepository(database)
    job = await a_job(jobs)
    other = sqlite3.connect(tmp_path / "sextant.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable, match="locked"):
        await jobs.requeued(job)
    other.close()
    await jobs.requeued(job)
    await database.close()
