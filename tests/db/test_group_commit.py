"""Writers who come together are committed together, and fail alone."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from bot.db.commits import MOST_TOGETHER
from bot.db.tables import InstanceTable, JobPayloadTable
from tests.db.rows import on_both

pytestmark = on_both


@pytest.fixture
def commits(database):
    """Every COMMIT, as it happens."""
    found = []
    event.listen(database._engine.sync_engine, "commit", found.append)
    return found


def adding(key):
    async def unit(session):
        session.add(InstanceTable(key=key, value="x"))
        return key

    return unit


async def keys(database):
    async with database.reading() as session:
        return list(await session.scalars(text("SELECT key FROM instance ORDER BY key")))


async def test_those_who_wait_are_committed_at_once_and_told_what_they_wrote(database, commits):
    names = [f"key{number:03}" for number in range(MOST_TOGETHER + 20)]
    written = await asyncio.gather(*(database.write(adding(name)) for name in names))
    assert written == names
    assert await keys(database) == names
    assert len(commits) == 2, "as many as there are groups"


async def test_one_who_writes_alone_does_not_wait_for_others(database, commits):
    assert await database.write(adding("one")) == "one"
    assert await database.write(adding("two")) == "two"
    assert len(commits) == 2


async def test_a_unit_that_fails_leaves_no_trace_and_harms_nobody(database, commits):
    async def half_way(session):
        session.add(InstanceTable(key="half", value="x"))
        await session.flush()
        raise ValueError("stop")

    async def breaks_a_rule(session):
        session.add(InstanceTable(key="ruled out", value="x"))
        await session.flush()
        session.add(JobPayloadTable(job_id="nobody's", payload="{}"))

    units = [adding("a"), half_way, adding("b"), breaks_a_rule, adding("c")]
    outcomes = await asyncio.gather(*map(database.write, units), return_exceptions=True)
    assert [type(found) for found in outcomes] == [str, ValueError, str, IntegrityError, str]
    assert await keys(database) == ["a", "b", "c"]
    assert len(commits) == 3, "each by itself, after the group had failed"


async def test_units_see_what_those_before_them_wrote(database):
    async def count(session):
        found = await session.scalar(text("SELECT count(*) FROM instance"))
        session.add(InstanceTable(key=f"key{found}", value="x"))
        return found

    assert await asyncio.gather(*(database.write(count) for _ in range(5))) == [0, 1, 2, 3, 4]


async def test_what_fails_among_others_is_tried_by_itself(database):
    """A full disk makes SQLite end a whole transaction."""
    failures = iter([True])

    async def breaks(session):
        session.add(InstanceTable(key="broken once", value="x"))
        await session.flush()
        if next(failures, False):
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    units = [adding("a"), breaks, adding("b")]
    outcomes = await asyncio.gather(*map(database.write, units), return_exceptions=True)
    assert outcomes == ["a", None, "b"]
    assert await keys(database) == ["a", "b", "broken once"]


async def test_what_always_breaks_fails_alone(database):
    async def breaks(session):
        await session.execute(text("SELECT * FROM nowhere"))

    units = [adding("a"), breaks, adding("b")]
    outcomes = await asyncio.gather(*map(database.write, units), return_exceptions=True)
    assert [outcomes[0], outcomes[2]] == ["a", "b"]
    assert "nowhere" in str(outcomes[1])
    assert await keys(database) == ["a", "b"]


async def test_a_commit_that_fails_is_everybodys(database):
    def refuse(connection):
        raise OSError("disk I/O error")

    event.listen(database._engine.sync_engine, "commit", refuse)
    units = [adding("a"), adding("b")]
    outcomes = await asyncio.gather(*map(database.write, units), return_exceptions=True)
    assert [str(found) for found in outcomes] == ["disk I/O error"] * 2
    event.remove(database._engine.sync_engine, "commit", refuse)
    assert await keys(database) == []
    assert await database.write(adding("a")) == "a"


async def test_a_writer_who_is_gone_holds_up_nobody(database):
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(session):
        begun.set()
        await goes_on.wait()
        session.add(InstanceTable(key="slow", value="x"))

    writing = asyncio.create_task(database.write(slow))
    await begun.wait()
    waiting = [asyncio.create_task(database.write(adding(name))) for name in "ab"]
    await asyncio.sleep(0)
    writing.cancel()
    waiting[0].cancel()
    goes_on.set()
    outcomes = await asyncio.gather(writing, *waiting, return_exceptions=True)
    assert [type(found) for found in outcomes[:2]] == [asyncio.CancelledError] * 2
    assert outcomes[2] == "b"
    assert await keys(database) == ["b", "slow"], "what had begun is committed all the same"


async def test_closing_waits_for_what_is_to_be_committed(database, url):
    writing = [asyncio.create_task(database.write(adding(name))) for name in "abc"]
    await asyncio.sleep(0)
    await database.close()
    assert [task.result() for task in writing] == ["a", "b", "c"]
    await database.open()
    assert await keys(database) == ["a", "b", "c"]
