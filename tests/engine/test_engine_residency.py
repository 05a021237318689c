"""Which models the engine holds, and what becomes of its jobs when it ends and starts."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bot.engine.job import Job, JobState, Measured, Restarted
from bot.engine.spool import Spool
from models.contracts import Modality
from models.errors import LimitReached, ModelUnavailable
from tests.engine.conftest import until
from tests.fakes import fake_catalog, fake_model, outcome_of, submission

# --------------------------------------------------------------------------- residency


async def test_models_share_a_worker_until_memory_is_short(started, stage):
    models = [fake_model(name, memory_mb=400) for name in ("one", "two", "three")]
    engine = await started(catalog=fake_catalog(*models), memory_mb=900)
    lane = engine._fleet.residency.lanes[0]
    for name in ("one", "two"):
        await outcome_of(engine, await engine.submit(submission("a", name)))
    assert set(lane.residents) == {"one", "two"}
    await outcome_of(engine, await engine.submit(submission("a", "three")))
    assert set(lane.residents) == {"two", "three"}
    assert len(stage.ports) == 1


async def test_a_worker_without_a_model_is_ended_and_started_again(started, stage):
    models = [fake_model(name, memory_mb=600) for name in ("one", "two")]
    engine = await started(catalog=fake_catalog(*models), memory_mb=1000)
    for name in ("one", "two"):
        await outcome_of(engine, await engine.submit(submission("a", name)))
    lane = engine._fleet.residency.lanes[0]
    assert set(lane.residents) == {"two"}
    assert len(stage.ports) == 2


async def test_an_idle_model_is_freed(started, stage):
    engine = await started(idle_unload_s=0.05)
    await outcome_of(engine, await engine.submit(submission("a")))
    lane = engine._fleet.residency.lanes[0]
    assert lane.residents
    await until(lambda: not lane.residents and not lane.changing)
    await outcome_of(engine, await engine.submit(submission("b")))
    assert len(stage.ports) == 2


async def test_two_lanes_work_side_by_side(started, stage):
    engine = await started(lanes=2)
    began = asyncio.get_running_loop().time()
    jobs = [await engine.submit(submission("!sleep 0.5\na")) for _ in range(2)]
    for job in jobs:
        assert (await outcome_of(engine, job)).state is JobState.DONE
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.5)
    assert len(stage.ports) == 2


# --------------------------------------------------------------------------- restarts


async def test_what_was_unfinished_runs_after_a_restart(started, journal):
    waiting = Job("waiting000000000", submission("first"))
    running = Job("running000000000", submission("second"), JobState.RUNNING, attempt=1)
    gone = Job("gone000000000000", submission("third", "removed-model"))
    journal.rows = {job.id: job for job in (waiting, running, gone)}
    engine = await started()
    sights = [sight async for sight in engine.watch(running.id)]
    assert sights[-1].outcome.result.text == "second"
    assert Restarted(2) in sights
    assert (await outcome_of(engine, waiting)).state is JobState.DONE
    assert isinstance((await outcome_of(engine, gone)).error, ModelUnavailable)


async def test_what_was_measured_before_a_restart_is_known_after_it(started, journal, monkeypatch):
    async def measured():
        return [Measured("fake-text", Modality.TEXT, work=200.0, run_s=40.0, device_s=40.0)]

    monkeypatch.setattr(journal, "measured", measured)
    engine = await started()
    await engine.submit(submission("!sleep 5"))
    second = await engine.submit(submission("a"))
    assert engine.place(second.id).eta_s == pytest.approx(40.1, abs=1.0)


async def test_a_start_clears_the_spool_of_orphans(started, journal, tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    kept = spool.store(b"x", "a", "text/plain")
    spool.store(b"y", "orphan", "text/plain")

    async def media_in_use():
        return {kept.path}

    monkeypatch.setattr(journal, "media_in_use", media_in_use)
    await started()
    assert [file.name for file in tmp_path.iterdir()] == [kept.path]


async def test_a_drain_lets_running_jobs_end_and_keeps_the_others(started, journal):
    engine = await started()
    running = await engine.submit(submission("!sleep 0.1\ndone"))
    waiting = await engine.submit(submission("later"))
    await engine.drain()
    assert journal.outcomes[running.id].state is JobState.DONE
    assert waiting.state is JobState.QUEUED
    with pytest.raises(LimitReached, match="restart"):
        await engine.submit(submission("too late"))
    await engine.close()
    assert await journal.unfinished() == [waiting]


async def test_a_drain_does_not_wait_for_ever(started, journal):
    engine = await started(drain_s=0.05)
    endless = await engine.submit(submission("!hang"))
    await until(lambda: endless.state is JobState.RUNNING)
    began = asyncio.get_running_loop().time()
    await engine.drain()
    await engine.close()
    assert asyncio.get_running_loop().time() - began < 1.0
    assert await journal.unfinished() == [endless]


async def test_closing_leaves_no_task(started):
    engine = await started()
    for prompt in ("!hang", "a", "b"):
        await engine.submit(submission(prompt))
    await asyncio.sleep(0.05)
    await engine.close()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
