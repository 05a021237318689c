"""Models that come before anybody asks: at the start, and back after a worker was lost."""

from __future__ import annotations

import asyncio

import pytest

from bot import logs
from bot.engine.job import Job, JobState, LoadingModel
from bot.settings import EngineSettings
from models.errors import JobCancelled, ModelLoadFailed
from tests.engine.conftest import until
from tests.fakes import FakeWeights, fake_catalog, fake_model, outcome_of, submission

ONE, TWO = fake_model("one", memory_mb=400), fake_model("two", memory_mb=400)
SLOW = fake_model("slow", memory_mb=400, options={"load": "!sleep 20"})


def lane_of(engine, number: int = 0):
    return engine._fleet.residency.lanes[number]


def at_rest(lane):
    return lambda: lane.idle


# --------------------------------------------------------------------------- at the start


async def test_a_warm_model_makes_the_first_job_wait_for_nothing(started, stage):
    engine = await started(catalog=fake_catalog(SLOW))
    engine.warm([SLOW])
    lane = lane_of(engine)
    await until(at_rest(lane))
    assert set(lane.residents) == {"slow"}
    job = await engine.submit(submission("a", "slow"))
    sights = [sight async for sight in engine.watch(job.id)]
    assert not any(isinstance(sight, LoadingModel) for sight in sights)
    assert (job.load_s, len(stage.ports)) == (0.0, 1)


async def test_who_waits_goes_before_warmth(started, journal):
    left = Job("left000000000000", submission("a", "one"))
    journal.rows = {left.id: left}
    engine = await started(catalog=fake_catalog(ONE, SLOW), memory_mb=500)
    engine.warm([SLOW])
    assert (await outcome_of(engine, left)).state is JobState.DONE
    await asyncio.sleep(60)
    assert set(lane_of(engine).residents) == {"one"}


async def test_warm_models_take_a_lane_each_as_far_as_memory_goes(started):
    engine = await started(catalog=fake_catalog(ONE, TWO, SLOW), lanes=3, memory_mb=800)
    engine.warm([ONE, TWO, SLOW])
    lanes = [lane_of(engine, number) for number in range(3)]
    await until(lambda: all(lane.idle for lane in lanes))
    assert [set(lane.residents) for lane in lanes] == [{"one"}, {"two"}, set()]


async def test_a_warm_model_makes_room_last(started):
    third = fake_model("three", memory_mb=400)
    engine = await started(catalog=fake_catalog(ONE, TWO, third), memory_mb=800)
    engine.warm([ONE])
    for model in ("two", "one", "two", "three"):
        await outcome_of(engine, await engine.submit(submission("a", model)))
    assert set(lane_of(engine).residents) == {"one", "three"}


async def test_a_warm_model_that_does_not_load_is_not_missed(started, caplog):
    broken = fake_model("broken", options={"load": "!bug"})
    engine = await started(catalog=fake_catalog(ONE, broken))
    engine.warm([broken])
    await until(at_rest(lane_of(engine)))
    assert "broken was not loaded in advance" in caplog.text
    assert (await outcome_of(engine, await engine.submit(submission("a", "one")))).result
    failed = await outcome_of(engine, await engine.submit(submission("a", "broken")))
    assert isinstance(failed.error, ModelLoadFailed)


# --------------------------------------------------------------------------- after a loss


async def with_both(started, **options):
    """Return an engine whose lane has done a job of ``one``, then one of ``two``."""
    engine = await started(catalog=fake_catalog(ONE, TWO, SLOW), **options)
    for model in ("one", "two"):
        await outcome_of(engine, await engine.submit(submission("a", model)))
    return engine


async def test_a_worker_that_was_ended_is_back_with_its_models(started, stage):
    engine = await with_both(started)
    hangs = await engine.submit(submission("a\n!hang", "one"))
    await until(lambda: engine._feeds[hangs.id].answer)
    await engine.cancel(hangs.id)
    assert isinstance((await outcome_of(engine, hangs)).error, JobCancelled)
    lane = lane_of(engine)
    await until(lambda: set(lane.residents) == {"one", "two"} and lane.idle)
    assert len(stage.ports) == 2
    following = await engine.submit(submission("b", "two"))
    assert (await outcome_of(engine, following)).state is JobState.DONE
    assert following.load_s == 0.0


async def test_who_waits_goes_before_what_is_loaded_again(started, stage):
    """Only the model that was used last is there before."""
    engine = await started(catalog=fake_catalog(ONE, TWO, SLOW), memory_mb=1200)
    for model in ("slow", "one"):
        await outcome_of(engine, await engine.submit(submission("a", model)))
    lane = lane_of(engine)
    loop = asyncio.get_running_loop()
    await stage.ports[0].kill()
    began = loop.time()
    waits = await engine.submit(submission("b", "two"))
    assert (await outcome_of(engine, waits)).state is JobState.DONE
    assert loop.time() - began < 20
    assert set(lane.residents) == {"one", "two"}


async def test_what_is_loaded_again_is_logged_as_nobodys_job(started, monkeypatch, caplog):
    fields = []

    def locate(self, spec):
        fields.append(dict(logs._about.get()))
        return "/nowhere"

    engine = await started(catalog=fake_catalog(ONE))
    await outcome_of(engine, await engine.submit(submission("a", "one")))
    monkeypatch.setattr(FakeWeights, "locate", locate)
    job = await engine.submit(submission("a\n!crash", "one"))
    await outcome_of(engine, job)
    await until(lambda: len(fields) == 2)
    assert fields == [{"lane": "cpu/0", "model": "one"}] * 2


async def test_a_worker_that_ends_without_having_worked_is_left_alone(started, stage):
    engine = await started(catalog=fake_catalog(ONE))
    engine.warm([ONE])
    await until(at_rest(lane_of(engine)))
    await stage.ports[0].kill()
    await asyncio.sleep(60)
    assert (len(stage.ports), lane_of(engine).residents) == (1, {})


async def test_a_hanging_job_is_gone_within_five_seconds(started):
    engine = await started(cancel_grace_s=EngineSettings().cancel_grace_s)
    job = await engine.submit(submission("a\n!hang"))
    await until(lambda: engine._feeds[job.id].answer)
    asked_at = asyncio.get_running_loop().time()
    await engine.cancel(job.id)
    assert (await outcome_of(engine, job)).state is JobState.CANCELLED
    assert asyncio.get_running_loop().time() - asked_at == pytest.approx(4.0, abs=0.1)
