"""A database of SQLite that another program has locked, as a backup may."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest

from bot.db.journal import JobJournal
from bot.db.session import Database
from bot.engine.journal import JournalUnavailable
from tests.db.rows import a_job
from tests.db.test_session import lock_for
from tests.fakes import fake_engine, outcome_of, submission
from tests.scripted import Stage


async def test_a_database_locked_for_ten_seconds_loses_no_job(journal, jobs, tmp_path):
    stage = Stage(tmp_path / "spool")
    engine = fake_engine(stage.start_worker, tmp_path / "spool", journal=journal)
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
    assert await journal.unfinished() == []
    assert {row.state for row in await jobs.of_member(1)} == {"done"}


async def test_a_locked_journal_is_told_in_the_engines_words(url, tmp_path, monkeypatch):
    monkeypatch.setattr("bot.db.session.BUSY_TIMEOUT_MS", 50)
    database = Database(url)
    await database.open()
    journal = JobJournal(database)
    job = await a_job(journal)
    other = sqlite3.connect(tmp_path / "sextant.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable, match="locked"):
        await journal.requeued(job)
    other.close()
    await journal.requeued(job)
    await database.close()
