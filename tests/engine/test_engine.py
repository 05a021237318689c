"""The engine with inline workers: outcomes, and what is let in."""

from __future__ import annotations

import pytest

from bot.engine.job import JobState, LoadingModel, Waiting
from bot.engine.journal import JournalUnavailable
from bot.engine.lane import Lane
from bot.engine.spool import Spool
from models.catalog import Catalog
from models.contracts import ImageRequest, Modality, Notice, SpeechRequest
from models.errors import (
    LimitReached,
    ModelNotInstalled,
    ModelUnavailable,
    ResourceExhausted,
    UnsupportedOption,
)
from tests.engine.conftest import text_in, until
from tests.fakes import FakeWeights, fake_catalog, fake_model, outcome_of, submission

# --------------------------------------------------------------------------- outcomes


async def test_a_job_runs_to_its_result(started, journal):
    engine = await started()
    job = await engine.submit(submission("!notice careful\nto be or not"))
    sights = [sight async for sight in engine.watch(job.id)]
    outcome = sights[-1].outcome
    assert sights[0] == LoadingModel("Fake Text", 0.1)
    assert Notice("careful") in sights
    assert text_in(sights) == "to be or not "
    assert (outcome.state, outcome.result.text) == (JobState.DONE, "to be or not")
    assert outcome.notices == ("careful",)
    assert journal.parts[job.id] == ["done: to be or not"]
    assert [method for method, _ in journal.calls] == ["create", "started", "finished"]
    assert (job.state, job.attempt) == (JobState.DONE, 1)
    assert job.created_at <= job.started_at <= job.finished_at


async def test_a_job_takes_the_seconds_of_a_lane_that_were_its_own(started):
    model = fake_model(options={"slots": 2, "load": "!sleep 0.3"})
    engine = await started(catalog=fake_catalog(model))
    jobs = [await engine.submit(submission("!sleep 0.2\nx")) for _ in range(2)]
    for job in jobs:
        await outcome_of(engine, job)
    ran_s = max(job.finished_at for job in jobs) - jobs[0].started_at - jobs[0].load_s
    assert jobs[0].load_s >= 0.3
    assert 0.3 < sum(job.device_s for job in jobs) <= ran_s
    assert {job.lane for job in jobs} == {"cpu/0"}
    assert all(job.work > 0 for job in jobs)


async def test_an_output_goes_through_the_spool(started, tmp_path):
    engine = await started()
    job = await engine.submit(submission(SpeechRequest("hello"), "fake-speech"))
    result = (await outcome_of(engine, job)).result
    assert Spool(tmp_path).checked_path(result.media).read_bytes() == b"OggShello"


@pytest.mark.parametrize(
    ("prompt", "kind", "sentence"),
    [
        ("!refuse Not in this voice.", "unsupported_option", "Not in this voice."),
        ("!bug", "backend_error", "The model failed while working on this. Please try again."),
        ("!silent", "backend_error", "The model failed while working on this. Please try again."),
    ],
)
async def test_a_failure_is_one_sentence_and_the_next_job_runs(
    started, journal, prompt, kind, sentence
):
    engine = await started()
    failed = await engine.submit(submission(f"some words\n{prompt}"))
    outcome = await outcome_of(engine, failed)
    assert (outcome.state, outcome.error.kind) == (JobState.FAILED, kind)
    assert outcome.error.user_message == sentence
    assert outcome.partial_text == "some words "
    following = await engine.submit(submission("fine"))
    assert (await outcome_of(engine, following)).state is JobState.DONE
    assert failed.attempt == 1


async def test_a_backends_fault_is_logged_and_not_shown(started, caplog):
    engine = await started()
    job = await engine.submit(submission("!bug secret detail"))
    outcome = await outcome_of(engine, job)
    assert "secret detail" not in outcome.error.user_message
    assert "secret detail" in caplog.text


async def test_a_refusal_is_not_logged(started, caplog):
    engine = await started()
    await outcome_of(engine, await engine.submit(submission("!refuse no")))
    assert caplog.text == ""


async def test_a_model_that_does_not_load_fails_its_job_alone(started):
    broken = fake_model("broken", options={"load": "!refuse The weights are damaged."})
    engine = await started(catalog=fake_catalog(fake_model(), broken))
    outcome = await outcome_of(engine, await engine.submit(submission("a", "broken")))
    assert outcome.error.user_message == "The weights are damaged."
    outcome = await outcome_of(engine, await engine.submit(submission("b")))
    assert outcome.state is JobState.DONE


async def test_a_load_says_where_to_keep_files_and_where_the_classifier_is(started, monkeypatch):
    commands = []

    async def load(lane, command, deadline_s):
        commands.append(command)
        return await loads(lane, command, deadline_s)

    loads = Lane.load
    monkeypatch.setattr(Lane, "load", load)
    models = [fake_model(), fake_model("fake-speech", Modality.SPEECH)]
    rows = [fake_model("fake-image", Modality.IMAGE), *models]
    profiles = fake_catalog(*rows).profiles
    engine = await started(catalog=Catalog(rows, profiles, {"safety": fake_model("safety")}))
    await outcome_of(engine, await engine.submit(submission("a")))
    await outcome_of(engine, await engine.submit(submission(ImageRequest("a cat"), "fake-image")))
    text, image = (command.spec.options for command in commands)
    assert text == {"cache_dir": "/nowhere/fake-text"}
    assert image == {"cache_dir": "/nowhere/fake-image", "safety_dir": "/nowhere"}


