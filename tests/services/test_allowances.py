"""What members, channels and servers may have: counted, held back, given back, free again."""

from __future__ import annotations

import asyncio
import calendar
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from bot.db.allowances import AllowanceRepository, CountEnd, count_start
from bot.db.jobs import JobRepository
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


@pytest.fixture
async def bench(database: Database) -> Bench:
    bench = Bench(database)
    await bench.allowances.load()
    return bench


# --------------------------------------------------------------------------- jobs at once


async def test_jobs_at_once_count_by_member_and_server(bench: Bench) -> None:
    await bench.configure("jobs_at_once", 2)
    jobs = [await bench.take() for _ in range(2)]
    assert bench.refusal() == (
        "You already have 2 jobs under way, and more is not allowed at once. "
        "`/queue` shows what runs, `/cancel` stops it."
    )
    assert not bench.allowances.has_room(ADA)
    assert bench.refusal(GRACE) == ""
    assert bench.refusal(replace(ADA, guild_id=20)) == ""
    await bench.end(jobs[0])
    assert bench.refusal() == ""


async def test_the_end_of_the_first_is_foretold_where_it_is_known(bench: Bench) -> None:
    await bench.configure("jobs_at_once", 2)
    running, _ = await bench.take(), await bench.take()
    running.state, running.started_at, running.load_s = JobState.RUNNING, bench.clock(), 5.0
    assert "Free again" not in bench.refusal()
    bench.engine.run_s = 60.0
    bench.clock.now += 25
    assert bench.refusal().endswith(" Free again in about 40 s.")
    bench.clock.now += 100  # it takes longer than expected, and nobody knows how long
    assert "Free again" not in bench.refusal()


async def test_a_channel_and_its_threads_have_one_limit_together(bench: Bench) -> None:
    await bench.configure("channel_jobs_at_once", 1, channel=100)
    job = await bench.take(Requester(2, 10, 555, parent_id=100))
    assert bench.refusal().startswith("This channel already has a job under way, and more is")
    assert bench.refusal(replace(ADA, channel_id=556, parent_id=100))
    assert bench.refusal(replace(ADA, channel_id=101)) == ""
    await bench.end(job)
    assert bench.refusal() == ""


async def test_a_server_has_the_owners_bound_and_no_more(database: Database) -> None:
    bench = Bench(database, LimitSettings(jobs_at_once=2))
    jobs = [await bench.take(Requester(user, 10, user)) for user in (5, 6)]
    assert bench.refusal().startswith("This server already has 2 jobs under way, and more is")
    assert bench.refusal(replace(ADA, guild_id=20)) == ""
    await bench.end(jobs[0])
    assert bench.refusal() == ""
    for user in (7, 8):
        await bench.take(Requester(user, 0, user))
    refused = bench.refusal(Requester(1, 0, 1))
    assert refused.startswith("Direct messages together already have 2 jobs under way")


