import asyncio
import logging
import time
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError

from bot.db.allowances import AllowanceRepository, count_start
from bot.db.jobs import JobRepository
from bot.db.journal import JobJournal
from bot.db.memory import TurnRepository
from bot.db.outbox import OutboxRepository
from bot.db.prompts import PromptRepository
from bot.db.recipes import RecipeRepository
from bot.db.session import Database
from bot.engine.job import Job, JobState, Outcome, Requester
from bot.engine.spool import Spool
from bot.services.allowances import Allowances
from bot.services.kept_pictures import KeptPictures
from bot.services.memory import Memory, Turn
from bot.services.recipes import Recipe, RecipeService
from bot.services.retention import Retention, Swept
from bot.settings import PrivacySettings
from tests.fakes import fake_catalog, submission, text_request

DAY_S = 86_400.0


class Kept:
    """A database with something of each kind in it."""

    def __init__(self, database: Database, folder: Path, **settings: int) -> None:
        self.outbox = OutboxRepository(database)
        self.memory = Memory(TurnRepository(database), self.outbox.siblings)
        pictures = KeptPictures(folder / "kept", Spool(folder), days=30, mb_per_member=1)
        self.recipes = RecipeService(RecipeRepository(database), pictures, days=30)
        self.jobs = JobRepository(database)
        self.journal = JobJournal(database, at_start=[count_start])
        self.allowances = AllowanceRepository(database)
        self.retention = Retention(
            PrivacySettings(**settings),
            memory=self.memory,
            recipes=self.recipes,
            jobs=self.jobs,
            outbox=self.outbox,
            prompts=PromptRepository(database),
            allowances=Allowances(
                repository=self.allowances,
                engine=cast("Any", None),
                server_settings=cast("Any", None),
                role_limits=cast("Any", None),
                catalog=fake_catalog(),
            ),
        )

    async def turn(self, message_id: int, days_old: float) -> None:
        moment = time.time() - days_old * DAY_S
        await self.memory.remember(Turn(message_id, 1, 10, 100, 1, "user", "text", moment))

    async def job(self, job_id: str, days_old: float) -> None:
        job = Job(job_id, submission("hello"), created_at=time.time() - days_old * DAY_S)
        await self.journal.create(job)
        job.finished_at = job.created_at
        await self.journal.finished(job, Outcome(JobState.DONE), ["a part"])


@pytest.fixture
def kept(database: Database, tmp_path: Path) -> Kept:
    return Kept(database, tmp_path, memory_days=30, job_days=365)


async def test_only_what_is_too_old_goes(kept: Kept) -> None:
    await kept.turn(1, days_old=31)
    await kept.turn(2, days_old=29)
    await kept.job("a" * 16, days_old=366)
    await kept.job("b" * 16, days_old=364)
    assert await kept.retention.sweep() == Swept(turns=1, recipes=0, jobs=1, parts=0, prompts=0)
    assert [turn.message_id for turn in await kept.memory.of_member(1)] == [2]
    assert [row.id for row in await kept.jobs.of_member(1)] == ["b" * 16]
    assert await kept.retention.sweep() == Swept(turns=0, recipes=0, jobs=0, parts=0, prompts=0)


async def test_what_was_used_of_limits_goes_after_a_day(kept: Kept) -> None:
    await kept.job("a" * 16, days_old=1.1)
    await kept.job("b" * 16, days_old=0.9)
    assert len([slot for slots in (await kept.allowances.since(0)).values() for slot in slots]) == 6
    await kept.retention.sweep()
    assert [len(slots) for slots in (await kept.allowances.since(0)).values()] == [1, 1, 1]


async def test_a_job_under_way_stays_however_old(kept: Kept) -> None:
    job = Job("a" * 16, submission("hello"), created_at=time.time() - 1000 * DAY_S)
    await kept.journal.create(job)
    assert (await kept.retention.sweep()).jobs == 0
    assert [found.id for found in await kept.journal.unfinished()] == [job.id]


async def test_expired_recipes_and_settled_parts_go(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("r" * 16, Requester(1, 10, 100), "fake-text", text_request("hello"), {})
    await kept.recipes.save(recipe)
    for job_id in ("a" * 16, "b" * 16):
        await kept.job(job_id, days_old=0)
    [sent] = await kept.outbox.pending("a" * 16)
    await kept.outbox.mark_sent(sent, 5)
    real_time = time.time
    monkeypatch.setattr(time, "time", lambda: real_time() + 31 * DAY_S)
    assert await kept.retention.sweep() == Swept(turns=0, recipes=1, jobs=0, parts=1, prompts=0)
    assert await kept.outbox.pending("b" * 16) != []


async def test_nothing_is_remembered_where_the_owner_wants_that(
    database: Database, tmp_path: Path
) -> None:
    kept = Kept(database, tmp_path, memory_days=0)
    await kept.turn(1, days_old=0.001)
    assert (await kept.retention.sweep()).turns == 1


async def test_a_busy_database_does_not_end_the_sweeping(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    swept = asyncio.Event()
    sweep, sleep = kept.retention.sweep, asyncio.sleep
    failures = [OperationalError("", {}, Exception("database is locked"))]

    async def sometimes() -> Swept:
        if failures:
            raise failures.pop()
        result = await sweep()
        swept.set()
        return result

    monkeypatch.setattr(kept.retention, "sweep", sometimes)
    monkeypatch.setattr("bot.services.retention.asyncio.sleep", lambda _: sleep(0))
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(kept.retention.run())
        await asyncio.wait_for(swept.wait(), 60)
    task.cancel()
    await asyncio.wait({task})
    assert "will try again" in caplog.text
