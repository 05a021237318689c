"""The engine with inline workers: outcomes, order, cancel, retries, recovery."""

from __future__ import annotations

from bot.engine.job import Ended, JobState, LoadingModel, Outcome
from models.contracts import TextDelta
from tests.fakes import Stage, fake_engine, submission


async def outcome_of(engine, job) -> Outcome:
    async for sight in engine.watch(job.id):
        if isinstance(sight, Ended):
            return sight.outcome
    raise AssertionError("the job's feed ended without an outcome")


async def test_a_job_runs_to_its_result(tmp_path):
    stage = Stage(tmp_path)
    engine = fake_engine(stage.start_worker, tmp_path)
    await engine.start()
    job = await engine.submit(submission("to be or not"))
    sights = [sight async for sight in engine.watch(job.id)]
    assert isinstance(sights[0], LoadingModel)
    assert "".join(s.text for s in sights if isinstance(s, TextDelta)) == "to be or not "
    assert sights[-1].outcome.state is JobState.DONE
    assert sights[-1].outcome.result.text == "to be or not"
    await engine.close()
