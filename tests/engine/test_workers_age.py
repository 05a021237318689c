"""Workers that grow old are started anew, while nobody needs them."""

from __future__ import annotations

import pytest

from bot.engine.job import JobState
from bot.engine.lane import Age
from bot.engine.local import LocalWorkers
from bot.engine.port import Vitals
from bot.settings import EngineSettings
from tests.engine.conftest import until
from tests.fakes import fake_catalog, fake_engine, fake_model, outcome_of, submission

MIB = 1 << 20


@pytest.fixture
def grown(stage, monkeypatch):
    """Return a list whose last number is what each new worker holds, in MiB."""
    held = [100]
    start = stage.start_worker

    def start_worker(lane):
        port, number = start(lane), len(stage.ports)
        port.vitals = lambda: Vitals(held[-1] * MIB if number == len(stage.ports) else 0)
        return port

    monkeypatch.setattr(stage, "start_worker", start_worker)
    return held


async def do(engine, count: int, model: str = "fake-text") -> None:
    for _ in range(count):
        job = await engine.submit(submission("a", model))
        assert (await outcome_of(engine, job)).state is JobState.DONE


def test_a_worker_is_warm_a_few_jobs_after_its_models_changed():
    age = Age()
    for used in (100, 200, 300, 400, 500, 600):
        age.job_left(used)
    assert (age.jobs, age.used_bytes, age.warm_bytes) == (6, 600, 500)
    age.models_changed()
    age.job_left(900)
    assert (age.jobs, age.warm_bytes) == (7, 0)


async def test_a_worker_that_has_grown_is_renewed_with_its_models(started, stage, grown):
    models = [fake_model(name) for name in ("one", "two")]
    engine = await started(catalog=fake_catalog(*models))
    await do(engine, 1, "one")
    await do(engine, 5, "two")
    grown.append(350)  # 100 * 1.5 + 200
    await do(engine, 1, "two")
    assert len(stage.ports) == 1
    grown.append(351)
    await do(engine, 1, "two")
    lane = engine._fleet.residency.lanes[0]
    await until(lambda: len(stage.ports) == 2 and set(lane.residents) == {"one", "two"})
    await do(engine, 1, "one")
    assert len(stage.ports) == 2


async def test_a_worker_is_not_renewed_while_a_job_runs(started, stage, grown):
    engine = await started(catalog=fake_catalog(fake_model(options={"slots": 2})))
    await do(engine, 5)
    grown.append(900)
    runs = await engine.submit(submission("!delay 1\n!words 30", user=1))
    await until(lambda: runs.state is JobState.RUNNING)
    await do(engine, 3)
    assert (runs.state, len(stage.ports)) == (JobState.RUNNING, 1)
    assert (await outcome_of(engine, runs)).state is JobState.DONE
    await until(lambda: len(stage.ports) == 2)
    assert runs.attempt == 1


async def test_who_waits_runs_on_the_new_worker(started, stage, grown):
    engine = await started(recycle_jobs=3)
    jobs = [await engine.submit(submission("a")) for _ in range(7)]
    for job in jobs:
        assert (await outcome_of(engine, job)).state is JobState.DONE
        assert job.attempt == 1
    assert len(stage.ports) == 3


@pytest.mark.slow
async def test_a_leak_is_seen_and_ended(tmp_path):
    workers = LocalWorkers(EngineSettings(), tmp_path, resolver="tests.scripted:resolve")
    started = []

    def start_worker(lane):
        started.append(workers.port(workers.lanes()[0]))
        return started[-1]

    engine = fake_engine(start_worker, tmp_path, device="cpu", memory_mb=4000, recycle_growth=1)
    await engine.start()
    await do(engine, 5)
    leaky = await engine.submit(submission("!leak 250"))
    assert (await outcome_of(engine, leaky)).state is JobState.DONE
    await until(lambda: len(started) == 2)
    await do(engine, 1)
    assert started[1].vitals().rss_bytes < 200 * MIB
    await engine.close()
