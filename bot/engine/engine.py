"""The engine: takes jobs, runs each of them to one outcome, and loses none.

This module owns what others may ask of it: which jobs there are, from their submission to their
outcome. What runs, and what becomes of it, is ``runs``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from functools import partial

from bot.engine.durations import Durations, usual_steps
from bot.engine.ending import Endings, Observer, Present
from bot.engine.feed import Feeds, Sight
from bot.engine.fleet import Fleet
from bot.engine.forecast import Forecast
from bot.engine.job import (
    Job,
    JobState,
    Outcome,
    Submission,
    Waiting,
    new_job_id,
)
from bot.engine.journal import Journal, JournalUnavailable, insist
from bot.engine.lookahead import Lookahead
from bot.engine.meter import SILENT, Meter
from bot.engine.port import Workers
from bot.engine.runs import Runs
from bot.engine.scheduler import Scheduler
from bot.engine.spool import Spool, keep_swept
from bot.settings import EngineSettings
from models.catalog import Catalog, ModelSpec
from models.contracts import Modality
from models.errors import (
    HandlerError,
    JobCancelled,
    LimitReached,
    ModelUnavailable,
    ResourceExhausted,
    WorkerCrashed,
)
from models.prices import most_micro_usd
from models.weights import Places

_log = logging.getLogger(__name__)

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
        self._feeds = Feeds()
        self._endings = Endings(journal, present, self._feeds, spool, meter, self._forget)
        self._runs = Runs(
            settings=settings,
            catalog=catalog,
            scheduler=self._scheduler,
            fleet=self._fleet,
            forecast=self._forecast,
            durations=self._durations,
            feeds=self._feeds,
            endings=self._endings,
            journal=journal,
            meter=meter,
        )
        self._sweeping: asyncio.Task[None] | None = None

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
                self._runs.spawn(self._endings.end(job, Outcome(JobState.FAILED, error=error)))
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
        if self._runs.stopped:
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
        attempt = self._runs.live.get(job_id)
        if attempt is None:
            return False
        attempt.stop(JobCancelled())
        return True

    def jobs(self, *, user_id: int | None = None) -> list[Job]:
        """Return the running jobs, then the waiting ones in the order of their turns."""
        running = [attempt.job for attempt in self._runs.live.values()]
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
        return not self._runs.stopped

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
        self._runs.stopped = True
        if self._runs.tasks:
            await asyncio.wait(self._runs.tasks, timeout=self._settings.drain_s)

    async def close(self) -> None:
        """End everything. What was not done stays in the journal as it is."""
        self._runs.stopped = True
        if self._sweeping is not None:  # else it never began
            with contextlib.suppress(JournalUnavailable):
                await self._journal.closed()
        ending = self._runs.tasks | ({self._sweeping} if self._sweeping else set())
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        self._runs.close()
        self._forecast.close()
        await self._fleet.close()

    # ----------------------------------------------------------------- inside

    async def _take_up(self, job: Job) -> None:
        """Queue a job again whose attempt was lost with the last run of the bot.

        Nobody knows what that attempt has cost: a provider may have charged all that it could.
        """
        job.state, submission = JobState.QUEUED, job.submission
        with contextlib.suppress(ModelUnavailable):  # of a model that is gone nothing is known
            spec = self._catalog.get(submission.model_id)
            job.charge(most_micro_usd(spec, submission.request))
        await insist(self._journal.requeued, job)

    def _dispatch(self) -> None:
        self._runs.dispatch()

    def _forget(self, job: Job) -> None:
        """Drop what was kept for a live job."""
        del self._jobs[job.id]
        self._runs.forget(job)

    def _show_waiting(self, job_id: str, waiting: Waiting) -> None:
        self._feeds[job_id].show_waiting(waiting)

    def _turn(self, job: Job) -> float:
        """Sort running jobs before waiting ones, and those by their places."""
        if job.id in self._runs.live:
            return 0
        waiting = self._forecast.of(job.id)
        return waiting.place if waiting else math.inf

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
