"""Which job runs next, and on which lane.

This module owns the decisions of the engine. It is pure and synchronous, so that every rule can be
tested without a worker: times come in as numbers, decisions go out as values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.engine.durations import Durations
from bot.engine.fair_queue import FairQueue, keys_of
from bot.engine.job import Job
from bot.engine.residency import Eviction, LaneState, Residency, Resident, is_seeded
from bot.engine.rounds import Kind
from models.catalog import Catalog, ModelSpec

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
        for lanes, kinds in self._lines():
            placement = self._next_on(lanes, kinds, now)
            if placement is not None:
                return placement
        return None

    def _lines(self) -> list[tuple[Sequence[LaneState], Sequence[Kind] | None]]:
        """Return which lanes are waited for, and by which kinds of jobs; None is all that wait.

        Jobs of models that share no lane do not wait for each other.
        """
        lines: dict[str, list[Kind]] = {}
        specs: dict[str, ModelSpec] = {}
        for kind in self.queue.kinds():
            spec = self._catalog.get(kind.model_id)
            line = spec.id if spec.is_hosted else self._residency.kind_for(spec)
            lines.setdefault(line, []).append(kind)
            specs[line] = spec
        of_some = len(lines) > 1
        return [
            (self._residency.lanes_for(specs[line]), kinds if of_some else None)
            for line, kinds in lines.items()
        ]

    def _next_on(
        self, lanes: Sequence[LaneState], kinds: Sequence[Kind] | None, now: float
    ) -> Placement | None:
        head = self.queue.peek(kinds)
        if head is None:
            return None
        placement = self._on_open_lane(head, lanes, now) or self._beside_others(head, lanes, now)
        if placement is not None:
            job = placement.job
            if job is not head:
                self._passed.setdefault(head.id, set()).add(keys_of(job))
            self._passed.pop(job.id, None)
            self.queue.take(job)
        return placement

    def _on_open_lane(self, head: Job, lanes: Sequence[LaneState], now: float) -> Placement | None:
        """Place the job whose turn it is.

        It is not overtaken for want of memory, or a large model might never be loaded. Only an
        eviction waits a little for the jobs that need none.
        """
        free = [lane for lane in lanes if self._may_take(lane, head)]
        placement = self._place(head, free) if free else None
        if placement and placement.evictions and now - head.created_at < PATIENCE_S:
            at_hand = {model_id for lane in free for model_id in lane.residents}
            other = self.queue.peek(models=at_hand)
            if other is not None and self._may_pass(head, other, now):
                return self._place(other, free)
        return placement

    def _may_take(self, lane: LaneState, job: Job) -> bool:
        """Whether a lane is free for a job: who is to run alone finds and leaves it idle."""
        alone = job.id in self._alone or lane.jobs.keys() & self._alone
        return lane.idle if alone else lane.open

    def _beside_others(self, head: Job, lanes: Sequence[LaneState], now: float) -> Placement | None:
        """Fill a free slot of a model at work."""
        for lane in lanes:
            if lane.jobs.keys() & self._alone:
                continue
            for resident in lane.joinable():
                job = self._joining(head, lane, resident, now)
                if job is not None:
                    return Placement(job, lane, None)
        return None

    def _joining(self, head: Job, lane: LaneState, resident: Resident, now: float) -> Job | None:
        batches = (_SHARED, _SEEDED) if resident.exact else (_SHARED,)
        job = self.queue.peek([Kind(resident.spec.id, batch) for batch in batches])
        if job is None or job is head:
            return job
        passes = self._may_pass(head, job, now)
        return job if passes and keys_of(job) not in map(keys_of, lane.jobs.values()) else None

    def _may_pass(self, head: Job, job: Job, now: float) -> bool:
        impatient = now - head.created_at >= PATIENCE_S
        return not impatient and keys_of(job) not in self._passed.get(head.id, ())

    def _place(self, job: Job, free: Sequence[LaneState]) -> Placement | None:
        model_id = job.submission.model_id
        for lane in free:
            resident = lane.residents.get(model_id)
            if resident is not None:
                full = lane.count(model_id) >= resident.slots
                return None if full else Placement(job, lane, None)
        spec = self._catalog.get(model_id)
        by_room = sorted(free, key=lambda lane: lane.used_mb)
        choices = [(lane, self._residency.room_for(spec, lane)) for lane in by_room]
        possible = [(lane, evictions) for lane, evictions in choices if evictions is not None]
        if not possible:
            return None
        lane, evictions = min(possible, key=lambda choice: len(choice[1]))
        return Placement(job, lane, tuple(evictions))

    def _kind(self, job: Job) -> Kind:
        batch = _SEEDED if is_seeded(job) else _SHARED
        return Kind(job.submission.model_id, None if job.id in self._alone else batch)
