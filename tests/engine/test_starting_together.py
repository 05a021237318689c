"""Jobs whose model takes several only if they begin together."""

from __future__ import annotations

import pytest

from bot.engine.job import JobState
from bot.engine.protocol import RunTogether
from tests.engine.conftest import until
from tests.fakes import fake_catalog, fake_model, outcome_of, submission

DRAWS = fake_model("draws", options={"slots": 3, "joins": "start"})


@pytest.fixture
def commands(stage, monkeypatch):
    """Note what workers are told."""
    told = []
    start_worker = stage.start_worker

    def watched(lane):
        port = start_worker(lane)
        send = port.send

        async def noted(command):
            told.append(command)
            await send(command)

        monkeypatch.setattr(port, "send", noted)
        return port

    monkeypatch.setattr(stage, "start_worker", watched)
    return told


async def test_those_who_wait_start_together_and_end_each_for_itself(started, commands):
    engine = await started(catalog=fake_catalog(DRAWS))
    first = await engine.submit(submission("!delay 0.1\nfirst", "draws", user=1))
    await until(lambda: first.state is JobState.RUNNING)
    texts = ("one", "two words", "!bug", "four")
    jobs = [
        await engine.submit(submission(text, "draws", user=2 + number))
        for number, text in enumerate(texts)
    ]
    outcomes = [await outcome_of(engine, job) for job in jobs]
    assert [getattr(outcome.result, "text", "") for outcome in outcomes] == [
        "one", "two words", "", "four",
    ]  # fmt: skip
    assert outcomes[2].state is JobState.FAILED
    [together] = [command for command in commands if isinstance(command, RunTogether)]
    assert [run.job_id for run in together.runs] == [job.id for job in jobs[:3]]


async def test_one_of_them_is_stopped_and_the_others_go_on(started):
    engine = await started(catalog=fake_catalog(DRAWS))
    first = await engine.submit(submission("!sleep 1", "draws", user=1))
    await until(lambda: first.state is JobState.RUNNING)
    jobs = [
        await engine.submit(submission("!delay 0.1\n!words 30", "draws", user=user))
        for user in (2, 3)
    ]
    await until(lambda: all(job.state is JobState.RUNNING for job in jobs))
    assert await engine.cancel(jobs[0].id)
    assert (await outcome_of(engine, jobs[0])).state is JobState.CANCELLED
    assert (await outcome_of(engine, jobs[1])).state is JobState.DONE


async def test_a_lanes_time_is_shared_among_those_who_started_together(started):
    engine = await started(catalog=fake_catalog(DRAWS))
    first = await engine.submit(submission("!sleep 1", "draws", user=1))
    await until(lambda: first.state is JobState.RUNNING)
    jobs = [await engine.submit(submission("!sleep 3", "draws", user=user)) for user in (2, 3, 4)]
    for job in jobs:
        await outcome_of(engine, job)
    assert sum(job.device_s for job in jobs) == pytest.approx(9.0, abs=0.5)
    assert [job.device_s for job in jobs] == [pytest.approx(3.0, abs=0.5)] * 3
