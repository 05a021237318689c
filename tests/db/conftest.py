"""A database in a file, as in production."""

from __future__ import annotations

import pytest

from bot.db.jobs import JobRepository
from bot.db.journal import JobJournal
from bot.db.session import Database


@pytest.fixture
def url(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path / 'sextant.db'}"


@pytest.fixture
async def database(url):
    database = Database(url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def jobs(database):
    return JobRepository(database)


@pytest.fixture
def journal(database):
    return JobJournal(database)
