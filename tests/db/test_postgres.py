"""The same on PostgreSQL: its schema, its lock, and what is written in a dialect of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import make_url

from bot.db.allowances import (
    AllowanceRepository,
    CountEnd,
    Used,
    count_start,
    slot_of,
    subjects_of,
)
from bot.db.jobs import JobRepository
from bot.db.journal import JobJournal
from bot.db.session import Database, InstanceRunning, migration_config, schema_differences, upgrade
from bot.engine.job import Job, new_job_id
from tests.db.rows import done
from tests.fakes import fake_catalog, submission
from tests.postgres import create_database, programs, server

NOON = 1_800_000_000.0
FOLDER = programs()

pytestmark = pytest.mark.skipif(FOLDER is None, reason="PostgreSQL is not installed here")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    assert FOLDER is not None
    with server(FOLDER) as found:
        yield found


@pytest.fixture
def url(address: str, request: pytest.FixtureRequest) -> str:
    assert FOLDER is not None
    return create_database(FOLDER, address, request.node.name.lower()[:60])


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.open()
    yield database
    await database.close()


def test_migrations_and_tables_agree_and_can_be_undone(url: str) -> None:
    from alembic import command

    upgrade(make_url(url))
    schema_differences(make_url(url))
    command.downgrade(migration_config(make_url(url)), "base")
    upgrade(make_url(url))
    schema_differences(make_url(url))


async def test_one_instance_holds_the_lock_until_it_is_closed(url: str, database: Database) -> None:
    with pytest.raises(InstanceRunning, match="already runs"):
        await Database(url).open()
    await database.close()
    for _ in range(2):  # the lock goes with the instance, not with the rubbish
        again = Database(url)
        await again.open()
        await again.close()


async def test_what_is_used_of_limits_adds_up(database: Database) -> None:
    journal = JobJournal(database, at_start=[count_start], at_end=[CountEnd(fake_catalog())])
    for key in ("message:1", "message:1", "message:2"):
        job = Job(new_job_id(), submission("x", key=key), created_at=NOON, device_s=1.5)
        if (await journal.create(job)).id == job.id:
            job.finished_at = NOON
            await journal.finished(job, done(), ["part"])
    found = await AllowanceRepository(database).since(0)
    used = {slot_of(NOON): Used(jobs=2, device_ms=3000)}
    assert found == dict.fromkeys(subjects_of(job.submission.requester), used)
    assert [row.state for row in await JobRepository(database).of_member(1)] == ["done"] * 2
