"""The stepping loop of a worker: models, the jobs that run on them, one step at a time.

This module is the only one of the engine that loads backends. It knows no pipe and no process:
commands are handed in, reports are handed out, and ``bot.engine.process`` or a test drives it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from bot.engine import protocol
from bot.engine.protocol import (
    Cancel,
    Command,
    Go,
    Hold,
    Load,
    Report,
    Run,
    RunTogether,
    Shutdown,
    Unload,
)
from bot.engine.spool import Spool
from bot.engine.stepper import as_stepper
from bot.logs import about
from models.catalog import ModelSpec, backend_entry_point
from models.contracts import Finished, Handler, HandlerEvent, MediaInput, Stepper
from models.errors import BackendError, HandlerError, ModelLoadFailed, OutOfMemory

LoadBackend: TypeAlias = Callable[[ModelSpec, str, str], "Handler | Stepper"]
"""``load(spec, location, device)``."""

ResolveBackend: TypeAlias = Callable[[str], LoadBackend]
"""Finds the ``load`` of a backend by its name."""


def installed_backend(name: str) -> LoadBackend:
    """Find a backend among the installed entry points.

    Raises:
        ModelUnavailable: No package registers it.
    """
    load: LoadBackend = backend_entry_point(name).load()
    return load


@dataclass(slots=True)
class JobControl:
    """What a handler may use while it runs one job."""

    spool: Spool
    cancelled: bool = False
    micro_usd: int | None = 0

    def open(self, media: MediaInput) -> Path:
        return self.spool.checked_path(media)

    def store(self, data: bytes, filename: str, content_type: str) -> MediaInput:
        return self.spool.store(data, filename, content_type)

    def charge(self, micro_usd: int | None) -> None:
        self.micro_usd = micro_usd


@dataclass(slots=True)
class _Running:
    """A job that was admitted."""

    run: Run
    stepper: Stepper
    control: JobControl
    events: int = 0
    told_micro_usd: int | None = 0

    @property
    def about(self) -> AbstractContextManager[None]:
        """Have what is logged in a block name this job."""
        run = self.run
        return about(job_id=run.job_id, attempt=run.attempt, model=run.model_id)


@dataclass(slots=True)
class Worker:
    """Obeys commands and steps what runs.

    Attributes:
        device: Where models are loaded, ``cpu`` or ``cuda:0``.
        report: Takes what the engine should know.
        rss_bytes: Measures the memory of this process.
    """

    resolve: ResolveBackend
    device: str
    spool: Spool
    report: Callable[[Report], None]
    rss_bytes: Callable[[], int] = lambda: 0
    _steppers: dict[str, Stepper] = field(default_factory=dict)
    _jobs: dict[str, _Running] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return any(running.run.model_id not in self._held for running in self._jobs.values())

    def handle(self, command: Command) -> None:
        """Obey a command; ``Shutdown`` only closes the models."""
        match command:
            case Load():
                self._load(command)
            case Unload(model_id=model_id):
                self._held.discard(model_id)
                self._steppers.pop(model_id).close()
                self.report(protocol.Unloaded(model_id, self.rss_bytes()))
            case Run():
                self._admit(command)
            case RunTogether(runs=runs):
                for run in runs:
                    self._admit(run)
            case Cancel(job_id=job_id):
                self._cancel(job_id)
            case Hold(model_id=model_id):
                self._held.add(model_id)
            case Go(model_id=model_id):
                self._held.discard(model_id)
            case Shutdown():
                for stepper in self._steppers.values():
                    stepper.close()

    def note_cancel(self, job_id: str) -> None:
        """Tell a handler in the middle of a step; safe to call from another thread."""
        running = self._jobs.get(job_id)
        if running is not None:
            running.control.cancelled = True

    def step(self) -> None:
        """Advance every running job by one step, but for those that are held."""
        going = [r for r in self._jobs.values() if r.run.model_id not in self._held]
        for stepper in {id(running.stepper): running.stepper for running in going}.values():
            mine = {i: running for i, running in self._jobs.items() if running.stepper is stepper}
            first = next(iter(mine.values()))
            with first.about if len(mine) == 1 else about(model=first.run.model_id):
                try:
                    events = list(stepper.step())
                except Exception as error:  # noqa: BLE001 - a stepper that breaks ends its jobs
                    events = [(job_id, error) for job_id in mine]
            for job_id, event in events:
                self._happened(job_id, event)
        for running in self._jobs.values():
            self._tell_charge(running)

    def _load(self, command: Load) -> None:
        spec, began = command.spec, time.perf_counter()
        try:
            with about(model=spec.id):
                loaded = self.resolve(spec.backend)(spec, command.location, self.device)
        except Exception as error:  # noqa: BLE001 - whatever a library raises while it loads
            told = _translated(error, ModelLoadFailed)
            detail = _detail(error)
            self.report(protocol.LoadFailed(spec.id, told.kind, told.user_message, detail))
            return
        stepper = self._steppers[spec.id] = as_stepper(loaded)
        seconds = time.perf_counter() - began
        loaded_now = protocol.Loaded(
            spec.id, seconds, stepper.slots, self.rss_bytes(), stepper.joins, stepper.exact
        )
        self.report(loaded_now)

    def _admit(self, run: Run) -> None:
        stepper, control = self._steppers[run.model_id], JobControl(self.spool)
        running = self._jobs[run.job_id] = _Running(run, stepper, control)
        try:
            with running.about:
                stepper.admit(run.job_id, run.request, control)
        except Exception as error:  # noqa: BLE001 - it concerns this job alone
            self._happened(run.job_id, error)

    def _cancel(self, job_id: str) -> None:
        running = self._jobs.pop(job_id, None)
        if running is None:
            return
        running.control.cancelled = True
        with running.about:
            running.stepper.cancel(job_id)
        self._tell_charge(running)
        self.report(protocol.JobStopped(job_id, running.run.attempt))

    def _happened(self, job_id: str, event: HandlerEvent | Exception) -> None:
        running = self._jobs[job_id]
        attempt = running.run.attempt
        self._tell_charge(running)
        if isinstance(event, Exception):
            told = _translated(event, BackendError)
            detail = _detail(event)
            failed = protocol.JobFailed(job_id, attempt, told.kind, told.user_message, detail)
            self.report(failed)
        else:
            self.report(protocol.JobEvent(job_id, attempt, running.events, event))
            running.events += 1
        if isinstance(event, Finished | Exception):
            del self._jobs[job_id]

    def _tell_charge(self, running: _Running) -> None:
        """Tell at once what is new, so that it is known even if this worker ends before the job."""
        micro_usd = running.control.micro_usd
        if micro_usd != running.told_micro_usd:
            running.told_micro_usd = micro_usd
            self.report(protocol.JobCharged(running.run.job_id, running.run.attempt, micro_usd))


def _translated(error: Exception, otherwise: type[HandlerError]) -> HandlerError:
    """Return an error that has a sentence for the member."""
    if isinstance(error, HandlerError):
        return error
    return OutOfMemory() if isinstance(error, MemoryError) else otherwise()


def _detail(error: Exception) -> str:
    """Return what the log should say; nothing for errors that explain themselves."""
    if isinstance(error, HandlerError) and error.__cause__ is None:
        return ""
    return "".join(traceback.format_exception(error))
