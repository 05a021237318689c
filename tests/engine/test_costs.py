"""What a job cost is known at its end, however it ends."""

from __future__ import annotations

import asyncio

import pytest

from bot.engine.job import Job, JobState
from tests.fakes import MemoryJournal, fake_catalog, fake_engine, fake_model, outcome_of, submission
from tests.scripted import Stage

SERVER = {"kind": "endpoint", "url": "https://example.org/v1", "model": "m"}


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
async def engine(stage, journal, tmp_path):
    catalog = fake_catalog(
        fake_model(),
        fake_model("paid", source=SERVER, prices={"output": 10}),
        fake_model("who-knows", source=SERVER),
        fake_model("impatient", options={"load": "!sleep 1"}),
    )
    engine = fake_engine(
        stage.start_worker, tmp_path, catalog=catalog, journal=journal, event_gap_deadline_s=0.1
    )
    yield engine
    await engine.close()


async def ended(engine, prompt) -> Job:
    job = await engine.submit(submission(prompt))
    await outcome_of(engine, job)
    return job


@pytest.mark.parametrize(
    ("prompt", "state", "micro_usd"),
    [
        ("nothing is charged", JobState.DONE, 0),
        ("!charge 2500\nan answer", JobState.DONE, 2500),
        ("!charge 2500\nmore\n!charge 4000", JobState.DONE, 4000),
        ("!charge 2500\n!refuse no", JobState.FAILED, 2500),
        ("!charge 2500\nfor\n!charge 0\nnothing", JobState.DONE, 0),
        ("!charge ?\nan answer", JobState.DONE, None),
    ],
)
async def test_the_last_charge_counts(engine, prompt, state, micro_usd):
    await engine.start()
    job = await ended(engine, prompt)
    assert (job.state, job.micro_usd) == (state, micro_usd)


async def test_a_job_that_is_stopped_costs_what_it_cost_so_far(engine):
    await engine.start()
    job = await engine.submit(submission("!charge 700\nword\n!charge 1400\n!delay 0.05\n!words 99"))
    async for sight in engine.watch(job.id):
        if getattr(sight, "text", "").startswith("word0"):
            await engine.cancel(job.id)
    assert (job.state, job.micro_usd) == (JobState.CANCELLED, 1400)


async def test_a_job_that_hangs_after_it_was_charged_costs_that(engine):
    await engine.start()
    job = await ended(engine, "!charge 700\n!progress 0.1\n!sleep 0.6\n!words 99")
    assert (job.state, job.micro_usd) == (JobState.EXPIRED, 700)


async def test_a_job_that_never_ran_costs_nothing(engine):
    await engine.start()
    first = await engine.submit(submission("!delay 0.05\n!words 99", "impatient"))
    waiting = await engine.submit(submission("!charge 700\nx", "impatient"))
    for job in (waiting, first):
        await engine.cancel(job.id)
        await outcome_of(engine, job)
        assert (job.state, job.micro_usd) == (JobState.CANCELLED, 0)


async def test_the_attempts_of_a_job_that_crashes_add_up(engine):
    await engine.start()
    job = await ended(engine, "!charge 700\nword\n!crash")
    assert (job.state, job.attempt, job.micro_usd) == (JobState.FAILED, 2, 1400)


@pytest.mark.parametrize(
    ("model", "micro_usd"),
    [("fake-text", 0), ("paid", 10 * 512), ("who-knows", None), ("gone", 0)],
)
async def test_an_attempt_that_was_lost_with_the_bot_costs_the_most_that_it_may(
    engine, journal, model, micro_usd
):
    lost = Job("lost000000000000", submission("again", model), JobState.RUNNING, attempt=1)
    journal.rows = {lost.id: lost}
    noted = []
    journal.requeued = lambda job: asyncio.sleep(0, noted.append(job.micro_usd))
    await engine.start()
    await outcome_of(engine, lost)
    assert noted == [micro_usd]
    assert lost.micro_usd == micro_usd
