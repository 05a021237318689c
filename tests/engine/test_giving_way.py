"""A long transcription lets short jobs of other models go first."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from bot.engine.job import GivesWay, JobState
from bot.engine.protocol import Cancel, Go, Hold, Load, Run, decode_command, encode_command
from bot.engine.spool import Spool
from bot.engine.worker import Worker
from models.contracts import Modality, TranscriptionRequest
from models.errors import JobCancelled
from tests.engine.conftest import until
from tests.engine.test_forecast import Oracle
from tests.engine.test_scheduler import NOW, Desk
from tests.engine.test_worker import InStep
from tests.fakes import fake_catalog, fake_model, outcome_of, submission, text_request

HOUR = "!delay 5\n!words 720"
EARS = fake_model("ears", Modality.TRANSCRIPTION, memory_mb=400, options={"script": HOUR})
TEXT = fake_model("text", memory_mb=400)


# --------------------------------------------------------------------------- the decision


class Counter(Desk):
    """A desk at which a sound is written down since a while."""

    def __init__(self, *models, since_s: float = 40.0, **options) -> None:
        super().__init__(*(models or (EARS, TEXT)), **options)
        self.load("ears", slots=4)
        self.ask("long", "ears", at=NOW - since_s)
        self.start(NOW - since_s)


def test_a_short_job_goes_before_a_long_one_that_has_run_for_a_while():
    desk = Counter(since_s=29.0)
    desk.ask("short", "text", user=2)
    assert desk.start() is None
    placement = desk.start(NOW + 1.0)
    assert (placement.job.id, placement.hold, placement.evictions) == ("short", "ears", ())


def test_a_job_works_for_as_long_as_it_gave_way_and_for_a_while_at_least():
    for rested_s, works_s in ((5.0, 30.0), (50.0, 50.0)):
        desk = Counter()
        [lane] = desk.lanes
        for name in ("short", "next"):
            desk.ask(name, "text", user=2)
        assert desk.start().job.id == "short"
        lane.hold("ears", NOW)
        assert desk.start() is None
        del lane.jobs["short"]
        lane.go_on(NOW + rested_s)
        assert desk.start(NOW + rested_s + works_s - 1.0) is None
        assert desk.start(NOW + rested_s + works_s).job.id == "next"


def test_short_jobs_join_for_a_while_what_a_long_one_gave_way_to():
    desk = Counter()
    [lane] = desk.lanes
    desk.ask("short", "text", user=2)
    desk.start()
    lane.hold("ears", NOW)
    desk.load("text", slots=4)
    desk.ask("joins", "text", user=3)
    placement = desk.start(NOW + 29.0)
    assert (placement.job.id, placement.hold) == ("joins", None)
    desk.ask("another sound", "ears", user=4, at=NOW + 29.0)
    assert desk.start(NOW + 29.0) is None, "it would stand still at once"
    desk.scheduler.queue.remove("another sound")
    desk.ask("late", "text", user=5, at=NOW + 30.0)
    assert desk.start(NOW + 30.0) is None
    desk.durations.ran(desk.make("measured", "text"), 31.0)
    assert desk.start(NOW + 20.0) is None, "it is not short"


def test_who_waits_behind_a_long_job_is_told_when_it_gives_way():
    desk = Oracle(EARS, TEXT)
    for model in ("ears", "text"):
        desk.load(model)
    for model, seconds in (("ears", 3600.0), ("text", 10.0)):
        desk.measure(seconds, model)
    desk.ask("hour", "ears")
    desk.start()
    for user in (2, 3):
        desk.ask(f"short{user}", "text", user=user)
    desk.ask("another hour", "ears", user=4)
    desk.now = NOW + 12.0
    waits = {name: waiting.eta_s for name, waiting in desk.waits().items()}
    assert waits == {
        "short2": 18.0,
        "short3": 18.0 + 10.0 + 30.0,
        "another hour": 3600.0 - 12.0 + 20.0,
    }


def test_no_job_gives_way_to_a_long_one():
    desk = Counter()
    desk.durations.ran(desk.make("measured", "text"), 31.0)
    desk.ask("takes long", "text", user=2)
    assert desk.start() is None


def test_nothing_else_gives_way_nor_where_memory_is_short():
    desk = Desk(TEXT, fake_model("other"))
    desk.ask("long", "text")
    desk.start(NOW - 100)
    desk.ask("waits", "other", user=2)
    assert desk.start() is None
    desk = Counter(budget_mb=700)
    desk.ask("too large", "text", user=2)
    assert desk.start() is None


# --------------------------------------------------------------------------- the worker


def test_a_worker_steps_no_job_of_a_model_that_is_held(tmp_path):
    held, going, reports = InStep(), InStep(), []
    steppers = {"held": held, "going": going}
    worker = Worker(
        lambda name: lambda spec, *_: steppers[spec.id], "cpu", Spool(tmp_path), reports.append
    )
    for model in steppers:
        worker.handle(Load(fake_model(model), "/nowhere"))
        worker.handle(Run(f"job of {model}", 1, model, text_request("hi")))
    worker.handle(Hold("held"))
    worker.step()
    assert (len(held.steps), len(going.steps), worker.busy) == (0, 1, True)
    worker.handle(Cancel("job of going"))
    assert not worker.busy
    worker.handle(Go("held"))
    assert worker.busy
    worker.step()
    assert (len(held.steps), len(going.steps)) == (1, 1)


def test_both_commands_cross_the_pipe_unchanged():
    for command in (Hold("ears"), Go("ears")):
        assert decode_command(encode_command(command)) == command


# --------------------------------------------------------------------------- the engine


@pytest.fixture
async def listening(started, journal, tmp_path, monkeypatch):
    """Return an engine that writes down an hour, and its job."""
    media = Spool(tmp_path).store(b"x" * 1000, "hour.wav", "audio/wav")
    monkeypatch.setattr(journal, "media_in_use", partial(asyncio.sleep, 0, {media.path}))
    engine = await started(catalog=fake_catalog(EARS, TEXT), event_gap_deadline_s=20)
    job = await engine.submit(submission(TranscriptionRequest(media), "ears", user=1))
    await until(lambda: job.state is JobState.RUNNING)
    return engine, job


async def test_both_end_and_the_wait_counts_for_no_deadline(listening):
    engine, long_job = listening
    loop = asyncio.get_running_loop()
    shorts = []
    for user in (2, 3):
        asked_at = loop.time()
        short = await engine.submit(submission("!delay 5\none two three four", "text", user=user))
        assert (await outcome_of(engine, short)).state is JobState.DONE
        assert loop.time() - asked_at < 20 + 30 + 10
        shorts.append(short)
    assert (long_job.state, long_job.attempt) == (JobState.RUNNING, 1)
    sights = [sight async for sight in engine.watch(long_job.id)]
    assert sights[-1].outcome.state is JobState.DONE
    assert len(sights[-1].outcome.result.segments[0].text.split()) == 720
    assert long_job.device_s == pytest.approx(3600, abs=30)
    assert [short.device_s for short in shorts] == pytest.approx([20, 20], abs=1)


async def test_who_watches_reads_that_the_job_gives_way(listening):
    engine, long_job = listening
    short = await engine.submit(submission("!sleep 10\nshort", "text", user=2))
    async for sight in engine.watch(long_job.id):
        if isinstance(sight, GivesWay):
            break
    assert short.state is JobState.RUNNING


async def test_a_job_that_gives_way_can_be_stopped(listening):
    engine, long_job = listening
    short = await engine.submit(submission("!delay 1\n!words 30", "text", user=2))
    await until(lambda: short.state is JobState.RUNNING)
    await engine.cancel(long_job.id)
    assert isinstance((await outcome_of(engine, long_job)).error, JobCancelled)
    assert (await outcome_of(engine, short)).state is JobState.DONE
    [lane] = [lane for lane in engine._fleet.residency.lanes if lane.kind == "cpu"]
    assert (short.attempt, lane.held) == (1, None)


async def test_a_crash_of_the_short_job_brings_the_long_one_back(listening):
    engine, long_job = listening
    short = await engine.submit(submission("a\n!crash", "text", user=2))
    assert (await outcome_of(engine, short)).state is JobState.FAILED
    assert (await outcome_of(engine, long_job)).state is JobState.DONE
