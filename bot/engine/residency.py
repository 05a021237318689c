"""What is loaded where, and whether something more fits into the memory budget.

This module owns the ledger of lanes and their models. It is pure bookkeeping: it decides what has
to go, and the engine tells the workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bot.engine.job import Job
from bot.engine.port import LaneKind
from models.catalog import ModelSpec
from models.contracts import Joins, Modality

_MIB = 2**20

LONG_S = 30.0
"""A job that has run for so long is long; one that is expected to take less is short."""
_ASKED = "net/"
"""Begins the names of the lines of those who wait for servers."""


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
    long; one whose models run on servers (``net``) on any number. ``changing`` is set while a model
    comes or goes.

    Attributes:
        pool: Whose memory its models take; lanes may share one.
        resting: Set for a while after there was no place for a worker.
        held: The model whose long jobs give way to a job of another, None while none does.
        held_at: Since when they do, in Unix seconds.
        works_until: When what went on gives way again, at the earliest.
    """

    name: str
    kind: LaneKind = "cpu"
    pool: str = "ram"
    residents: dict[str, Resident] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    changing: bool = False
    resting: bool = False
    held: str | None = None
    held_at: float = 0.0
    works_until: float = 0.0
    _at_work: dict[str, Job] = field(default_factory=dict)
    _counted_to: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing happens on it."""
        return not self.jobs and not self.changing and not self.resting

    @property
    def open(self) -> bool:
        """Whether it may take a job of any model."""
        return self.idle or (self.kind == "net" and not self.changing and not self.resting)

    @property
    def used_mb(self) -> int:
        return sum(resident.memory_mb for resident in self.residents.values())

    def jobs_of(self, model_id: str) -> list[Job]:
        """Return the jobs that run on a model."""
        return [job for job in self.jobs.values() if job.submission.model_id == model_id]

    def gives_way_at(self) -> float | None:
        """Return when what runs here lets a short job of another model go first; None is never.

        Only the writing down of long sound does, which has run for a while by itself before.
        """
        if self.kind == "net" or self.changing or self.resting or self.held or not self.jobs:
            return None
        if any(job.modality is not Modality.TRANSCRIPTION for job in self.jobs.values()):
            return None
        began = max((job.started_at or 0.0) + job.load_s for job in self.jobs.values())
        return max(began + LONG_S, self.works_until)

    def hold(self, model_id: str, at: float) -> None:
        """Note that the jobs of a model give way from now on."""
        self.held, self.held_at = model_id, at

    def go_on(self, at: float) -> None:
        """Note that they go on, for no less time than they gave."""
        self.held, self.works_until = None, at + max(LONG_S, at - self.held_at)

    def evictable(self) -> list[Resident]:
        """Return the models that may go."""
        if not self.open:
            return []
        return [r for r in self.residents.values() if not self.jobs_of(r.spec.id)]

    def begin(self, job: Job, now: float) -> None:
        """Count what a job takes of the lane from now on, in seconds of a steady clock."""
        self._count(now)
        self._at_work[job.id] = job

    def end(self, job: Job, now: float) -> None:
        """Count no longer what a job takes; nothing where it never began."""
        self._count(now)
        self._at_work.pop(job.id, None)

    def _count(self, now: float) -> None:
        """Share the time since the last count among the jobs at work; a server's is not shared."""
        sharers = 1 if self.kind == "net" else len(self._at_work)
        for job in self._at_work.values():
            job.device_s += (now - self._counted_to) / sharers
        self._counted_to = now

    def joinable(self) -> list[Resident]:
        """Return the models that have a slot free beside the jobs that run on them."""
        if self.changing or not self.jobs:
            return []
        return [
            resident
            for resident in self.residents.values()
            if resident.joins == "anytime"
            and resident.spec.id != self.held
            and 0 < len(self.jobs_of(resident.spec.id)) < resident.slots
        ]


Eviction = tuple[LaneState, str]
"""A model to free: its lane and its id."""


