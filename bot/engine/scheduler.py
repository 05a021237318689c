"""Which job runs next, and on which lane; which place a waiting job has, and how long it waits.

This module owns the decisions of the engine. It is pure and synchronous, so that every rule can be
tested without a worker: times come in as numbers, decisions go out as values.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from bot.engine.durations import Durations
from bot.engine.fair_queue import FairQueue
from bot.engine.job import Job, Waiting
from bot.engine.residency import Eviction, LaneState, Residency, is_seeded
from models.catalog import Catalog, ModelSpec

PATIENCE_S = 10.0
"""So long, a job waits for others of the models at hand before something is evicted for it."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A job and its lane; ``evictions`` is None when its model is loaded there."""

    job: Job
    lane: LaneState
    evictions: tuple[Eviction, ...] | None


class Scheduler:
    """Chooses among waiting jobs."""

    def __init__(self, catalog: Catalog, residency: Residency, durations: Durations) -> None:
        self._catalog = catalog
        self._residency = residency
        self._durations = durations
        self._alone: set[str] = set()
        self.queue = FairQueue(durations.cost_s)

    def run_alone(self, job: Job) -> None:
        """Keep a job from sharing a worker, because one of its neighbours died with it."""
        self._alone.add(job.id)

    def forget(self, job: Job) -> None:
        """Drop what was kept about a job that has ended."""
        self._alone.discard(job.id)

    def next(self, now: float) -> Placement | None:
        """Take the next job that can start now out of the queue."""
        placement = self._on_idle_lane(now) or self._beside_others(now)
        if placement is not None:
            self.queue.take(placement.job)
        return placement

    def _on_idle_lane(self, now: float) -> Placement | None:
        """Place the job whose turn it is.

        It is not overtaken for want of memory, or a large model might never be loaded. Only an
        eviction waits a little for the jobs that need none.
        """
        idle = [lane for lane in self._residency.lanes if lane.idle]
        job = self.queue.peek() if idle else None
        if job is None:
            return None
        placement = self._place(job, idle)
        if placement and placement.evictions and now - job.created_at < PATIENCE_S:
            at_hand = {model_id for lane in idle for model_id in lane.residents}
            other = self.queue.peek(lambda job: job.submission.model_id in at_hand)
            placement = self._place(other, idle) if other else placement
        return placement

    def _beside_others(self, now: float) -> Placement | None:
        """Fill a free slot of a model at work, unless somebody has waited long enough for it."""
        for lane in self._residency.lanes:
            model_id = lane.joinable_model()
            first = self.queue.peek() if model_id and not lane.jobs.keys() & self._alone else None
            if first is None:
                continue
            other_model = first.submission.model_id != model_id
            if other_model and now - first.created_at >= PATIENCE_S:
                continue
            job = self.queue.peek(partial(self._may_join, model_id))
            if job is not None:
                return Placement(job, lane, None)
        return None

    def _may_join(self, model_id: str | None, job: Job) -> bool:
        same_model = job.submission.model_id == model_id
        return same_model and not is_seeded(job) and job.id not in self._alone

    def _place(self, job: Job, idle: list[LaneState]) -> Placement | None:
        model_id = job.submission.model_id
        for lane in idle:
            if model_id in lane.residents:
                return Placement(job, lane, None)
        evictions = self._residency.room_for(self._catalog.get(model_id))
        if evictions is None:
            return None
        return Placement(job, min(idle, key=lambda lane: lane.used_mb), tuple(evictions))

    def waits(self, now: float) -> dict[str, Waiting]:
        """Return the place and the expected wait of every waiting job."""
        free_at: list[float] | None = self._free_times(now)
        found = {}
        for place, job in enumerate(self.queue.order(), start=1):
            found[job.id] = Waiting(place, free_at[0] if free_at else None)
            free_at = self._after(job, free_at) if free_at else None
        return found

    def _free_times(self, now: float) -> list[float] | None:
        """Return in how many seconds each slot is free, None where that cannot be known."""
        times = [_remaining_s(self._durations.run_s(job), job, now) for job in self._running()]
        if any(time is None for time in times):
            return None
        idle = [0.0 for lane in self._residency.lanes if lane.idle]
        free_at = [time for time in times if time is not None] + idle
        heapq.heapify(free_at)
        return free_at

    def _after(self, job: Job, free_at: list[float]) -> list[float] | None:
        """Let a job take the first free slot."""
        run_s = self._durations.run_s(job)
        if run_s is None:
            return None
        spec = self._catalog.get(job.submission.model_id)
        load_s = 0.0 if self._is_loaded(spec) else self._durations.load_s(spec)
        heapq.heapreplace(free_at, free_at[0] + load_s + run_s)
        return free_at

    def _running(self) -> Iterable[Job]:
        return (job for lane in self._residency.lanes for job in lane.jobs.values())

    def _is_loaded(self, spec: ModelSpec) -> bool:
        return any(spec.id in lane.residents for lane in self._residency.lanes)


def _remaining_s(run_s: float | None, job: Job, now: float) -> float | None:
    return None if run_s is None else max(0.0, run_s - (now - (job.started_at or now)))
