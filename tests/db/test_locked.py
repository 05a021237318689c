"""A database of SQLite that another program has locked, as a backup may."""

from __future__ import annotations

import asyncio

import pytest

from bot.db.journal import JobJournal
from bot.db.session import Database
from bot.engine.job import JobState
from bot.engine.journal import JournalUnavailable
from tests.db.locking import locked
from tests.db.rows import a_job, row_of
from tests.engine.conftest import until
from tests.fakes import fake_engine, outcome_of, submission
from tests.scripted import Stage


async def test_a_database_that_is_locked_for_a_while_loses_no_job(
    journal, jobs, database, tmp_path
):
    stage = Stage(tmp_path / "spool")
    engine = fake_engine(stage.start_worker, tmp_path / "spool", journal=journal)
    await engine.start()
    running = await engine.submit(submission("!sleep 0.5\nfirst"))
    while (await row_of(database, running)).state != "running":
        await asyncio.sleep(0.01)
    with locked(tmp_path / "sextant.db"):
        submitting = asyncio.create_task(engine.submit(submission("second")))
        await until(lambda: running.state is JobState.DONE)  # its end waits to be written down
        await asyncio.sleep(0.3)
        assert not submitting.done()
    assert (await outcome_of(engine, running)).result.text == "first"
    assert (await outcome_of(engine, await submitting)).result.text == "second"
    await engine.close()
    assert await journal.unfinished() == []
    assert {row.state for row in await jobs.of_member(1)} == {"done"}


async def test_a_locked_journal_is_told_in_the_engines_words(url, tmp_path, monkeypatch):
    monkeypatch.setattr("bot.db.session.BUSY_TIMEOUT_MS", 50)
    database = Database(url)
    await database.open()
    journal = JobJournal(database)
    job = await a_job(journal)
    with locked(tmp_path / "sextant.db"), pytest.raises(JournalUnavailable, match="locked"):
        await journal.requeued(job)
    await journal.requeued(job)
    await database.close()
