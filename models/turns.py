"""Handlers as steppers: one event of a generator a step, of several jobs in turn where that suits.

This module owns whose turn it is. It must not know what the jobs do. Backends that compute several
jobs together are steppers of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from models.contracts import Control, Finished, Handler, HandlerEvent, Joins, Progress
from models.errors import BackendError

PATIENCE_S: Final = 20.0
"""Longest time that a job waits for its turn, but for the step that is under way at its end."""

_STILL_S: Final = 30.0


@dataclass(eq=False, slots=True)
class _Job:
    """A job that was taken in.

    Attributes:
        used_s: What its steps took so far.
        stepped_at: When its last step ended.
        told_at: When it last told something.
        progress: How far it said to be.
    """

    events: Iterator[HandlerEvent]
    control: Control
    stepped_at: float
    told_at: float
    used_s: float = 0.0
    progress: Progress | None = None

    def step(self) -> HandlerEvent | Exception:
        """Return the generator's next event, or the exception that ended it."""
        try:
            return next(self.events)
        except StopIteration:
            error = BackendError()
            error.__cause__ = RuntimeError("the handler returned without a Finished event")
            return error
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends this job alone
            return error

    def end(self) -> None:
        """Let the generator run its ``finally`` blocks now."""
        close = getattr(self.events, "close", None)
        if close is not None:
            close()


@dataclass(eq=False)
class Turns:
    """Runs the generators of one handler, one event a step.

    The turn is the job's that has had the least time so far: a newcomer begins at once, a short
    job ends before a long one goes on, equals alternate. But nobody waits longer than
    ``PATIENCE_S``, and who waits for long is heard of, so that it is not taken for dead.

    Attributes:
        handler: Keeps nothing of a run, where there is more than one slot.
        slots: Jobs that may be in at once.
        clock: Tells the seconds.
    """

    handler: Handler
    slots: int = 1
    clock: Callable[[], float] = time.monotonic
    joins: Joins = field(default="anytime", init=False)
    exact: bool = field(default=True, init=False)
    _jobs: dict[str, _Job] = field(default_factory=dict, init=False)

    def admit(self, job_id: str, request: Any, control: Control) -> None:
        """Take a job in."""
        now = self.clock()
        self._jobs[job_id] = _Job(iter(self.handler.run(request, control)), control, now, now)

    def step(self) -> list[tuple[str, HandlerEvent | Exception]]:
        """Return the next event of the job whose turn it is.

        A cancelled handler may return or raise as it likes: nothing is reported of it.
        """
        if not self._jobs:
            return []
        job_id, job = self._next()
        began = self.clock()
        event = job.step()
        now = job.stepped_at = job.told_at = self.clock()
        job.used_s += now - began
        if isinstance(event, Progress):
            job.progress = event
        if isinstance(event, Finished | Exception):
            self.cancel(job_id)
        if isinstance(event, Exception) and job.control.cancelled:
            return list(self._still(now))
        return [(job_id, event), *self._still(now)]

    def cancel(self, job_id: str) -> None:
        """Drop a job."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            job.end()

    def close(self) -> None:
        """Drop all jobs and free the model."""
        for job_id in tuple(self._jobs):
            self.cancel(job_id)
        self.handler.close()

    def _next(self) -> tuple[str, _Job]:
        waited = min(self._jobs.items(), key=lambda entry: entry[1].stepped_at)
        if self.clock() - waited[1].stepped_at > PATIENCE_S:
            return waited
        return min(self._jobs.items(), key=lambda entry: (entry[1].used_s, entry[1].stepped_at))

    def _still(self, now: float) -> Iterator[tuple[str, HandlerEvent]]:
        """Repeat how far the jobs are that have had no turn for long."""
        for job_id, job in self._jobs.items():
            if job.progress is not None and now - job.told_at > _STILL_S:
                job.told_at = now
                yield job_id, job.progress
