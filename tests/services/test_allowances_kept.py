"""What was used of limits: over restarts and set clocks, in memory and in the database."""

from __future__ import annotations

from dataclasses import replace

from bot.db.jobs import JobRepository
from tests.services.limits_bench import (
    ADA,
    CANCELLED,
    DAY,
    DONE,
    FAILED,
    GRACE,
    HOUR,
    MINUTE,
    Bench,
)


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
