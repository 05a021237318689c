"""Which job runs next, and on which lane.

This module owns the decisions of the engine. It is pure and synchronous, so that every rule can be
tested without a worker: times come in as numbers, decisions go out as values.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.engine.durations import Durations
from bot.engine.fair_queue import FairQueue, keys_of
from bot.engine.job import Job
from bot.engine.residency import Eviction, LaneState, Residency, is_seeded
from bot.engine.rounds import Kind
from models.catalog import Catalog

PATIENCE_S = 10.0
"""So long at most, a job whose turn it is lets others pass that suit the models at hand."""

_SHARED, _SEEDED = "", "seeded"
"""The batch of all jobs that may run beside others of their model, and of those that may only where
a neighbour changes nothing of what they yield."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A job and its lane; ``evictions`` is None when its model is loaded there."""

    job: Job
    lane: LaneState
    evictions: tuple[Eviction, ...] | None


class Scheduler:
    """Chooses among waiting jobs.

    The job whose turn it is may be passed by others that suit the models at hand, but of each
    member by one job at most: one that ran on the lane when it got there, or one that passed it.
    """

    def __init__(self, catalog: Catalog, residency: Residency, durations: Durations) -> None:
        self._catalog = catalog
        self._residency = residency
        self._alone: set[str] = set()
        self._passed: dict[str, set[tuple[int, int]]] = {}
        self.queue = FairQueue(durations.cost_s, self._kind)

    def run_alone(self, job: Job) -> None:
        """Keep a job, before it is queued, from sharing a worker: a neighbour died with it."""
        self._alone.add(job.id)

    def forget(self, job: Job) -> None:
        """Drop what was kept about a job that has ended."""
        self._alone.discard(job.id)
        self._passed.pop(job.id, None)

    def next(self, now: float) -> Placement | None:
        """Take the next job that can start now out of the queue."""
        head = self.queue.peek()
        if head is None:
            return None
        placement = self._on_idle_lane(head, now) or self._beside_others(head, now)
        if placement is not None:
            job = placement.job
            if job is not head:
                self._passed.setdefault(head.id, set()).add(keys_of(job))
            self._passed.pop(job.id, None)
            self.queue.take(job)
        return placement

    def _on_idle_lane(self, head: Job, now: float) -> Placement | None:
        """Place the job whose turn it is.

        It is not overtaken for want of memory, or a large model might never be loaded. Only an
        eviction waits a little for the jobs that need none.
        """
        idle = [lane for lane in self._residency.lanes if lane.idle]
        placement = self._place(head, idle) if idle else None
        if placement and placement.evictions and now - head.created_at < PATIENCE_S:
            at_hand = {model_id for lane in idle for model_id in lane.residents}
            other = self.queue.peek(models=at_hand)
            if other is not None and self._may_pass(head, other, now):
                return self._place(other, idle)
        return placement

    def _beside_others(self, head: Job, now: float) -> Placement | None:
        """Fill a free slot of a model at work."""
        for lane in self._residency.lanes:
            model_id = lane.joinable_model()
            if model_id is None or lane.jobs.keys() & self._alone:
                continue
            batches = (_SHARED, _SEEDED) if lane.residents[model_id].exact else (_SHARED,)
            job = self.queue.peek([Kind(model_id, batch) for batch in batches])
            if job is head:
                return Placement(job, lane, None)
            if job is None or not self._may_pass(head, job, now):
                continue
            if keys_of(job) not in map(keys_of, lane.jobs.values()):
                return Placement(job, lane, None)
        return None

    def _may_pass(self, head: Job, job: Job, now: float) -> bool:
        impatient = now - head.created_at >= PATIENCE_S
        return not impatient and keys_of(job) not in self._passed.get(head.id, ())

    def _place(self, job: Job, idle: list[LaneState]) -> Placement | None:
        model_id = job.submission.model_id
        for lane in idle:
            if model_id in lane.residents:
                return Placement(job, lane, None)
        evictions = self._residency.room_for(self._catalog.get(model_id))
        if evictions is None:
            return None
        return Placement(job, min(idle, key=lambda lane: lane.used_mb), tuple(evictions))

    def _kind(self, job: Job) -> Kind:
        batch = _SEEDED if is_seeded(job) else _SHARED
        return Kind(job.submission.model_id, None if job.id in self._alone else batch)
