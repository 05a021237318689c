"""PostgreSQL: its schema, the lock that keeps a second bot away, and a server that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from bot.db import locks, session
from bot.db.journal import JobJournal
from bot.db.session import (
    Database,
    DatabaseUnavailable,
    InstanceLost,
    InstanceRunning,
    migration_config,
    schema_differences,
    upgrade,
)
from bot.engine.journal import JournalUnavailable
from tests.db.rows import a_job
from tests.ports import free_port
from tests.postgres import Server, data_of_a_server, programs, running

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.emptied()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.open()
    yield database
    await database.close()


async def until(what: Any) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(30):
        while not await what():
            await asyncio.sleep(0.02)


async def lose_lock(database: Database) -> None:
    """Have the server end the connection that holds the lock, as a broken line does."""
    async with database._engine.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )


def test_migrations_and_tables_agree_and_can_be_undone(postgres: Server) -> None:
    from alembic import command

    url = make_url(postgres.empty())
    upgrade(url)
    schema_differences(url)
    command.downgrade(migration_config(url), "base")
    upgrade(url)
    schema_differences(url)


async def test_an_empty_database_is_brought_up_to_date(postgres: Server) -> None:
    database = Database(postgres.empty())
    await database.open()
    await a_job(JobJournal(database))
    await database.close()


# --------------------------------------------------------------------------- the lock


async def test_one_instance_holds_the_lock_until_it_is_closed(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "TAKE_OVER_S", 0.3)
    with pytest.raises(InstanceRunning, match="already runs"):
        await Database(url).open()
    await database.close()
    for _ in range(2):  # the lock goes with the instance, not with the rubbish
        again = Database(url)
        await again.open()
        await again.close()


async def test_a_start_waits_until_the_server_has_noticed_that_the_last_bot_is_gone(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "TAKE_OVER_S", 30.0)
    again = Database(url)
    opening = asyncio.create_task(again.open())
    done, _ = await asyncio.wait({opening}, timeout=0.5)
    assert not done
    await database.close()
    await opening
    await again.close()


async def test_a_lock_that_is_lost_is_taken_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "WATCH_S", 0.1)
    database = Database(url)
    await database.open()
    before = await _holder(database)
    await lose_lock(database)

    async def taken_again() -> bool:
        return await _holder(database) not in (0, before)

    await until(taken_again)
    await until(lambda: _works(database))
    await database.close()


async def test_nothing_is_read_or_written_while_another_bot_has_the_database(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, other = Database(url), Database(url)
    await database.open()
    assert database._watching
    database._watching.cancel()  # so that the other comes first
    await lose_lock(database)
    await other.open()
    monkeypatch.setattr(session, "WATCH_S", 0.1)
    monkeypatch.setattr(locks, "TAKE_OVER_S", 0.0)
    database._watching = asyncio.create_task(database._watch_lock())

    async def lost() -> bool:
        return not await _works(database)

    await until(lost)
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    with pytest.raises(JournalUnavailable, match="lock"):
        await a_job(JobJournal(database))
    with pytest.raises(InstanceLost):
        async with database.session():
            pass
    await a_job(JobJournal(other))
    await other.close()
    await until(lambda: _works(database))
    assert len(await JobJournal(database).unfinished()) == 1
    await database.close()


async def _works(database: Database) -> bool:
    try:
        async with database.reading() as reading:
            await reading.execute(text("SELECT 1"))
    except InstanceLost:
        return False
    return True


async def _holder(database: Database) -> int:
    """Return the server's process that holds the lock, 0 for none."""
    query = (
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    async with database._engine.connect() as connection:
        return int(await connection.scalar(text(query)) or 0)


# --------------------------------------------------------------------------- a server that goes


@pytest.fixture
def data() -> Iterator[Path]:
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed here")
    with data_of_a_server(folder) as found:
        yield found


async def test_a_server_that_is_started_again_is_used_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "WATCH_S", 0.1)
    folder, port = programs(), free_port()
    assert folder
    with running(folder, data, port) as server:
        database = Database(server.empty())
        await database.open()
        journal = JobJournal(database)
        job = await a_job(journal)
    with pytest.raises(JournalUnavailable):
        await journal.requeued(job)
    with running(folder, data, port):

        async def works() -> bool:
            try:
                await journal.requeued(job)
                return [found.id for found in await journal.unfinished()] == [job.id]
            except JournalUnavailable:
                return False

        await until(works)
        await database.close()
