"""The runs of jobs: each from its lane to its outcome, or back into the queue.

This module owns when runs begin and what follows when one ends or its worker is lost. Which job
runs where is ``scheduler``'s decision, a run's stages are ``attempt``'s, its end is ``ending``'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from bot.engine.attempt import Attempt, Start
from bot.engine.durations import Durations
from bot.engine.ending import Endings
from bot.engine.feed import Feeds
from bot.engine.fleet import Fleet
from bot.engine.forecast import Forecast
from bot.engine.job import Job, JobState, LoadingModel, Outcome, Restarted
from bot.engine.journal import Journal, insist
from bot.engine.lane import Lane, WorkerLost
from bot.engine.meter import Meter
from bot.engine.protocol import Go, Hold
from bot.engine.residency import LaneState
from bot.engine.scheduler import Placement, Scheduler
from bot.logs import about
from bot.settings import EngineSettings
from models.catalog import Catalog
from models.errors import BackendError, HandlerError, OutOfMemory, WorkerCrashed

_log = logging.getLogger(__name__)

_MACHINES = 3
"""So many machines may be lost under a job before it may have something to do with it."""


@dataclass(slots=True, eq=False)
class Runs:
    """What runs, and what starts next.

    Attributes:
        settings: Deadlines.
        live: The jobs that run.
        tasks: What is under way for them.
        stopped: Set when nothing may start any more.
    """

    settings: EngineSettings
    catalog: Catalog
    scheduler: Scheduler
    fleet: Fleet
    forecast: Forecast
    durations: Durations
    feeds: Feeds
    endings: Endings
    journal: Journal
    meter: Meter
    live: dict[str, Attempt] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    stopped: bool = False
    _crashed: set[str] = field(default_factory=set)
    _machines_lost: Counter[str] = field(default_factory=Counter)
    _timer: asyncio.TimerHandle | None = None

    def dispatch(self) -> None:
        """Start whatever can start. Called after every change."""
        if self.stopped:
            return
        now = time.time()
        with about():  # what starts here has nothing to do with the job that made room for it
            while placement := self.scheduler.next(now):
                self._start(placement, now)
            self.forecast.changed()
            self.fleet.plan_idle_unload()
            self._plan_giving_way(now)

    def _start(self, placement: Placement, now: float) -> None:
        """Start the job of a placement, and those that begin together with it."""
        jobs = (placement.job, *placement.together)
        start, loading = Start(self.fleet.lane(placement.lane), len(jobs)), None
        if placement.hold is not None:
            self._hold(start.lane, placement.hold)
        for job in jobs:
            self._enter(job, placement.lane, now)
        if placement.evictions is not None:
            spec = self.catalog.get(placement.job.submission.model_id)
            self.fleet.reserve(placement, spec)
            loading = self.spawn(self.fleet.load(placement, spec))
            about_to_load = LoadingModel(spec.name, self.durations.load_s(spec))
            self.feeds[placement.job.id].publish(about_to_load)
        for job in jobs:
            attempt = Attempt(job, start, self.feeds[job.id], self.settings, self.meter)
            self.live[job.id] = attempt
            self.spawn(self._run(attempt, loading))

    def _enter(self, job: Job, lane: LaneState, now: float) -> None:
        """Note that a job runs on a lane."""
        self.forecast.began(job)
        job.state, job.started_at, job.load_s = JobState.RUNNING, now, 0.0
        job.attempt += 1
        job.lane = lane.name
        lane.jobs[job.id] = job
        self.meter.started(job)
        if job.attempt > 1:
            self.feeds[job.id].publish(Restarted(job.attempt))

    # ----------------------------------------------------------------- giving way

    def _hold(self, lane: Lane, model_id: str) -> None:
        """Let the jobs of a model stand still for one of another model."""
        lane.state.hold(model_id, time.time())
        self.spawn(lane.send(Hold(model_id)))
        for job in lane.state.jobs_of(model_id):
            self.live[job.id].give_way()

    def _go_on(self, lane: Lane) -> None:
        """Let jobs go on that gave way, once what they gave way to is over."""
        state = lane.state
        if state.held is None or len(state.jobs_of(state.held)) < len(state.jobs):
            return
        self.spawn(lane.send(Go(state.held)))
        for job in state.jobs.values():
            self.live[job.id].go_on()
        state.go_on(time.time())

    def _plan_giving_way(self, now: float) -> None:
        """Look again when the next long job gives way, where anybody waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [lane.gives_way_at() for lane in self.fleet.residency.lanes]
        ahead = [at for at in times if at is not None and at > now]
        if ahead and self.scheduler.queue:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(ahead) - now, self.dispatch)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    # ----------------------------------------------------------------- the life of a job

    async def _run(self, attempt: Attempt, loading: asyncio.Task[None] | None) -> None:
        """Take a job from its lane to its outcome, or back into the queue."""
        job = attempt.job
        with about(**job.log_fields):
            noted, outcome = self.spawn(insist(self.journal.started, job)), None
            try:
                outcome = await self._outcome(attempt, loading)
            finally:
                job.charge(attempt.micro_usd)
                self._release(attempt, outcome)
            await noted
            if outcome is None:
                await self._requeue(job)
            else:
                await self.endings.end(job, outcome)

    async def _outcome(
        self, attempt: Attempt, loading: asyncio.Task[None] | None
    ) -> Outcome | None:
        """Run an attempt; None means that the job deserves another."""
        try:
            outcome = await attempt.run(loading)
        except WorkerLost as lost:
            return self._after_loss(attempt, lost)
        except HandlerError as error:
            return attempt.failed_outcome(error)
        except Exception:  # noqa: BLE001 - nothing may leave a job without an outcome
            _log.exception("job %s met a fault of the engine", attempt.job.id)
            return attempt.failed_outcome(BackendError())
        if outcome.state is JobState.DONE:
            usage = outcome.result.usage if outcome.result else None
            self.durations.ran(attempt.job, attempt.run_s, usage)
            self.meter.ran(attempt.job, attempt.run_s)
        return outcome

    def _after_loss(self, attempt: Attempt, lost: WorkerLost) -> Outcome | None:
        """Decide what becomes of a job whose worker is gone.

        Only a job that ran alone can be held responsible. Jobs that shared the worker run again
        one by one, so that the one which ends workers is found without harm to the others. A lost
        machine is nobody's fault, unless the same job is there time and again.
        """
        job = attempt.job
        if attempt.stopping is not None:
            return attempt.stopped_outcome()
        if lost.blamed is not None:
            return None
        if lost.innocent and self._machines_lost[job.id] < _MACHINES:
            self._machines_lost[job.id] += lost.started
            return None
        if len(lost.jobs) > 1:
            self.scheduler.run_alone(job)
            return None
        if isinstance(lost.cause, OutOfMemory):
            return attempt.failed_outcome(lost.cause)
        if job.id in self._crashed:
            return attempt.failed_outcome(WorkerCrashed())
        self._crashed.add(job.id)
        return None

    def _release(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """Let the lane go on with others while this job is written down.

        Its member pays what it took; an attempt that failed is paid for by nobody.
        """
        job, state = attempt.job, attempt.lane.state
        failed = outcome is None or outcome.state is JobState.FAILED
        self.scheduler.queue.settle(job, 0.0 if failed else attempt.device_s)
        del state.jobs[job.id], self.live[job.id]
        resident = state.residents.get(job.submission.model_id)
        if resident is not None:
            resident.last_used = time.time()
        self._go_on(attempt.lane)
        self.fleet.upkeep.rested(attempt.lane)
        self.dispatch()

    async def _requeue(self, job: Job) -> None:
        job.state = JobState.QUEUED
        self.scheduler.queue.put_back(job)
        await insist(self.journal.requeued, job)
        self.dispatch()

    def forget(self, job: Job) -> None:
        """Drop what was kept about a job that has ended."""
        self._crashed.discard(job.id)
        self._machines_lost.pop(job.id, None)
        self.scheduler.forget(job)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside; a fault of it is logged."""
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, HandlerError | WorkerLost):
            _log.error("a task of the engine failed", exc_info=error)
