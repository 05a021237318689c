"""The stepping loop by itself: commands in, reports out."""

from __future__ import annotations

import pytest

from bot.engine import protocol
from bot.engine.protocol import (
    Cancel,
    JobCharged,
    JobEvent,
    JobFailed,
    JobStopped,
    Load,
    Run,
    RunTogether,
    Shutdown,
    Unload,
)
from bot.engine.spool import Spool
from bot.engine.worker import JobControl, Worker, installed_backend
from models.contracts import Finished, Progress, TextDelta, TextResult, Usage
from models.errors import BackendUnreachable, ModelUnavailable, OutOfMemory
from models.turns import Turns
from tests.fakes import fake_model, text_request


class Recorded:
    """A handler that yields what it is given and notes its end."""

    def __init__(self, *events) -> None:
        self.events = events
        self.ended = self.closed = False

    def run(self, request, control):
        self.control = control
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.ended = True

    def close(self):
        self.closed = True


class Bench:
    """A worker with one model whose reports are collected."""

    def __init__(self, tmp_path, loaded) -> None:
        def load(spec, location, device):
            if isinstance(loaded, Exception):
                raise loaded
            return loaded

        self.reports = []
        self.worker = Worker(lambda name: load, "cpu", Spool(tmp_path), self.reports.append)
        self.worker.handle(Load(fake_model("m"), "/nowhere"))

    def run(self, job_id: str = "job") -> None:
        self.worker.handle(Run(job_id, 1, "m", text_request("hi")))

    def step(self, times: int = 1):
        self.reports.clear()
        for _ in range(times):
            self.worker.step()
        return self.reports


DONE = Finished(TextResult("done", Usage(1, "tokens")))


def test_events_are_numbered_and_the_job_leaves_after_the_last(tmp_path):
    bench = Bench(tmp_path, Recorded(TextDelta("a"), Progress("b"), DONE))
    bench.run()
    assert bench.worker.busy
    assert bench.step(3) == [
        JobEvent("job", 1, 0, TextDelta("a")),
        JobEvent("job", 1, 1, Progress("b")),
        JobEvent("job", 1, 2, DONE),
    ]
    assert not bench.worker.busy


def test_one_event_is_one_step(tmp_path):
    bench = Bench(tmp_path, Recorded(TextDelta("a"), TextDelta("b"), DONE))
    bench.run()
    assert len(bench.step()) == 1


def test_a_cancel_ends_the_generator_now(tmp_path):
    handler = Recorded(TextDelta("a"), TextDelta("b"), DONE)
    bench = Bench(tmp_path, handler)
    bench.run()
    bench.step()
    bench.reports.clear()
    bench.worker.handle(Cancel("job"))
    assert bench.reports == [JobStopped("job", 1)]
    assert handler.ended
    assert not bench.worker.busy
    bench.worker.handle(Cancel("job"))
    assert len(bench.reports) == 1


@pytest.mark.parametrize("reaction", [ValueError("interrupted"), None])
def test_a_handler_may_end_as_it_likes_once_it_is_cancelled(tmp_path, reaction):
    bench = Bench(tmp_path, Recorded(*([reaction] if reaction else [])))
    bench.run()
    bench.worker.note_cancel("job")
    assert bench.step() == []
    bench.worker.handle(Cancel("job"))
    assert bench.reports == [JobStopped("job", 1)]


def test_a_note_reaches_a_handler_in_mid_step(tmp_path):
    handler = Recorded(TextDelta("a"), DONE)
    bench = Bench(tmp_path, handler)
    bench.run()
    bench.step()
    assert handler.control.cancelled is False
    bench.worker.note_cancel("job")
    assert handler.control.cancelled is True


@pytest.mark.parametrize(
    ("error", "kind", "has_detail"),
    [
        (BackendUnreachable(), "backend_unreachable", False),
        (MemoryError(), "out_of_memory", True),
        (KeyError("x"), "backend_error", True),
    ],
)
def test_errors_are_translated_at_the_border(tmp_path, error, kind, has_detail):
    bench = Bench(tmp_path, Recorded(error))
    bench.run()
    (failed,) = bench.step()
    assert isinstance(failed, JobFailed)
    assert failed.kind == kind
    assert bool(failed.detail) is has_detail


def test_the_cause_of_a_translated_error_is_kept_for_the_log(tmp_path):
    error = OutOfMemory()
    error.__cause__ = RuntimeError("CUDA out of memory")
    bench = Bench(tmp_path, Recorded(error))
    bench.run()
    assert "CUDA out of memory" in bench.step()[0].detail


def test_a_load_that_fails_is_reported(tmp_path):
    bench = Bench(tmp_path, ValueError("bad header"))
    (report,) = bench.reports
    assert (report.kind, report.model_id) == ("model_load_failed", "m")
    assert "bad header" in report.detail


def test_a_model_is_closed_when_it_is_freed_and_at_the_end(tmp_path):
    for command in (Unload("m"), Shutdown()):
        handler = Recorded()
        Bench(tmp_path, handler).worker.handle(command)
        assert handler.closed


class BrokenBatch:
    """A stepper of two slots that fails as a whole."""

    slots, joins, exact = 2, "start", False

    def admit(self, job_id, request, control):
        if job_id == "refused":
            raise ValueError("no")

    def step(self):
        raise RuntimeError("the batch is broken")

    def cancel(self, job_id): ...

    def close(self): ...