async def test_weights_that_are_missing_fail_the_job(started, monkeypatch):
    def locate(self, spec):
        raise ModelNotInstalled

    monkeypatch.setattr(FakeWeights, "locate", locate)
    engine = await started()
    outcome = await outcome_of(engine, await engine.submit(submission("a")))
    assert isinstance(outcome.error, ModelNotInstalled)


async def test_a_fault_of_the_presentation_does_not_lose_the_end(started, monkeypatch):
    engine = await started()
    endings = engine._endings
    present = endings._present

    def fail_once(job, outcome):
        if outcome.state is JobState.DONE:
            raise ValueError("cannot show this")
        return present(job, outcome)

    monkeypatch.setattr(endings, "_present", fail_once)
    job = await engine.submit(submission("a"))
    await outcome_of(engine, job)
    assert engine._journal.parts[job.id] == ["failed: Something went wrong here. Please try again."]


async def test_observers_hear_after_the_commit_and_may_fail(started, journal):
    engine = await started()
    heard = []

    async def broken(job, outcome):
        raise ValueError("an observer's bug")

    async def observer(job, outcome):
        heard.append((job.id, outcome.state, job.id in journal.outcomes))

    engine.observe(broken)
    engine.observe(observer)
    job = await engine.submit(submission("a"))
    await outcome_of(engine, job)
    await until(lambda: heard)
    assert heard == [(job.id, JobState.DONE, True)]


async def test_refusals_keep_their_kind_across_the_pipe(started):
    engine = await started()
    job = await engine.submit(submission("!refuse no"))
    assert type((await outcome_of(engine, job)).error) is UnsupportedOption


# --------------------------------------------------------------------------- submitting


async def test_the_same_source_key_is_the_same_job(started, journal):
    engine = await started()
    first = await engine.submit(submission("!sleep 0.05\na", key="message:1"))
    second = await engine.submit(submission("!sleep 0.05\na", key="message:1"))
    assert second is first
    await outcome_of(engine, first)
    third = await engine.submit(submission("a", key="message:1"))
    assert third.id == first.id
    assert len(journal.outcomes) == 1


async def test_a_full_queue_refuses(started):
    engine = await started(queue_limit=2)
    for _ in range(3):  # one runs, two wait
        await engine.submit(submission("!sleep 5"))
    with pytest.raises(LimitReached):
        await engine.submit(submission("one too many"))


@pytest.mark.parametrize("model", ["no-such-model", "huge"])
async def test_a_model_that_cannot_run_is_refused_at_once(started, journal, model):
    catalog = fake_catalog(fake_model(), fake_model("huge", memory_mb=5000))
    engine = await started(catalog=catalog)
    with pytest.raises(ModelUnavailable):
        await engine.submit(submission("a", model))
    assert journal.calls == []


async def test_a_job_that_cannot_be_written_down_is_refused(started, journal, monkeypatch):
    async def create(job):
        raise JournalUnavailable("database is locked")

    engine = await started()
    monkeypatch.setattr(journal, "create", create)
    with pytest.raises(ResourceExhausted, match="try again in a minute"):
        await engine.submit(submission("a"))
    assert engine.jobs() == []


async def test_an_outcome_waits_for_the_journal(started, journal, monkeypatch):
    engine = await started()
    finished, refused = journal.finished, 0

    async def busy(job, outcome, parts):
        nonlocal refused
        if refused < 1:
            refused += 1
            raise JournalUnavailable("database is locked")
        await finished(job, outcome, parts)

    monkeypatch.setattr(journal, "finished", busy)
    job = await engine.submit(submission("a"))
    assert (await outcome_of(engine, job)).state is JobState.DONE
    assert refused == 1
    assert job.id in journal.outcomes


async def test_live_jobs_are_listed_in_order_and_counted(started):
    engine = await started()
    jobs = [await engine.submit(submission("!sleep 5", user=user)) for user in (1, 1, 2)]
    assert engine.jobs()[0] is jobs[0]
    assert {job.id for job in engine.jobs(user_id=1)} == {jobs[0].id, jobs[1].id}
    assert (engine.active_count(1), engine.active_count(2), engine.active_count(3)) == (2, 1, 0)
    assert engine.place(jobs[0].id) is None
    assert {engine.place(job.id).place for job in jobs[1:]} == {1, 2}


async def test_modalities_are_told_apart(started):
    engine = await started()
    job = await engine.submit(submission(SpeechRequest("hi"), "fake-speech"))
    assert job.modality is Modality.SPEECH
    await outcome_of(engine, job)


async def test_a_paused_server_starts_nothing_until_it_goes_on(started):
    engine = await started()
    engine.pause(10, paused=True)
    held = await engine.submit(submission("a", guild=10))
    elsewhere = await engine.submit(submission("b", guild=11))
    assert (await outcome_of(engine, elsewhere)).state is JobState.DONE
    assert held.state is JobState.QUEUED
    assert engine.place(held.id) == Waiting(1, None, paused=True)
    engine.pause(10, paused=False)
    assert (await outcome_of(engine, held)).state is JobState.DONE


async def test_members_pay_what_their_jobs_took_and_failures_are_free(started):
    engine = await started()
    queue, settled = engine._scheduler.queue, []
    settle = queue.settle
    queue.settle = lambda job, device_s: settled.append(device_s) or settle(job, device_s)
    for prompt in ("!sleep 0.1\na", "!sleep 0.1\n!refuse no"):
        await outcome_of(engine, await engine.submit(submission(prompt)))
    assert settled == [pytest.approx(0.1, abs=0.09), 0.0]
