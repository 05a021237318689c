"""Opening the database: its lock, its settings, its transactions, its migrations."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from bot.db.session import (
    Database,
    DatabaseUnavailable,
    InstanceRunning,
    migration_config,
    newest_revision,
    schema_differences,
    upgrade,
)
from bot.db.tables import InstanceTable, JobPayloadTable, Table
from tests.db.locking import locked
from tests.db.rows import on_both


async def test_sqlite_is_set_for_safety(database):
    async with database.session() as session:
        found = {
            name: await session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 15_000,
    }


@on_both
async def test_a_session_commits_or_rolls_back(database):
    async with database.session() as session:
        session.add(InstanceTable(key="kept", value="1"))

    async def fail_half_way():
        async with database.session() as session:
            session.add(InstanceTable(key="lost", value="1"))
            await session.flush()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        await fail_half_way()
    async with database.reading() as session:
        assert await session.get(InstanceTable, "kept")
        assert await session.get(InstanceTable, "lost") is None


@on_both
async def test_foreign_keys_hold(database):
    with pytest.raises(IntegrityError):
        async with database.session() as session:
            session.add(JobPayloadTable(job_id="nobody's", payload="{}"))


@on_both
async def test_many_writers_take_turns(database):
    async def add(number):
        async with database.session() as session:
            assert await session.get(InstanceTable, f"key{number}") is None
            session.add(InstanceTable(key=f"key{number}", value="x"))

    await asyncio.gather(*(add(number) for number in range(40)))
    async with database.reading() as session:
        assert await session.scalar(text("SELECT count(*) FROM instance")) == 40


async def test_a_writer_waits_for_a_locked_database_and_the_loop_goes_on(database, tmp_path):
    async def write():
        async with database.session() as session:
            session.add(InstanceTable(key="late", value="1"))

    async def read():
        async with database.reading() as session:
            return await session.scalar(text("SELECT count(*) FROM instance"))

    with locked(tmp_path / "sextant.db"):
        writing = asyncio.create_task(write())
        for _ in range(50):
            await asyncio.sleep(0.01)
        assert await read() == 0, "a reader waits for no writer"
        assert not writing.done()
    await writing
    assert await read() == 1


# --------------------------------------------------------------------------- the lock

SECOND = """
import asyncio, sys
from bot.db.session import Database, InstanceRunning

async def main():
    database = Database(sys.argv[1])
    try:
        await database.open()
    except InstanceRunning as error:
        sys.exit(str(error))
    await database.close()

asyncio.run(main())
"""


def second_instance(url):
    command = [sys.executable, "-c", SECOND, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_a_second_instance_refuses_clearly_until_the_first_is_gone(database, url):
    second = await asyncio.to_thread(second_instance, url)
    assert second.returncode == 1
    assert f"Another Sextant (process {os.getpid()}) already runs on" in second.stderr
    assert "Stop it first" in second.stderr
    await database.close()
    second = await asyncio.to_thread(second_instance, url)
    assert (second.returncode, second.stderr) == (0, "")


async def test_the_same_process_cannot_open_twice(database, url):
    with pytest.raises(InstanceRunning):
        await Database(url).open()


async def test_a_database_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        await Database(f"sqlite+aiosqlite:///{tmp_path}/file/sextant.db").open()


async def test_a_file_that_is_no_database_is_told_and_the_lock_given_back(tmp_path, url):
    file = tmp_path / "sextant.db"
    file.write_bytes(b"This is not a database at all." * 100)
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        await Database(url).open()
    file.unlink()
    database = Database(url)
    await database.open()
    await database.close()


# --------------------------------------------------------------------------- migrations


async def test_a_new_database_gets_the_newest_schema(database):
    assert await database.revision() == newest_revision()
    async with database.reading() as session:
        connection = await session.connection()
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert set(tables) == {*Table.metadata.tables, "alembic_version"}


def test_migrations_and_tables_agree(url):
    upgrade(make_url(url))
    schema_differences(make_url(url))


def test_migrations_are_numbered_in_one_line(url):
    scripts = ScriptDirectory.from_config(migration_config(make_url(url)))
    assert scripts.get_heads() == [newest_revision()]
    assert all(script.revision.isdigit() for script in scripts.walk_revisions())


def test_every_migration_can_be_undone_and_repeated(url):
    from alembic import command

    config = migration_config(make_url(url))
    command.upgrade(config, "head")
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    schema_differences(make_url(url))


@on_both
async def test_a_database_of_a_newer_program_is_refused(database, url):
    async with database.session() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(DatabaseUnavailable, match="newer Sextant"):
        await Database(url).open()


async def test_a_second_start_does_not_import_alembic(database, url):
    await database.close()
    script = SECOND + "\nassert 'alembic' not in sys.modules"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, url], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
