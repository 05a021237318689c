"""The engine with inline workers: outcomes, order, cancel, retries, residency, recovery."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from bot.engine.job import (
    Ended,
    Job,
    JobState,
    LoadingModel,
    Restarted,
    Waiting,
)
from bot.engine.journal import JournalUnavailable
from bot.engine.lane import Lane
from bot.engine.spool import Spool
from models.catalog import Catalog
from models.contracts import (
    ImageRequest,
    Modality,
    Notice,
    Preview,
    Progress,
    SpeechRequest,
    TextDelta,
)
from models.errors import (
    DeadlineExceeded,
    JobCancelled,
    LimitReached,
    ModelNotInstalled,
    ModelUnavailable,
    ResourceExhausted,
    UnsupportedOption,
    WorkerCrashed,
)
from tests.fakes import (
    FakeWeights,
    MemoryJournal,
    Stage,
    fake_catalog,
    fake_engine,
    fake_model,
    outcome_of,
    submission,
)


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
async def started(stage, journal, tmp_path):
    """Return a function that starts an engine; all are closed at the end."""
    engines = []

    async def start(**options):
        options.setdefault("journal", journal)
        engine = fake_engine(stage.start_worker, tmp_path, **options)
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.close()


async def until(condition, limit_s: float = 3.0) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


def text_in(sights) -> str:
    return "".join(sight.text for sight in sights if isinstance(sight, TextDelta))


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
    present = engine._present

    def fail_once(job, outcome):
        if outcome.state is JobState.DONE:
            raise ValueError("cannot show this")
        return present(job, outcome)

    monkeypatch.setattr(engine, "_present", fail_once)
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


# --------------------------------------------------------------------------- watching


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
    assert len(outcome.partial_text.split()) < 20
    following = await engine.submit(submission("fine"))
    assert (await outcome_of(engine, following)).state is JobState.DONE
    assert len(stage.ports) == 1, "the worker survived"


async def test_a_job_whose_model_loads_is_cancelled_at_once_and_the_load_goes_on(started, stage):
    slow = fake_model(options={"load": "!sleep 0.6"})
    engine = await started(catalog=fake_catalog(slow))
    job = await engine.submit(submission("a"))
    began = time.monotonic()
    await engine.cancel(job.id)
    assert (await outcome_of(engine, job)).state is JobState.CANCELLED
    assert time.monotonic() - began < 0.5
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
    assert len(stage.ports) == 2
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
    assert not engine._crashed


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
    began = time.monotonic()
    jobs = [await engine.submit(submission("!sleep 0.5\na")) for _ in range(2)]
    for job in jobs:
        assert (await outcome_of(engine, job)).state is JobState.DONE
    assert time.monotonic() - began < 0.95
    assert len(stage.ports) == 2


async def test_modalities_are_told_apart(started):
    engine = await started()
    job = await engine.submit(submission(SpeechRequest("hi"), "fake-speech"))
    assert job.modality is Modality.SPEECH
    await outcome_of(engine, job)


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
    began = time.monotonic()
    await engine.drain()
    await engine.close()
    assert time.monotonic() - began < 1.0
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


async def test_refusals_keep_their_kind_across_the_pipe(started):
    engine = await started()
    job = await engine.submit(submission("!refuse no"))
    assert type((await outcome_of(engine, job)).error) is UnsupportedOption
