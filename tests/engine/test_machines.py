"""Machines that are lost with their workers, and workers for which there is no machine."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from bot.engine.fleet import _REST_S
from bot.engine.job import JobState
from bot.engine.meter import SILENT
from bot.engine.port import WorkerGone
from models.contracts import TextDelta
from models.errors import WorkerCrashed
from tests.engine.conftest import text_in, until
from tests.fakes import fake_catalog, fake_engine, fake_model, outcome_of, submission

SLOW = "!delay 0.1\n!words 10"


async def lose(port, *, innocent=True) -> None:
    """Have a worker go, as a port of a cluster tells of it."""
    port._gone = WorkerGone("a power cut", innocent=innocent)
    port._reports.put_nowait(port._gone)
    await port.kill()


async def first_words(engine, job) -> None:
    async for sight in engine.watch(job.id):
        if isinstance(sight, TextDelta):
            return


async def test_a_job_whose_machine_is_lost_runs_again_and_is_not_blamed(started, stage):
    engine = await started()
    job = await engine.submit(submission(SLOW))
    for losses, innocent in enumerate([True, True, False]):
        await until(lambda n=losses: len(stage.ports) > n)
        await first_words(engine, job)
        await lose(stage.ports[losses], innocent=innocent)
        await until(lambda n=losses: job.attempt > n + 1)
    sights = [sight async for sight in engine.watch(job.id)]
    assert sights[-1].outcome.state is JobState.DONE
    assert text_in(sights).split() == [f"word{number}" for number in range(10)]
    assert (job.attempt, len(stage.ports)) == (4, 4)


class Losses(type(SILENT)):
    """Notes why workers ended."""

    def __init__(self):
        self.reasons = []

    def worker_lost(self, lane, reason):
        self.reasons.append(reason)


async def test_a_lost_machine_is_counted_apart_from_a_worker_that_died(started, stage):
    losses = Losses()
    engine = await started(meter=losses)
    job = await engine.submit(submission(SLOW))
    for number, innocent in enumerate([True, False]):
        await until(lambda n=number: len(stage.ports) > n)
        await first_words(engine, job)
        await lose(stage.ports[number], innocent=innocent)
        await until(lambda n=number: job.attempt > n + 1)
    assert losses.reasons == ["out_of_reach", "died"]


async def test_neighbours_on_a_lost_machine_go_on_together(started, stage):
    engine = await started(catalog=fake_catalog(fake_model(options={"slots": 2})))
    jobs = [await engine.submit(submission(SLOW, user=user)) for user in (1, 2)]
    for job in jobs:
        await first_words(engine, job)
    await lose(stage.ports[0])
    await until(lambda: all(job.attempt == 2 for job in jobs))
    lane = engine._fleet.residency.lanes[0]
    assert len(lane.jobs) == 2
    for job in jobs:
        assert (await outcome_of(engine, job)).state is JobState.DONE


async def test_a_job_under_which_machine_after_machine_is_lost_is_given_up(started, stage):
    engine = await started()
    job = await engine.submit(submission(SLOW))
    watching = asyncio.create_task(outcome_of(engine, job))
    attempt = 0
    while not watching.done():
        await until(lambda n=attempt: job.attempt > n or watching.done())
        attempt = job.attempt
        if not watching.done():
            await first_words(engine, job)
            await lose(stage.ports[-1])
            await asyncio.sleep(0.1)
    outcome = watching.result()
    assert (outcome.state, type(outcome.error)) == (JobState.FAILED, WorkerCrashed)
    assert attempt == 5


# --------------------------------------------------------------------------- no place


class NoPlace:
    """A port for whose worker the cluster has no machine."""

    async def start(self):
        pass

    async def send(self, command):
        pass

    async def events(self):
        await asyncio.sleep(1.0)
        raise WorkerGone("no room", innocent=True)
        yield

    async def kill(self):
        pass


class Places:
    """Starts workers where there is a place; ``full`` are the lanes that have none."""

    def __init__(self, stage, *full):
        self.tried = Counter()
        self.full = set(full)
        self._stage = stage

    def start_worker(self, lane):
        self.tried[lane] += 1
        return NoPlace() if lane in self.full else self._stage.start_worker(lane)


@pytest.fixture
async def start(started, tmp_path, journal):
    engines = []

    async def start(places, **options):
        engines.append(fake_engine(places.start_worker, tmp_path, journal=journal, **options))
        await engines[-1].start()
        return engines[-1]

    yield start
    for engine in engines:
        await engine.close()


async def test_a_job_for_which_there_is_no_place_waits_until_there_is_one(start, stage):
    places, loop = Places(stage, "cpu/0"), asyncio.get_running_loop()
    engine = await start(places, device="cpu")
    job = await engine.submit(submission("hello"))
    await until(lambda: places.tried["cpu/0"] == 4, limit_s=1000)
    assert loop.time() >= (1 + 2 + 4) * _REST_S  # longer each time
    assert job.state in {JobState.QUEUED, JobState.RUNNING}
    places.full.clear()
    assert (await outcome_of(engine, job)).state is JobState.DONE


async def test_it_goes_to_another_lane_at_once(start, stage):
    places = Places(stage, "cpu/0")
    engine = await start(places, device="cpu", lanes=2)
    job = await engine.submit(submission("hello"))
    assert (await outcome_of(engine, job)).state is JobState.DONE
    assert (job.lane, asyncio.get_running_loop().time() < _REST_S) == ("cpu/1", True)
    following = await engine.submit(submission("there", user=2))
    assert (await outcome_of(engine, following)).state is JobState.DONE
    assert places.tried == {"cpu/0": 1, "cpu/1": 1}


async def test_it_can_be_cancelled_meanwhile(start, stage):
    places = Places(stage, "cpu/0")
    engine = await start(places, device="cpu")
    job = await engine.submit(submission("hello"))
    await until(lambda: engine._fleet.residency.lanes[0].resting)
    await engine.cancel(job.id)
    assert (await outcome_of(engine, job)).state is JobState.CANCELLED
