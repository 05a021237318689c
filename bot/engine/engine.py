"""The engine: takes jobs, runs each of them to one outcome, and loses none.

This module owns the life of a job from its submission to its outcome. Which job runs where is
``scheduler``'s decision, a run's stages are ``attempt``'s, its end is ``ending``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from functools import partial
from typing import Any

from bot.engine.attempt import Attempt, Start
from bot.engine.durations import Durations, usual_steps
from bot.engine.ending import Endings, Observer, Present
from bot.engine.feed import Feeds, Sight
from bot.engine.fleet import Fleet
from bot.engine.forecast import Forecast
from bot.engine.job import (
    Job,
    JobState,
    LoadingModel,
    Outcome,
    Restarted,
    Submission,
    Waiting,
    new_job_id,
)
from bot.engine.journal import Journal, JournalUnavailable, insist
from bot.engine.lane import WorkerLost
from bot.engine.lookahead import Lookahead
from bot.engine.meter import SILENT, Meter
from bot.engine.port import Workers
from bot.engine.residency import LaneState
from bot.engine.scheduler import Placement, Scheduler
from bot.engine.spool import Spool, keep_swept
from bot.logs import about
from bot.settings import EngineSettings
from models.catalog import Catalog, ModelSpec
from models.contracts import Modality
from models.errors import (
    BackendError,
    HandlerError,
    JobCancelled,
    LimitReached,
    ModelUnavailable,
    OutOfMemory,
    ResourceExhausted,
    WorkerCrashed,
)
from models.prices import most_micro_usd
from models.weights import Places

_log = logging.getLogger(__name__)

_MACHINES = 3
"""So many machines may be lost under a job before it may have something to do with it."""

MOST_DEATHS = 3
"""A job that ran as often when the bot died is not tried again."""


class Engine:
    """Runs jobs.

    Args:
        settings: Lanes, budget, deadlines.
        catalog: The models.
        weights: Where their weights are.
        journal: The lasting record.
        spool: Files under way; swept of what nothing refers to.
        present: Turns an outcome into the parts of the answer, as JSON.
        workers: Where workers come from.
        meter: Is told what happens.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        catalog: Catalog,
        weights: Places,
        journal: Journal,
        spool: Spool,
        present: Present,
        workers: Workers,
        meter: Meter = SILENT,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._journal = journal
        self._spool = spool
        self._meter = meter
        self._durations = Durations(usual_steps(catalog))
        self._fleet = Fleet(
            settings, weights, catalog.tools, self._durations, workers, self._dispatch, meter
        )
        residency = self._fleet.residency
        self._scheduler = Scheduler(catalog, residency, self._durations)
        lookahead = partial(Lookahead, catalog, residency, self._durations)
        self._forecast = Forecast(
            self._scheduler.queue,
            lookahead,
            self._durations,
            self._show_waiting,
            width=residency.width,
        )
        self._jobs: dict[str, Job] = {}
        self._attempts: dict[str, Attempt] = {}
        self._feeds = Feeds()
        self._endings = Endings(journal, present, self._feeds, spool, meter, self._forget)
        self._crashed: set[str] = set()
        self._machines_lost: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self._draining = False

    # ----------------------------------------------------------------- what others call

    def observe(self, observer: Observer) -> None:
        """Have a coroutine called after the commit of each outcome."""
        self._endings.observe(observer)

    async def start(self) -> None:
        """Queue again what the last run left unfinished."""
        await self._fleet.open()
        jobs = await self._journal.unfinished()
        self._durations.recall(await self._journal.measured())
        self._spool.sweep(await self._journal.media_in_use())
        self._sweeping = asyncio.create_task(keep_swept(self._spool, self._journal.media_in_use))
        for job in jobs:
            if job.state is JobState.RUNNING:
                await self._take_up(job)
            self._jobs[job.id] = job
            self._feeds.open(job.id)
            try:
                self._check_model(job.submission.model_id)
                _check_deaths(job)
            except HandlerError as error:
                self._spawn(self._endings.end(job, Outcome(JobState.FAILED, error=error)))
            else:
                self._scheduler.queue.add(job)
        self._dispatch()

    def warm(self, specs: Iterable[ModelSpec]) -> None:
        """Load models before anybody asks for them, where that disturbs nobody."""
        self._fleet.warm(specs)

    async def submit(self, submission: Submission) -> Job:
        """Write a job down and queue it.

        The same source key gives the same job again.

        Raises:
            LimitReached: The queue is full, or the bot is stopping.
            ModelUnavailable: The model is unknown, or larger than the memory budget.
            ResourceExhausted: It could not be written down.
        """
        self._check_model(submission.model_id)
        if self._draining:
            raise LimitReached("I am about to restart. Please try again in a minute.")
        if len(self._scheduler.queue) >= self._settings.queue_limit:
            raise LimitReached("Too many jobs are waiting here. Please try again in a while.")
        job = Job(new_job_id(), submission, work=self._durations.work_of(submission))
        try:
            written = await self._journal.create(job)
        except JournalUnavailable as error:
            _log.warning("a job was refused, since the journal is out of reach: %s", error)
            raise ResourceExhausted(
                "I can't write new jobs down at the moment. Please try again in a minute."
            ) from error
        if written.id != job.id:
            return self._jobs.get(written.id, written)
        self._jobs[job.id] = job
        self._feeds.open(job.id)
        self._meter.submitted(job)
        self._scheduler.queue.add(job)
        self._forecast.came(job)
        self._dispatch()
        return job

    def watch(self, job_id: str) -> AsyncIterator[Sight]:
        """Follow a job to its end; who comes late first sees how things stand.

        Jobs that ended a while ago, or were never here, yield nothing.
        """
        return self._feeds.watch(job_id)

    async def cancel(self, job_id: str) -> bool:
        """Stop a job; False when there is nothing left to stop."""
        job = self._scheduler.queue.remove(job_id)
        if job is not None:
            self._dispatch()
            await self._endings.end(job, Outcome(JobState.CANCELLED, error=JobCancelled()))
            return True
        attempt = self._attempts.get(job_id)
        if attempt is None:
            return False
        attempt.stop(JobCancelled())
        return True

    def jobs(self, *, user_id: int | None = None) -> list[Job]:
        """Return the running jobs, then the waiting ones in the order of their turns."""
        running = [attempt.job for attempt in self._attempts.values()]
        live = [
            job
            for job in (*running, *self._scheduler.queue)
            if user_id in (None, job.submission.requester.user_id)
        ]
        return sorted(live, key=self._turn)

    def place(self, job_id: str) -> Waiting | None:
        """Return the place and expected wait of a job, None when it does not wait."""
        return self._forecast.of(job_id)

    def pause(self, server_key: int, *, paused: bool) -> None:
        """Start nothing of a server for a while, or go on. What runs there runs to its end."""
        self._scheduler.queue.hold(server_key, held=paused)
        self._dispatch()

    @property
    def takes_jobs(self) -> bool:
        """Whether new jobs are taken: not while it stops."""
        return not self._draining

    def counts(self) -> Counter[tuple[Modality, JobState]]:
        """Return how many jobs there are that have not ended yet."""
        return Counter((job.modality, job.state) for job in self._jobs.values())

    def expected_s(self, job: Job) -> float | None:
        """Return how long a job is expected to run, None before its model was ever measured."""
        return self._durations.run_s(job)

    def active_count(self, user_id: int) -> int:
        """Return how many jobs of a member wait or run."""
        return sum(job.submission.requester.user_id == user_id for job in self._jobs.values())

    async def drain(self) -> None:
        """Take no more jobs and give the running ones a while; the others run after a restart."""
        self._draining = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._settings.drain_s)

    async def close(self) -> None:
        """End everything. What was not done stays in the journal as it is."""
        self._draining = True
        if self._sweeping is not None:  # else it never began
            with contextlib.suppress(JournalUnavailable):
                await self._journal.closed()
        ending = self._tasks | ({self._sweeping} if self._sweeping else set())
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        self._forecast.close()
        await self._fleet.close()

    # ----------------------------------------------------------------- the life of a job

    def _dispatch(self) -> None:
        """Start whatever can start. Called after every change."""
        if self._draining:
            return
        now = time.time()
        with about():  # what starts here has nothing to do with the job that made room for it
            while placement := self._scheduler.next(now):
                self._start(placement, now)
            self._forecast.changed()
            self._fleet.plan_idle_unload()

    def _start(self, placement: Placement, now: float) -> None:
        """Start the job of a placement, and those that begin together with it."""
        jobs = (placement.job, *placement.together)
        start, loading = Start(self._fleet.lane(placement.lane), len(jobs)), None
        for job in jobs:
            self._enter(job, placement.lane, now)
        if placement.evictions is not None:
            spec = self._catalog.get(placement.job.submission.model_id)
            self._fleet.reserve(placement, spec)
            loading = self._spawn(self._fleet.load(placement, spec))
            about_to_load = LoadingModel(spec.name, self._durations.load_s(spec))
            self._feeds[placement.job.id].publish(about_to_load)
        for job in jobs:
            attempt = Attempt(job, start, self._feeds[job.id], self._settings, self._meter)
            self._attempts[job.id] = attempt
            self._spawn(self._run(attempt, loading))

    def _enter(self, job: Job, lane: LaneState, now: float) -> None:
        """Note that a job runs on a lane."""
        self._forecast.began(job)
        job.state, job.started_at, job.load_s = JobState.RUNNING, now, 0.0
        job.attempt += 1
        job.lane = lane.name
        lane.jobs[job.id] = job
        self._meter.started(job)
        if job.attempt > 1:
            self._feeds[job.id].publish(Restarted(job.attempt))

    async def _run(self, attempt: Attempt, loading: asyncio.Task[None] | None) -> None:
        """Take a job from its lane to its outcome, or back into the queue."""
        job = attempt.job
        with about(**job.log_fields):
            noted, outcome = self._spawn(insist(self._journal.started, job)), None
            try:
                outcome = await self._outcome(attempt, loading)
            finally:
                job.charge(attempt.micro_usd)
                self._release(attempt, outcome)
            await noted
            if outcome is None:
                await self._requeue(job)
            else:
                await self._endings.end(job, outcome)

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
            self._durations.ran(attempt.job, attempt.run_s, usage)
            self._meter.ran(attempt.job, attempt.run_s)
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
            self._scheduler.run_alone(job)
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
        self._scheduler.queue.settle(job, 0.0 if failed else attempt.device_s)
        del state.jobs[job.id], self._attempts[job.id]
        resident = state.residents.get(job.submission.model_id)
        if resident is not None:
            resident.last_used = time.time()
        self._fleet.upkeep.rested(attempt.lane)
        self._dispatch()

    async def _take_up(self, job: Job) -> None:
        """Queue a job again whose attempt was lost with the last run of the bot.

        Nobody knows what that attempt has cost: a provider may have charged all that it could.
        """
        job.state, submission = JobState.QUEUED, job.submission
        with contextlib.suppress(ModelUnavailable):  # of a model that is gone nothing is known
            spec = self._catalog.get(submission.model_id)
            job.charge(most_micro_usd(spec, submission.request))
        await insist(self._journal.requeued, job)

    async def _requeue(self, job: Job) -> None:
        job.state = JobState.QUEUED
        self._scheduler.queue.put_back(job)
        await insist(self._journal.requeued, job)
        self._dispatch()

    def _forget(self, job: Job) -> None:
        """Drop what was kept for a live job."""
        del self._jobs[job.id]
        self._crashed.discard(job.id)
        self._machines_lost.pop(job.id, None)
        self._scheduler.forget(job)

    def _show_waiting(self, job_id: str, waiting: Waiting) -> None:
        self._feeds[job_id].show_waiting(waiting)

    def _turn(self, job: Job) -> float:
        """Sort running jobs before waiting ones, and those by their places."""
        if job.id in self._attempts:
            return 0
        waiting = self._forecast.of(job.id)
        return waiting.place if waiting else math.inf

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, HandlerError | WorkerLost):
            _log.error("a task of the engine failed", exc_info=error)

    def _check_model(self, model_id: str) -> None:
        spec, residency = self._catalog.get(model_id), self._fleet.residency
        if not residency.fits_ever(spec):
            raise ModelUnavailable(
                f"{spec.name} needs {spec.memory_mb} MiB of memory; "
                f"this bot may use {residency.budget_mb(spec)} MiB."
            )


def _check_deaths(job: Job) -> None:
    """Give up a job that would take the bot down for ever.

    Raises:
        WorkerCrashed: The bot died too often while it ran.
    """
    if job.deaths >= MOST_DEATHS:
        raise WorkerCrashed(
            f"I went down {job.deaths} times while this ran, so I don't try it again."
        )
