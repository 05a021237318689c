"""One attempt at a job: from the loading of its model to the last report.

This module owns the stages and their deadlines, and how a job is stopped: asked first, and the
worker ended when it does not listen. It must not decide what follows a failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from bot.engine.feed import Feed
from bot.engine.job import GivesWay, Job, JobState, Outcome
from bot.engine.lane import JobReport, Lane, WorkerLost
from bot.engine.meter import Meter
from bot.engine.protocol import (
    Cancel,
    JobCharged,
    JobEvent,
    JobFailed,
    JobStopped,
    Run,
    RunTogether,
)
from bot.settings import EngineSettings
from models.contracts import Finished, Notice, Preview, Progress, Result, TextDelta
from models.errors import DeadlineExceeded, HandlerError, JobCancelled, error_of_kind

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stop:
    """Somebody, or a deadline, wants the job to stop."""

    error: HandlerError


@dataclass(frozen=True, slots=True)
class _Turn:
    """The job gives way to another, or goes on."""

    held: bool


class Start:
    """The start of jobs on a lane: one command for all that begin together.

    Args:
        lane: Where they run.
        number: How many they are. They are sent once each of them listens to its reports.
    """

    def __init__(self, lane: Lane, number: int = 1) -> None:
        self.lane = lane
        self._number = number
        self._runs: list[Run] = []

    async def run(self, run: Run) -> None:
        """Send a job's run, or keep it for the others."""
        self._runs.append(run)
        if len(self._runs) == self._number:
            alone = self._number == 1
            await self.lane.send(run if alone else RunTogether(tuple(self._runs)))