class Residency:
    """All lanes, with a memory budget for each pool.

    Attributes:
        budgets: What the models of a pool may take together, in MiB; none for those without bound.
        last_to_go: Ids of models that make room for others after all the rest.
    """

    def __init__(self, lanes: Iterable[LaneState], budgets: Mapping[str, int]) -> None:
        self.lanes = tuple(lanes)
        self.budgets = budgets
        self.last_to_go: set[str] = set()
        self._measured_mb: dict[str, int] = {}
        self._by_kind: dict[LaneKind, tuple[LaneState, ...]] = {}
        for lane in self.lanes:
            self._by_kind[lane.kind] = (*self._by_kind.get(lane.kind, ()), lane)

    def kind_for(self, spec: ModelSpec) -> LaneKind:
        """Return which lanes a model runs on.

        What a GPU speeds up runs on one where there is one, and else on the processor; for a model
        that works with servers neither is taken up.
        """
        if spec.is_hosted:
            return "net"
        wanted: LaneKind = "cpu" if spec.device == "cpu" else "gpu"
        other: LaneKind = "gpu" if wanted == "cpu" else "cpu"
        return wanted if wanted in self._by_kind else other

    def line_for(self, spec: ModelSpec) -> str:
        """Name those that wait for the same lanes: models of servers wait for no other."""
        return f"{_ASKED}{spec.id}" if spec.is_hosted else self.kind_for(spec)

    def width(self, line: str) -> int:
        """Return how many jobs of a line can run at once; what is one batch counts as one."""
        if not line.startswith(_ASKED):
            return sum(lane.kind == line for lane in self.lanes)
        residents = [lane.residents.get(line.removeprefix(_ASKED)) for lane in self.lanes]
        return max((resident.slots for resident in residents if resident), default=1)

    def lanes_for(self, spec: ModelSpec) -> tuple[LaneState, ...]:
        """Return the lanes that a model may run on."""
        return self._by_kind.get(self.kind_for(spec), ())

    def used_mb(self, pool: str) -> int:
        """Return what the models of a pool take."""
        return sum(lane.used_mb for lane in self.lanes if lane.pool == pool)

    def budget_mb(self, spec: ModelSpec) -> float:
        """Return the largest budget of the pools that a model may be in."""
        pools = {lane.pool for lane in self.lanes_for(spec)}
        return max((self.budgets.get(pool, math.inf) for pool in pools), default=0)

    def fits_ever(self, spec: ModelSpec) -> bool:
        """Whether a model would fit if it were the only one."""
        return self.memory_mb(spec) <= self.budget_mb(spec)

    def memory_mb(self, spec: ModelSpec) -> int:
        """Return what to reserve for a model: as declared, or more if more was measured.

        More than a budget it is not, or it would never be loaded again.
        """
        if spec.is_hosted:
            return 0
        measured_mb = min(self._measured_mb.get(spec.id, 0), self.budget_mb(spec))
        return max(spec.memory_mb, int(measured_mb))

    def measured(self, lane: LaneState, model_id: str, used_bytes: int) -> None:
        """Learn from what a worker holds once a model is loaded there; 0 is unknown."""
        resident = lane.residents[model_id]
        others = lane.used_mb - resident.memory_mb
        if used_bytes:
            self._measured_mb[model_id] = used_bytes // _MIB - others
        resident.memory_mb = self.memory_mb(resident.spec)

    def room_for(self, spec: ModelSpec, lane: LaneState) -> list[Eviction] | None:
        """Return what must go first, least recently used first; None if it cannot fit now."""
        budget_mb = self.budgets.get(lane.pool)
        if budget_mb is None:
            return []
        missing_mb = self.memory_mb(spec) - budget_mb + self.used_mb(lane.pool)
        evictions: list[Eviction] = []
        for other, resident in self._by_need(lane.pool):
            if missing_mb <= 0:
                break
            evictions.append((other, resident.spec.id))
            missing_mb -= resident.memory_mb
        return evictions if missing_mb <= 0 else None

    def unused_since(self, moment: float) -> list[Eviction]:
        """Return the idle models that were last used at or before a moment."""
        idle = self._evictable(self.lanes)
        return [(lane, r.spec.id) for lane, r in idle if r.last_used <= moment]

    def oldest_use(self) -> float | None:
        """Return when the least recently used idle model was last used."""
        return min((r.last_used for _, r in self._evictable(self.lanes)), default=None)

    def _by_need(self, pool: str) -> list[tuple[LaneState, Resident]]:
        """Return the models of a pool that may go, the one that is needed least first."""
        idle = self._evictable(lane for lane in self.lanes if lane.pool == pool)
        return sorted(
            idle, key=lambda pair: (pair[1].spec.id in self.last_to_go, pair[1].last_used)
        )

    @staticmethod
    def _evictable(lanes: Iterable[LaneState]) -> list[tuple[LaneState, Resident]]:
        return [(lane, resident) for lane in lanes for resident in lane.evictable()]
