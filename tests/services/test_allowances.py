"""What members, channels and servers may have at once, in an hour and in a day, and by role."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bot.db.session import Database
from bot.engine.job import JobState, Requester
from bot.settings import LimitSettings
from tests.services.limits_bench import (
    ADA,
    CANCELLED,
    EXPIRED,
    FAILED,
    GRACE,
    HOUR,
    MINUTE,
    Bench,
)

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
