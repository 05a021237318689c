"""A database as in production: a file, and for tests ``on_both`` also one of PostgreSQL."""

from __future__ import annotations

import pytest

from bot.db.jobs import JobRepository
from bot.db.journal import JobJournal
from bot.db.session import Database


@pytest.fixture
def url(request, tmp_path):
    """A database of one's own: SQLite's, or what ``on_both`` says."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'sextant.db'}"
    return request.getfixturevalue("postgres").emptied()


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
