"""Which job runs next, and on which lane.

This module owns the decisions of the engine. It is pure and synchronous, so that every rule can be
tested without a worker: times come in as numbers, decisions go out as values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bot.engine.durations import Durations
from bot.engine.fair_queue import FairQueue, keys_of
from bot.engine.job import Job
from bot.engine.kinds import Kind, kind_of
from bot.engine.lines import Lines
from bot.engine.residency import LONG_S, Eviction, LaneState, Residency, Resident
from models.catalog import Catalog, ModelSpec

PATIENCE_S = 10.0
"""So long at most, a job whose turn it is lets others pass that suit the models at hand."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What starts, and where.

    Attributes:
        evictions: What makes room for its model; None when that is loaded there.
        together: Jobs that start in one batch with it.
        hold: The model whose jobs there give way to it.
    """

    job: Job
    lane: LaneState
    evictions: tuple[Eviction, ...] | None
    together: tuple[Job, ...] = ()
    hold: str | None = None


class Scheduler:
    """Chooses among waiting jobs.

    The job whose turn it is may be passed by others that suit the models at hand, but of each
    member by one job at most: one that ran on the lane when it got there, or one that passed it.
    """

    def __init__(self, catalog: Catalog, residency: Residency, durations: Durations) -> None:
        self._catalog = catalog
        self._residency = residency
        self._durations = durations
        self._alone: set[str] = set()
        self._passed: dict[str, set[tuple[int, int]]] = {}
        self.queue = Lines(durations.cost_s, self._kind, self._line)

    def run_alone(self, job: Job) -> None:
        """Keep a job, before it is queued, from sharing a worker: a neighbour died with it."""
        self._alone.add(job.id)

    def forget(self, job: Job) -> None:
        """Drop what was kept about a job that has ended."""
        self._alone.discard(job.id)
        self._passed.pop(job.id, None)

    def next(self, now: float) -> Placement | None:
        """Take what can start next out of the queue."""
        for _, queue in self.queue.named():
            placement = self._next_in(queue, now)
            if placement is not None:
                return placement
        return None

    def _next_in(self, queue: FairQueue, now: float) -> Placement | None:
        head = queue.peek()
        if head is None:
            return None
        lanes = self._residency.lanes_for(self._spec(head))
        placement = self._on_open_lane(queue, head, lanes, now)
        placement = placement or self._beside_others(queue, head, lanes, now)
        placement = placement or self._before_long_ones(head, lanes, now)
        if placement is None:
            return None
        self._take(queue, placement.job, head)
        return self._with_others(queue, placement, now)

    def _take(self, queue: FairQueue, job: Job, head: Job | None) -> None:
        """Take a job whose turn it is, or that passes the one whose turn it is."""
        if head is not None and job is not head:
            self._passed.setdefault(head.id, set()).add(keys_of(job))
        self._passed.pop(job.id, None)
        queue.take(job)

    # ----------------------------------------------------------------- a lane that is free

    def _on_open_lane(
        self, queue: FairQueue, head: Job, lanes: Sequence[LaneState], now: float
    ) -> Placement | None:
        """Place the job whose turn it is.

        It is not overtaken for want of memory, or a large model might never be loaded. Only an
        eviction waits a little for the jobs that need none.
        """
        free = [lane for lane in lanes if self._may_take(lane, head)]
        placement = self._place(head, free) if free else None
        if placement and placement.evictions and now - head.created_at < PATIENCE_S:
            at_hand = {model_id for lane in free for model_id in lane.residents}
            other = queue.peek(models=at_hand)
            if other is not None and self._may_pass(head, other, now):
                return self._place(other, free)
        return placement

    def _may_take(self, lane: LaneState, job: Job) -> bool:
        """Whether a lane is free for a job: who is to run alone finds and leaves it idle."""
        alone = job.id in self._alone or lane.jobs.keys() & self._alone
        return lane.idle if alone else lane.open

    def _place(self, job: Job, free: Sequence[LaneState]) -> Placement | None:
        model_id = job.submission.model_id
        for lane in free:
            resident = lane.residents.get(model_id)
            if resident is not None:
                full = len(lane.jobs_of(model_id)) >= resident.slots
                return None if full else Placement(job, lane, None)
        spec = self._catalog.get(model_id)
        by_room = sorted(free, key=lambda lane: lane.used_mb)
        choices = [(lane, self._residency.room_for(spec, lane)) for lane in by_room]
        possible = [(lane, evictions) for lane, evictions in choices if evictions is not None]
        if not possible:
            return None
        lane, evictions = min(possible, key=lambda choice: len(choice[1]))
        return Placement(job, lane, tuple(evictions))

    def _before_long_ones(
        self, head: Job, lanes: Sequence[LaneState], now: float
    ) -> Placement | None:
        """Place a short job where long ones of another model give way to it."""
        if head.id in self._alone or not self._is_short(head):
            return None
        for lane in lanes:
            gives_way_at = lane.gives_way_at()
            if gives_way_at is None or now < gives_way_at or lane.jobs.keys() & self._alone:
                continue
            long_one = next(iter(lane.jobs.values())).submission.model_id
            placement = self._place(head, [lane])
            if long_one != head.submission.model_id and placement is not None:
                return replace(placement, hold=long_one)
        return None

    # ----------------------------------------------------------------- batches

    def _with_others(self, queue: FairQueue, placement: Placement, now: float) -> Placement:
        """Let others start with a job whose model takes several only if they begin together."""
        resident = placement.lane.residents.get(placement.job.submission.model_id)
        if placement.evictions is not None or resident is None or resident.joins != "start":
            return placement
        kinds = self._kind(placement.job).beside(exact=resident.exact)
        together = [placement.job]
        while len(together) < resident.slots:
            job, head = queue.peek(kinds), queue.peek()
            if job is None or head is None:
                break
            if job is not head and not self._may_join(head, job, together, now):
                break
            self._take(queue, job, head)
            together.append(job)
        return replace(placement, together=tuple(together[1:]))

    def _beside_others(
        self, queue: FairQueue, head: Job, lanes: Sequence[LaneState], now: float
    ) -> Placement | None:
        """Fill a free slot of a model at work."""
        for lane in lanes:
            if lane.jobs.keys() & self._alone:
                continue
            for resident in lane.joinable():
                job = self._joining(queue, lane, resident)
                if job and lane.held and not self._may_delay(lane, job, now):
                    continue
                if job is head or (job and self._may_join(head, job, lane.jobs.values(), now)):
                    return Placement(job, lane, None)
        return None

    def _may_delay(self, lane: LaneState, job: Job, now: float) -> bool:
        """Whether a job may join what a long one gave way to: a short one, for a while."""
        return self._is_short(job) and now - lane.held_at < LONG_S

    def _is_short(self, job: Job) -> bool:
        run_s = self._durations.run_s(job)
        return run_s is None or run_s <= LONG_S

    def _joining(self, queue: FairQueue, lane: LaneState, resident: Resident) -> Job | None:
        """Return the job whose turn it is to come in beside those that run on a model."""
        at_work = lane.jobs_of(resident.spec.id)[0]
        return queue.peek(self._kind(at_work).beside(exact=resident.exact))

    def _may_join(self, head: Job, job: Job, batch: Iterable[Job], now: float) -> bool:
        """Whether a job may pass by joining a batch: not beside another of its member."""
        return self._may_pass(head, job, now) and keys_of(job) not in map(keys_of, batch)

    def _may_pass(self, head: Job, job: Job, now: float) -> bool:
        impatient = now - head.created_at >= PATIENCE_S
        return not impatient and keys_of(job) not in self._passed.get(head.id, ())

    # ----------------------------------------------------------------- what is known of a job

    def _spec(self, job: Job) -> ModelSpec:
        return self._catalog.get(job.submission.model_id)

    def _line(self, job: Job) -> str:
        return self._residency.line_for(self._spec(job))

    def _kind(self, job: Job) -> Kind:
        if job.id in self._alone:
            return Kind(job.submission.model_id, None)
        return kind_of(job, self._spec(job))