async def test_two_requests_at_the_same_moment_are_not_both_let_in(bench: Bench) -> None:
    await bench.configure("jobs_at_once", 1)
    results = await asyncio.gather(bench.take(), bench.take(), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Job", "LimitReached"]
    await bench.configure("jobs_at_once", 5)
    await bench.configure("jobs_hour", 2)
    results = await asyncio.gather(bench.take(), bench.take(), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Job", "LimitReached"]


async def test_what_never_became_a_job_is_not_counted(bench: Bench) -> None:
    await bench.configure("jobs_hour", 1)

    def fail_on_the_way() -> None:
        with bench.allowances.entering(ADA):
            assert bench.refusal()
            raise ValueError("no file there")

    with pytest.raises(ValueError, match="no file there"):
        fail_on_the_way()
    assert bench.refusal() == ""


# --------------------------------------------------------------------------- jobs in an hour


async def test_an_hour_later_there_is_room_to_the_minute(bench: Bench) -> None:
    await bench.configure("jobs_hour", 3)
    await bench.run(2)
    bench.clock.now += 20 * MINUTE
    await bench.run()
    assert bench.refusal() == (
        "You have started 3 of the 3 jobs that you may start here in an hour. "
        "You are free again in 40 min 30 s. `/queue` shows what runs."
    )
    bench.clock.now += 40 * MINUTE + 29
    assert "free again in 1.0 s" in bench.refusal()
    bench.clock.now += 1
    assert bench.refusal() == ""
    await bench.run(2)
    assert "free again in 20 min 0 s" in bench.refusal()


async def test_a_lower_limit_says_when_enough_has_gone(bench: Bench) -> None:
    for _ in range(4):
        await bench.run()
        bench.clock.now += 10 * MINUTE
    await bench.configure("jobs_hour", 2)
    assert bench.refusal().startswith("You have started 4 of the 2 jobs")
    assert "free again in 40 min 30 s" in bench.refusal()  # three have to go


async def test_the_jobs_of_all_count_for_channel_and_server(bench: Bench) -> None:
    await bench.configure("channel_jobs_hour", 2, channel=100)
    await bench.configure("server_jobs_hour", 3)
    await bench.run(who=ADA)
    await bench.run(who=GRACE)
    assert bench.refusal().startswith(
        "This channel has started 2 of the 2 jobs that may be started there in an hour. "
        "There is room again in 1 h 0 min."
    )
    elsewhere = replace(ADA, channel_id=101)
    await bench.run(who=elsewhere)
    assert bench.refusal(elsewhere).startswith("This server has started 3 of the 3 jobs")


async def test_a_failure_gives_the_job_back(bench: Bench) -> None:
    await bench.configure("jobs_hour", 1)
    for outcome in (FAILED, EXPIRED):
        job = await bench.take()
        bench.clock.now += 5 * MINUTE
        await bench.end(job, outcome, device_s=100.0)
        assert bench.refusal() == ""
    await bench.end(await bench.take(), CANCELLED)
    assert bench.refusal() == ""
    assert (await bench.restarted()).refusal() == ""


async def test_who_stops_a_job_that_runs_has_used_it(bench: Bench) -> None:
    await bench.configure("jobs_hour", 1)
    await bench.configure("device_s_day", 10)
    await bench.end(await bench.take(), CANCELLED, device_s=12.0)
    assert bench.refusal().startswith("You have started 1 of the 1 jobs")
    bench.clock.now += 2 * HOUR
    assert bench.refusal().startswith("You have used 12 s of the 10 s of computing")


async def test_the_same_request_twice_counts_once(bench: Bench) -> None:
    await bench.configure("jobs_hour", 2)
    first = await bench.take(key="message:1")
    assert (await bench.take(key="message:1")).id == first.id
    assert bench.refusal() == ""
    after = await bench.restarted()
    assert after.refusal() == ""
    await after.take()
    assert after.refusal()


# --------------------------------------------------------------------------- seconds in a day


async def test_seconds_of_computing_roll_out_of_a_day(bench: Bench) -> None:
    await bench.configure("device_s_day", 600)
    await bench.run(device_s=400)
    assert bench.refusal() == ""
    bench.clock.now += 6 * HOUR
    await bench.run(device_s=305)
    assert bench.refusal() == (
        "You have used 11 min 45 s of the 10 min 0 s of computing that you may use here in a day. "
        "You are free again in 18 h 0 min."
    )
    bench.clock.now += 18 * HOUR + 30
    assert bench.refusal() == ""


async def test_what_is_under_way_is_held_back(bench: Bench) -> None:
    await bench.configure("jobs_at_once", 9)
    await bench.configure("device_s_day", 100)
    bench.engine.run_s = 30.0
    await bench.run(device_s=45)
    jobs = [await bench.take() for _ in range(2)]
    refused = bench.refusal()
    assert "in a day, and 1 min 0 s are held back for jobs under way. You are free" in refused
    await bench.end(jobs[0], device_s=10)
    assert bench.refusal() == ""  # 55 used, 30 held
    await bench.end(jobs[1], FAILED, device_s=90)
    await bench.run(device_s=44)
    assert bench.refusal() == ""
    await bench.run(device_s=2)
    assert bench.refusal()


async def test_where_the_held_is_too_much_its_end_is_waited_for(bench: Bench) -> None:
    await bench.configure("device_s_day", 50)
    bench.engine.run_s = 60.0
    await bench.take()
    assert bench.refusal().endswith("You are free again when those have ended.")


async def test_hosted_models_count_jobs_and_no_seconds(bench: Bench) -> None:
    await bench.configure("device_s_day", 10)
    await bench.configure("jobs_hour", 2)
    bench.engine.run_s = 60.0
    await bench.end(await bench.take(model="hosted"), device_s=500)
    held = await bench.take(model="hosted")
    assert bench.refusal().startswith("You have started 2 of the 2 jobs")
    await bench.configure("jobs_hour", 0)
    assert bench.refusal() == ""
    await bench.end(held, device_s=500)
    assert (await bench.restarted()).refusal() == ""


# --------------------------------------------------------------------------- roles


async def test_the_most_generous_role_counts_instead_of_the_server(bench: Bench) -> None:
    await bench.configure("jobs_hour", 1)
    await bench.roles.set(10, 71, "jobs_hour", 2, user_id=9)
    await bench.roles.set(10, 72, "jobs_hour", 3, user_id=9)
    await bench.run()
    assert bench.refusal()
    assert bench.refusal(replace(ADA, roles=(70,)))
    both = replace(ADA, roles=(71, 72))
    assert bench.refusal(replace(ADA, roles=(71,))) == ""
    await bench.run(who=replace(ADA, roles=(71,)))
    assert bench.refusal(replace(ADA, roles=(71,)))
    assert bench.refusal(both) == ""
    await bench.run(who=both)
    assert "3 of the 3 jobs" in bench.refusal(both)
    await bench.roles.set(10, 71, "jobs_hour", 0, user_id=9)
    assert bench.refusal(both) == ""
    assert bench.refusal(replace(both, guild_id=20)) == ""
    await bench.roles.set(10, 71, "jobs_hour", None, user_id=9)
    assert "3 of the 3 jobs" in bench.refusal(both)


async def test_a_role_may_have_less_than_all_members(bench: Bench) -> None:
    await bench.roles.set(10, 71, "jobs_at_once", 1, user_id=9)
    await bench.take()
    assert bench.refusal() == ""
    assert bench.refusal(replace(ADA, roles=(71,))).startswith("You already have a job under way")


async def test_no_role_lifts_the_limits_of_channel_and_server(bench: Bench) -> None:
    await bench.roles.set(10, 71, "jobs_hour", 0, user_id=9)
    await bench.configure("server_jobs_hour", 1)
    who = replace(ADA, roles=(71,))
    await bench.run(who=who)
    assert bench.refusal(who).startswith("This server has started 1 of the 1 jobs")


# --------------------------------------------------------------------------- restarts and clocks


async def test_a_restart_keeps_what_was_used_and_what_is_under_way(bench: Bench) -> None:
    await bench.configure("jobs_at_once", 2)
    await bench.configure("jobs_hour", 4)
    await bench.configure("device_s_day", 100)
    await bench.run(2, device_s=20)
    await bench.take()
    waiting = await bench.take()
    after = await bench.restarted()
    assert after.refusal().startswith("You already have 2 jobs under way")
    [job] = [job for job in after.engine.live if job.id == waiting.id]
    await after.end(job, device_s=70)
    assert after.refusal().startswith("You have started 4 of the 4 jobs")
    await after.configure("jobs_hour", 0)
    assert after.refusal().startswith("You have used 1 min 50 s of the 1 min 40 s")
    last = await after.restarted()
    assert last.refusal() == after.refusal()


async def test_a_crash_leaves_nothing_held(bench: Bench) -> None:
    """What was on its way in is gone with the process; what was a job fails and is given back."""
    await bench.configure("jobs_at_once", 1)
    await bench.configure("jobs_hour", 1)
    await bench.take()
    entering = bench.allowances.entering(replace(ADA, guild_id=10))
    entering.__enter__()
    after = await bench.restarted()
    await after.end(after.engine.live[0], FAILED)
    assert after.refusal() == ""
    assert not after.allowances._under_way


async def test_deleting_data_frees_nothing(bench: Bench) -> None:
    await bench.configure("jobs_hour", 1)
    await bench.run()
    await JobRepository(bench.database).delete_member(1)
    assert (await bench.restarted()).refusal()


async def test_the_sums_in_memory_are_those_in_the_database(bench: Bench) -> None:
    for device_s, outcome in ((3.0, DONE), (4.5, CANCELLED), (9.0, FAILED), (0.0, CANCELLED)):
        await bench.end(await bench.take(), outcome, device_s=device_s)
        bench.clock.now += 7 * MINUTE
    await bench.take(GRACE)
    stored = await bench.allowances.repository.since(0)
    assert stored == bench.allowances._used


async def test_a_clock_that_is_set_back_or_ahead_locks_nobody_out(bench: Bench) -> None:
    await bench.configure("jobs_hour", 1)
    bench.clock.now += 400 * DAY  # it was wrong by a year
    await bench.run()
    assert bench.refusal()
    bench.clock.now -= 400 * DAY
    assert bench.refusal() == ""
    await bench.run()
    bench.clock.now -= 45  # set back by less than a minute: what was counted still is
    assert bench.refusal()
    bench.clock.now += 30 * DAY
    assert bench.refusal() == ""


async def test_what_counts_no_more_is_forgotten(bench: Bench) -> None:
    await bench.run(device_s=5)
    bench.clock.now += DAY
    await bench.run(who=GRACE, device_s=5)
    await bench.allowances.sweep()
    assert {subject.subject_id for subject in bench.allowances._used} == {0, 1, 2, 100}
    bench.clock.now += HOUR
    await bench.allowances.sweep()
    left = {subject.subject_id for subject in bench.allowances._used}
    assert left == {0, 2, 100}
    assert await bench.allowances.repository.since(0) == bench.allowances._used


async def test_standings_are_those_of_the_windows_that_limit_somebody(bench: Bench) -> None:
    assert bench.allowances.standing(ADA) == []
    await bench.configure("jobs_hour", 5)
    await bench.configure("channel_device_s_day", 60, channel=100)
    await bench.run(2, device_s=4)
    found = [(s.subject.kind, s.name, s.used, s.limit) for s in bench.allowances.standing(ADA)]
    assert found == [("member", "jobs_hour", 2, 5), ("channel", "device_s_day", 8.0, 60)]
