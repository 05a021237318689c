"""How jobs at the engine end before they are done: cancels, deadlines, crashes."""

from __future__ import annotations

import asyncio

import pytest

from bot.engine.job import JobState, LoadingModel, Restarted
from models.contracts import TextDelta
from models.errors import DeadlineExceeded, JobCancelled, WorkerCrashed
from tests.engine.conftest import text_in, until
from tests.fakes import fake_catalog, fake_model, outcome_of, submission

# --------------------------------------------------------------------------- stopping


async def test_a_waiting_job_is_cancelled_at_once(started, journal):
    engine = await started()
    await engine.submit(submission("!sleep 5"))
    waiting = await engine.submit(submission("never"))
    assert await engine.cancel(waiting.id) is True
    outcome = journal.outcomes[waiting.id]
    assert (outcome.state, outcome.error.kind) == (JobState.CANCELLED, "cancelled")
    assert waiting.attempt == 0
    assert await engine.cancel(waiting.id) is False


async def test_a_running_job_stops_at_the_next_step_and_keeps_its_text(started, stage):
    engine = await started()
    job = await engine.submit(submission("!delay 0.02\n!words 1000"))
    async for sight in engine.watch(job.id):
        if isinstance(sight, TextDelta):
            break
    assert await engine.cancel(job.id) is True
    outcome = await outcome_of(engine, job)
    assert (outcome.state, type(outcome.error)) == (JobState.CANCELLED, JobCancelled)
    assert outcome.partial_text.startswith("word0 ")
    assert len(outcome.partial_text.split()) <= 2
    following = await engine.submit(submission("fine"))
    assert (await outcome_of(engine, following)).state is JobState.DONE
    assert len(stage.ports) == 1, "the worker survived"


async def test_a_job_whose_model_loads_is_cancelled_at_once_and_the_load_goes_on(started, stage):
    slow = fake_model(options={"load": "!sleep 0.6"})
    engine = await started(catalog=fake_catalog(slow))
    job = await engine.submit(submission("a"))
    began = asyncio.get_running_loop().time()
    await engine.cancel(job.id)
    assert (await outcome_of(engine, job)).state is JobState.CANCELLED
    assert asyncio.get_running_loop().time() == began
    following = await engine.submit(submission("b"))
    sights = [sight async for sight in engine.watch(following.id)]
    assert not any(isinstance(sight, LoadingModel) for sight in sights)
    assert sights[-1].outcome.state is JobState.DONE
    assert len(stage.ports) == 1


async def test_a_worker_that_ignores_a_cancel_is_ended(started, stage):
    engine = await started(cancel_grace_s=0.05)
    job = await engine.submit(submission("before\n!hang"))
    await until(lambda: "before" in engine._feeds[job.id].answer)
    await engine.cancel(job.id)
    outcome = await outcome_of(engine, job)
    assert (outcome.state, outcome.partial_text) == (JobState.CANCELLED, "before ")
    following = await engine.submit(submission("fine"))
    assert (await outcome_of(engine, following)).state is JobState.DONE
    assert len(stage.ports) == 2


@pytest.mark.parametrize(
    ("prompt", "deadline"),
    [("!hang", "first_event_deadline_s"), ("word\n!hang", "event_gap_deadline_s")],
)
async def test_a_job_that_hangs_misses_its_deadline(started, stage, prompt, deadline):
    engine = await started(cancel_grace_s=0.05, **{deadline: 0.1})
    job = await engine.submit(submission(prompt))
    outcome = await outcome_of(engine, job)
    assert (outcome.state, type(outcome.error)) == (JobState.EXPIRED, DeadlineExceeded)
    assert job.attempt == 1
    following = await engine.submit(submission("fine"))
    assert (await outcome_of(engine, following)).state is JobState.DONE


async def test_events_push_the_deadline_on(started):
    engine = await started(event_gap_deadline_s=0.15)
    job = await engine.submit(submission("!delay 0.05\n!words 8"))
    assert (await outcome_of(engine, job)).state is JobState.DONE


async def test_a_load_that_hangs_misses_its_deadline(started):
    stuck = fake_model("stuck", options={"load": "!hang"})
    engine = await started(catalog=fake_catalog(fake_model(), stuck), load_deadline_s=0.1)
    outcome = await outcome_of(engine, await engine.submit(submission("a", "stuck")))
    assert outcome.state is JobState.EXPIRED
    assert "took longer than 0 seconds to load" in outcome.error.user_message
    outcome = await outcome_of(engine, await engine.submit(submission("b")))
    assert outcome.state is JobState.DONE


# --------------------------------------------------------------------------- crashes


async def test_a_job_that_crashes_its_worker_is_tried_once_more(started, stage, journal):
    engine = await started()
    job = await engine.submit(submission("lost words\n!crash"))
    sights = [sight async for sight in engine.watch(job.id)]
    assert isinstance(sights[-1].outcome.error, WorkerCrashed)
    assert job.attempt == 2
    await until(lambda: len(stage.ports) == 3)  # the last one stands ready
    assert Restarted(2) in sights
    assert text_in(sights[sights.index(Restarted(2)) :]) == "lost words "
    assert [method for method, _ in journal.calls] == [
        "create",
        "started",
        "requeued",
        "started",
        "finished",
    ]


async def test_a_crash_that_does_not_repeat_costs_nothing(started, stage):
    engine = await started()
    job = await engine.submit(submission("!sleep 0.1\nanswer"))
    await until(lambda: stage.ports and job.state is JobState.RUNNING)
    await stage.ports[0].kill()
    outcome = await outcome_of(engine, job)
    assert (outcome.state, outcome.result.text) == (JobState.DONE, "answer")
    assert job.attempt == 2


async def test_a_crash_while_loading_counts_for_the_job_that_loads(started):
    fatal = fake_model("fatal", options={"load": "!crash"})
    engine = await started(catalog=fake_catalog(fake_model(), fatal))
    job = await engine.submit(submission("a", "fatal"))
    assert isinstance((await outcome_of(engine, job)).error, WorkerCrashed)
    assert job.attempt == 2


async def test_neighbours_of_a_crash_all_finish_and_the_culprit_is_found(started):
    batch = fake_model(options={"slots": 4})
    engine = await started(catalog=fake_catalog(batch))
    await outcome_of(engine, await engine.submit(submission("load the model")))
    good = [await engine.submit(submission("!delay 0.01\n!words 30")) for _ in range(3)]
    culprit = await engine.submit(submission("!delay 0.01\na b c\n!crash"))
    assert isinstance((await outcome_of(engine, culprit)).error, WorkerCrashed)
    assert culprit.attempt == 3, "in company, alone, and its one retry"
    for job in good:
        assert (await outcome_of(engine, job)).state is JobState.DONE
        assert job.attempt <= 2


async def test_neighbours_of_a_job_that_hangs_run_again(started):
    batch = fake_model(options={"slots": 2})
    engine = await started(catalog=fake_catalog(batch), cancel_grace_s=0.05)
    await outcome_of(engine, await engine.submit(submission("load the model")))
    good = await engine.submit(submission("!delay 0.01\n!words 20"))
    bad = await engine.submit(submission("a\n!hang"))
    await until(lambda: engine._feeds[bad.id].answer)
    await engine.cancel(bad.id)
    assert (await outcome_of(engine, bad)).state is JobState.CANCELLED
    assert (await outcome_of(engine, good)).state is JobState.DONE
    assert not engine._runs._crashed
