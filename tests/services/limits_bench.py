"""The allowances of a server with their database, for the tests of limits."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from bot.db.allowances import AllowanceRepository, CountEnd, count_start
from bot.db.journal import JobJournal
from bot.db.session import Database
from bot.db.settings import SettingRepository
from bot.engine.job import Job, JobState, Outcome, Requester, new_job_id
from bot.services.allowances import Allowances
from bot.services.role_limits import RoleLimits
from bot.services.server_settings import ServerSettings
from bot.services.setting_registry import settings_under
from bot.settings import HostedSettings, LimitSettings
from models.contracts import TextResult, Usage
from models.errors import BackendError, DeadlineExceeded, JobCancelled, LimitReached
from tests.fakes import fake_catalog, fake_model, submission

SERVER = {"kind": "endpoint", "url": "https://example.org/v1", "model": "m"}
CATALOG = fake_catalog(fake_model(), fake_model("hosted", source=SERVER))
DONE = Outcome(JobState.DONE, TextResult("fine", Usage(1, "tokens")))
FAILED = Outcome(JobState.FAILED, error=BackendError())
EXPIRED = Outcome(JobState.EXPIRED, error=DeadlineExceeded())
CANCELLED = Outcome(JobState.CANCELLED, error=JobCancelled())
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
ADA = Requester(1, 10, 100)
GRACE = Requester(2, 10, 100)


class Live:
    """An engine that has the jobs that a test put there, and expects each to take a while."""

    def __init__(self) -> None:
        self.live: list[Job] = []
        self.run_s: float | None = None

    def jobs(self) -> Sequence[Job]:
        return self.live

    def expected_s(self, job: Job) -> float | None:
        return self.run_s


class Clock:
    def __init__(self) -> None:
        self.now: float = calendar.timegm((2026, 11, 24, 10, 0, 30))

    def __call__(self) -> float:
        return self.now


class Bench:
    """The allowances of a server with their database, and what an engine and an intake do."""

    def __init__(self, database: Database, limits: LimitSettings | None = None) -> None:
        self.database = database
        self.clock, self.engine = Clock(), Live()
        self.journal = JobJournal(database, at_start=[count_start], at_end=[CountEnd(CATALOG)])
        registry = settings_under(HostedSettings(), limits or LimitSettings())
        repository = SettingRepository(database)
        self.settings = ServerSettings(repository, CATALOG, registry)
        self.roles = RoleLimits(repository)
        self.allowances = Allowances(
            repository=AllowanceRepository(database),
            engine=cast("Any", self.engine),
            server_settings=self.settings,
            role_limits=self.roles,
            catalog=CATALOG,
            clock=self.clock,
        )

    async def configure(self, key: str, value: int, guild: int = 10, channel: int = 0) -> None:
        await self.settings.set(
            f"limits.{key}", str(value), guild_id=guild, channel_id=channel, user_id=9
        )

    async def take(self, who: Requester = ADA, model: str = "fake-text", key: str = "") -> Job:
        """Have a job submitted that is let in."""
        self.allowances.check(who)
        with self.allowances.entering(who):
            asked = submission("x", model, key=key)
            asked = replace(asked, requester=replace(who, roles=()))
            job = Job(new_job_id(), asked, created_at=self.clock())
            written = await self.journal.create(job)
            if written is job:
                self.engine.live.append(job)
                self.allowances.started(job)
        return written

    async def end(self, job: Job, outcome: Outcome = DONE, *, device_s: float = 0.0) -> None:
        job.state, job.finished_at, job.device_s = outcome.state, self.clock(), device_s
        await self.journal.finished(job, outcome, [])
        self.engine.live.remove(job)
        await self.allowances.ended(job, outcome)

    async def run(self, count: int = 1, who: Requester = ADA, device_s: float = 0.0) -> None:
        """Have jobs submitted that end at once."""
        for _ in range(count):
            await self.end(await self.take(who), device_s=device_s)

    def refusal(self, who: Requester = ADA) -> str:
        """Return the sentence, "" where one more job is let in."""
        try:
            self.allowances.check(who)
        except LimitReached as error:
            return error.user_message
        return ""

    async def restarted(self) -> Bench:
        """Return another run of the bot on the same data."""
        after = Bench(self.database)
        after.clock, after.engine.live = self.clock, await self.journal.unfinished()
        await after.settings.load()
        await after.roles.load()
        await after.allowances.load()
        after.allowances.resume()
        return after
