"""What is loaded where, and whether something more fits into the memory budget.

This module owns the ledger of lanes and their models. It is pure bookkeeping: it decides what has
to go, and the engine tells the workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.engine.job import Job
from models.catalog import ModelSpec
from models.contracts import Joins

_MIB = 2**20


@dataclass(slots=True)
class Resident:
    """A model in a worker.

    Attributes:
        memory_mb: What it holds, in MiB.
        slots: Jobs that it may run at once.
        joins: When a job may come in beside others.
        exact: Whether a job's neighbours change nothing of what it yields.
        last_used: When a job last ran on it, in the caller's seconds.
    """

    spec: ModelSpec
    memory_mb: int
    last_used: float
    slots: int = 1
    joins: Joins = "anytime"
    exact: bool = False


@dataclass(slots=True, eq=False)
class LaneState:
    """One worker's models and jobs.

    A lane works on one model at a time, since two would share the cores and each take twice as
    long; ``changing`` is set while a model comes or goes.
    """

    name: str
    residents: dict[str, Resident] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    changing: bool = False
    _at_work: dict[str, Job] = field(default_factory=dict)
    _counted_to: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether it may take a job of any model."""
        return not self.jobs and not self.changing

    @property
    def used_mb(self) -> int:
        return sum(resident.memory_mb for resident in self.residents.values())

    def begin(self, job: Job, now: float) -> None:
        """Count what a job takes of the lane from now on, in seconds of a steady clock."""
        self._count(now)
        self._at_work[job.id] = job

    def end(self, job: Job, now: float) -> None:
        """Count no longer what a job takes; nothing where it never began."""
        self._count(now)
        self._at_work.pop(job.id, None)

    def _count(self, now: float) -> None:
        """Share the time since the last count among the jobs at work."""
        for job in self._at_work.values():
            job.device_s += (now - self._counted_to) / len(self._at_work)
        self._counted_to = now

    def joinable_model(self) -> str | None:
        """Return the model that has a slot free beside the jobs that run on it.

        A job with a seed of its own runs alone where a batch could change its numbers.
        """
        if self.changing or not self.jobs:
            return None
        resident = self.residents.get(next(iter(self.jobs.values())).submission.model_id)
        if resident is None or resident.joins == "start" or len(self.jobs) >= resident.slots:
            return None
        if not resident.exact and any(is_seeded(job) for job in self.jobs.values()):
            return None
        return resident.spec.id


Eviction = tuple[LaneState, str]
"""A model to free: its lane and its id."""


class Residency:
    """All lanes under one memory budget."""

    def __init__(self, lanes: Iterable[LaneState], budget_mb: int) -> None:
        self.lanes = tuple(lanes)
        self.budget_mb = budget_mb
        self._measured_mb: dict[str, int] = {}

    @property
    def used_mb(self) -> int:
        return sum(lane.used_mb for lane in self.lanes)

    def fits_ever(self, spec: ModelSpec) -> bool:
        """Whether a model would fit if it were the only one."""
        return spec.memory_mb <= self.budget_mb

    def memory_mb(self, spec: ModelSpec) -> int:
        """Return what to reserve for a model: as declared, or more if more was measured."""
        return min(max(spec.memory_mb, self._measured_mb.get(spec.id, 0)), self.budget_mb)

    def measured(self, lane: LaneState, model_id: str, rss_bytes: int) -> None:
        """Learn from a worker's memory once a model is loaded there."""
        resident = lane.residents[model_id]
        others = lane.used_mb - resident.memory_mb
        self._measured_mb[model_id] = rss_bytes // _MIB - others
        resident.memory_mb = self.memory_mb(resident.spec)

    def room_for(self, spec: ModelSpec) -> list[Eviction] | None:
        """Return what must go first, least recently used first; None if it cannot fit now."""
        missing_mb = self.memory_mb(spec) - self.budget_mb + self.used_mb
        evictions: list[Eviction] = []
        for lane, resident in self._evictable():
            if missing_mb <= 0:
                break
            evictions.append((lane, resident.spec.id))
            missing_mb -= resident.memory_mb
        return evictions if missing_mb <= 0 else None

    def unused_since(self, moment: float) -> list[Eviction]:
        """Return the idle models that were last used at or before a moment."""
        return [(lane, r.spec.id) for lane, r in self._evictable() if r.last_used <= moment]

    def oldest_use(self) -> float | None:
        """Return when the least recently used idle model was last used."""
        return next((resident.last_used for _, resident in self._evictable()), None)

    def _evictable(self) -> list[tuple[LaneState, Resident]]:
        idle = [(lane, r) for lane in self.lanes if lane.idle for r in lane.residents.values()]
        return sorted(idle, key=lambda pair: pair[1].last_used)


def is_seeded(job: Job) -> bool:
    """Whether a member asked for a seed, and so for a repeatable result."""
    return getattr(job.submission.request, "seed", None) is not None