def test_a_stepper_that_breaks_ends_its_jobs_and_no_others(tmp_path):
    bench = Bench(tmp_path, BrokenBatch())
    loaded = bench.reports[0]
    assert (loaded.slots, loaded.joins, loaded.exact) == (2, "start", False)
    bench.run("one")
    bench.run("two")
    assert {report.job_id for report in bench.step()} == {"one", "two"}
    assert all(isinstance(report, JobFailed) for report in bench.reports)
    assert not bench.worker.busy


class InStep:
    """A stepper that tells in each step who is in."""

    slots, joins, exact = 3, "start", False

    def __init__(self) -> None:
        self.jobs, self.steps = [], []

    def admit(self, job_id, request, control):
        if job_id == "refused":
            raise ValueError("no")
        self.jobs.append(job_id)

    def step(self):
        self.steps.append(tuple(self.jobs))
        return [(job_id, Progress("drawing")) for job_id in self.jobs]

    def cancel(self, job_id):
        self.jobs.remove(job_id)

    def close(self): ...


def test_jobs_that_start_together_are_all_in_before_the_first_step(tmp_path):
    stepper = InStep()
    bench = Bench(tmp_path, stepper)
    runs = [Run(job_id, 1, "m", text_request("hi")) for job_id in ("one", "refused", "two")]
    bench.worker.handle(RunTogether(tuple(runs)))
    bench.step()
    bench.worker.handle(Cancel("one"))
    assert [report.job_id for report in bench.step()] == ["two"]
    assert stepper.steps == [("one", "two"), ("two",)]


def test_a_refused_admission_ends_that_job(tmp_path):
    bench = Bench(tmp_path, BrokenBatch())
    bench.run("refused")
    assert bench.reports[-1].job_id == "refused"
    assert not bench.worker.busy


def test_a_generator_can_run_after_another(tmp_path):
    stepper = Turns(Recorded(DONE))
    for job_id in ("one", "two"):
        stepper.admit(job_id, text_request("x"), JobControl(Spool(tmp_path)))
        assert stepper.step() == [(job_id, DONE)]
    assert stepper.step() == []


def test_an_unknown_backend_is_named():
    with pytest.raises(ModelUnavailable, match="no-such-backend"):
        installed_backend("no-such-backend")


class Silent:
    """A stepper that has nothing to say of its jobs: they wait for a server."""

    slots, joins, exact = 2, "anytime", True

    def __init__(self) -> None:
        self.controls = {}

    def admit(self, job_id, request, control):
        self.controls[job_id] = control

    def step(self):
        return []

    def cancel(self, job_id):
        self.controls[job_id].charge(900)

    def close(self):
        pass


def test_a_charge_is_told_once_and_without_waiting_for_an_event(tmp_path):
    stepper = Silent()
    bench = Bench(tmp_path, stepper)
    for job_id in ("one", "two"):
        bench.run(job_id)
    assert bench.step() == []
    stepper.controls["two"].charge(700)
    assert bench.step(2) == [JobCharged("two", 1, 700)]
    stepper.controls["two"].charge(None)
    assert bench.step() == [JobCharged("two", 1, None)]


def test_a_charge_comes_before_the_end(tmp_path):
    class Paid(Recorded):
        def run(self, request, control):
            control.charge(700)
            yield from super().run(request, control)

    for events in ([DONE], [BackendUnreachable()]):
        bench = Bench(tmp_path, Paid(*events))
        bench.run()
        charged, ended = bench.step()
        assert charged == JobCharged("job", 1, 700)
        assert isinstance(ended, JobEvent | JobFailed)


def test_what_a_cancel_costs_is_told_before_the_job_stops(tmp_path):
    bench = Bench(tmp_path, Silent())
    bench.run()
    bench.reports.clear()
    bench.worker.handle(Cancel("job"))
    assert bench.reports == [JobCharged("job", 1, 900), JobStopped("job", 1)]


@pytest.mark.parametrize(
    "report",
    [
        protocol.Ready(1),
        protocol.Loaded("m", 1.5, 2, 100, "anytime", exact=True),
        protocol.Loaded("m", 1.5, 2, 100, "start", exact=False, vram_bytes=1 << 30),
        protocol.LoadFailed("m", "k", "s", "d"),
        protocol.Unloaded("m", 100),
        JobEvent("j", 1, 0, DONE),
        JobCharged("j", 1, 5),
        JobCharged("j", 1, None),
        JobFailed("j", 1, "k", "s", "d"),
        JobStopped("j", 1),
        protocol.Vital(100, 200),
    ],
)
def test_reports_cross_the_pipe_unchanged(report):
    assert protocol.decode_report(protocol.encode_report(report)) == report


@pytest.mark.parametrize(
    "command",
    [
        Load(fake_model(options={"a": 1}, capabilities=["seed"]), "/x"),
        Unload("m"),
        Run("j", 2, "m", text_request("hi", seed=3)),
        RunTogether((Run("j", 2, "m", text_request("hi")), Run("k", 1, "m", text_request("ho")))),
        Cancel("j"),
        Shutdown(),
    ],
)
def test_commands_cross_the_pipe_unchanged(command):
    assert protocol.decode_command(protocol.encode_command(command)) == command
