"""What somebody who watches a job at the engine sees."""

from __future__ import annotations

import asyncio

from bot.engine.job import Ended, Waiting
from models.contracts import Preview, Progress, TextDelta
from tests.engine.conftest import text_in
from tests.fakes import outcome_of, submission


async def test_who_waits_sees_the_place_shrink(started):
    engine = await started()
    jobs = [await engine.submit(submission("!sleep 0.05\nx")) for _ in range(3)]
    sights = [sight async for sight in engine.watch(jobs[2].id)]
    places = [sight.place for sight in sights if isinstance(sight, Waiting)]
    assert places == sorted(places, reverse=True)
    assert set(places) == {1, 2}


async def test_previews_are_seen_the_last_one_late_and_none_is_kept(started, tmp_path):
    engine = await started()
    job = await engine.submit(submission("!preview red\n!preview blue\n!sleep 0.2\n!words 2"))
    early = engine.watch(job.id)
    seen = [sight async for sight in _until(early, Progress)]
    assert [type(sight) for sight in seen].count(Preview) == 2
    late = [sight async for sight in engine.watch(job.id)]
    assert [sight for sight in late if isinstance(sight, Preview)] == [seen[-2]]
    await outcome_of(engine, job)
    await asyncio.sleep(0.05)
    assert not list(tmp_path.glob("?" * 32))


async def _until(watcher, kind):
    async for sight in watcher:
        yield sight
        if isinstance(sight, kind):
            return


async def test_a_late_watcher_catches_up(started):
    engine = await started()
    job = await engine.submit(submission("!think hm\none two\n!progress 0.5\n!sleep 0.2\nthree"))
    early = engine.watch(job.id)
    async for sight in early:
        if isinstance(sight, Progress):
            break
    late = [sight async for sight in engine.watch(job.id)]
    assert late[0] == Progress("working", 0.5)
    assert late[1:3] == [TextDelta("hm", "reasoning"), TextDelta("one two ")]
    assert text_in(late) == "hmone two three "


async def test_a_watcher_of_an_ended_job_sees_its_end(started):
    engine = await started()
    job = await engine.submit(submission("a b"))
    outcome = await outcome_of(engine, job)
    sights = [sight async for sight in engine.watch(job.id)]
    assert sights[-1] == Ended(outcome)
    assert text_in(sights) == "a b "


async def test_an_unknown_job_has_nothing_to_see(started):
    engine = await started()
    assert [sight async for sight in engine.watch("unknown")] == []
    assert await engine.cancel("unknown") is False


async def test_a_watcher_that_left_is_forgotten(started):
    engine = await started()
    job = await engine.submit(submission("!sleep 0.1\na"))
    watcher = engine.watch(job.id)
    await anext(watcher)
    feed = engine._feeds[job.id]
    assert len(feed._watchers) == 1
    del watcher
    assert len(feed._watchers) == 0
    await outcome_of(engine, job)