class Attempt:
    """A job on a lane.

    Attributes:
        stopping: Why the job is being stopped, None while it is not.
        micro_usd: What a provider charges for this attempt so far; None is unknown.
    """

    def __init__(
        self, job: Job, start: Start, feed: Feed, settings: EngineSettings, meter: Meter
    ) -> None:
        self.job = job
        self.lane = start.lane
        self.stopping: HandlerError | None = None
        self.micro_usd: int | None = 0
        self._start = start
        self._feed = feed
        self._settings = settings
        self._meter = meter
        self._heard_of = False
        self._progress: Progress | None = None
        self._due: float | None = None
        self._run_began = 0.0
        self._held_at: float | None = None
        self._device_s_before = job.device_s
        self._inbox: asyncio.Queue[JobReport | _Stop | _Turn] = asyncio.Queue()

    @property
    def run_s(self) -> float:
        """Seconds since the job itself began, without the loading of its model."""
        return time.time() - self._run_began

    @property
    def device_s(self) -> float:
        """Seconds of the lane that were this attempt's own, once it is over."""
        return self.job.device_s - self._device_s_before

    def stop(self, error: HandlerError) -> None:
        """Have the job end with an error, at the next step or, after a grace, by force."""
        self._inbox.put_nowait(_Stop(error))

    def give_way(self) -> None:
        """Stand still for another job: until ``go_on`` nothing is expected, and nothing counted."""
        self._inbox.put_nowait(_Turn(held=True))

    def go_on(self) -> None:
        """Go on after another job."""
        self._inbox.put_nowait(_Turn(held=False))

    async def run(self, loading: asyncio.Task[None] | None) -> Outcome:
        """Follow the job to its end.

        Raises:
            HandlerError: The job failed.
            WorkerLost: The worker is gone, and the job with it.
        """
        self.lane.listen(self.job.id, self._inbox.put_nowait)
        try:
            if loading is not None and not await self._model_loaded(loading):
                return self.stopped_outcome()
            self._run_began = time.time()
            self.lane.state.begin(self.job, asyncio.get_running_loop().time())
            submission = self.job.submission
            run = Run(self.job.id, self.job.attempt, submission.model_id, submission.request)
            await self._start.run(run)
            return await self._follow()
        finally:
            self.lane.state.end(self.job, asyncio.get_running_loop().time())
            self.lane.release(self.job.id)

    def stopped_outcome(self) -> Outcome:
        """Return how a job ends that was stopped."""
        cancelled = isinstance(self.stopping, JobCancelled)
        state = JobState.CANCELLED if cancelled else JobState.EXPIRED
        return self._outcome(state, error=self.stopping)

    def failed_outcome(self, error: HandlerError) -> Outcome:
        """Return how a job ends that failed."""
        late = isinstance(error, DeadlineExceeded)
        return self._outcome(JobState.EXPIRED if late else JobState.FAILED, error=error)

    async def _model_loaded(self, loading: asyncio.Task[None]) -> bool:
        """Wait for the model; False when the job is stopped first. The load goes on then."""
        while not loading.done():
            message = asyncio.ensure_future(self._inbox.get())
            await asyncio.wait({loading, message}, return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                message.cancel()
            elif isinstance(stop := message.result(), _Stop):
                self.stopping = stop.error
                return False
        loading.result()
        return True

    async def _follow(self) -> Outcome:
        self._due_in(self._settings.first_event_deadline_s)
        while True:
            try:
                async with asyncio.timeout_at(self._due):
                    message = await self._inbox.get()
            except TimeoutError:
                await self._overdue()
                continue
            if isinstance(message, JobEvent) and not self._heard_of:
                self._heard_of = True
                self._meter.first_event(self.job, self.run_s)
            match message:
                case WorkerLost():
                    raise message
                case _Stop(error=error):
                    await self._ask_to_stop(error)
                case _Turn(held=held):
                    self._turn(held=held)
                case JobCharged(micro_usd=micro_usd):
                    self.micro_usd = micro_usd
                case JobStopped():
                    return self.stopped_outcome()
                case JobFailed():
                    return self._failure(message)
                case JobEvent(event=Finished(result=result)):
                    return self._outcome(JobState.DONE, result=result)
                case JobEvent(event=Progress() | TextDelta() | Preview() | Notice() as event):
                    if isinstance(event, Progress):
                        self._progress = event
                    self._feed.publish(event)
                    if self._held_at is not None:  # it was on its way
                        self._feed.publish(GivesWay())
                    elif self.stopping is None:
                        self._due_in(self._settings.event_gap_deadline_s)

    def _turn(self, *, held: bool) -> None:
        """Stop the clocks of a job that gives way, or start them again."""
        state, now = self.lane.state, asyncio.get_running_loop().time()
        if held:
            self._held_at = now
            state.end(self.job, now)
            self._feed.publish(GivesWay())
        elif self._held_at is not None:
            self._run_began += now - self._held_at
            self._held_at = None
            state.begin(self.job, now)
            if self._progress is not None:
                self._feed.publish(self._progress)
        if self.stopping is None:
            self._due = None if held else now + self._settings.event_gap_deadline_s

    async def _overdue(self) -> None:
        """Stop a job that missed its deadline; end the worker of one that was to stop."""
        if self.stopping is None:
            await self._ask_to_stop(DeadlineExceeded())
        else:
            self._due_in(self._settings.cancel_grace_s)
            reason = f"job {self.job.id} does not stop"
            await self.lane.kill(reason, cause=self.stopping, blamed=self.job.id)

    async def _ask_to_stop(self, error: HandlerError) -> None:
        if self.stopping is None:
            self.stopping = error
            self._due_in(self._settings.cancel_grace_s)
            await self.lane.send(Cancel(self.job.id))

    def _failure(self, report: JobFailed) -> Outcome:
        if report.detail:
            _log.error("job %s failed: %s", self.job.id, report.detail)
        if self.stopping is not None:
            return self.stopped_outcome()
        return self.failed_outcome(error_of_kind(report.kind, report.user_message))

    def _outcome(
        self, state: JobState, *, result: Result | None = None, error: HandlerError | None = None
    ) -> Outcome:
        partial = "" if result is not None else self._feed.answer
        return Outcome(state, result, error, partial, self._feed.notices)

    def _due_in(self, seconds: float) -> None:
        self._due = asyncio.get_running_loop().time() + seconds
