"""The lanes as they will be: on which of them, and when, the waiting jobs start.

This module owns the picture of the future that the expected waits are read from. It knows lanes,
slots, loads and the memory budget; whose turn it is comes from the queue. It must not change
anything: what it plays with are numbers of its own.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bot.engine.durations import Durations
from bot.engine.job import Job
from bot.engine.port import LaneKind
from bot.engine.residency import LaneState, Residency, is_seeded
from models.catalog import Catalog, ModelSpec
from models.contracts import Joins

_OVERRUN = 0.1
"""A job that takes longer than expected is taken to need so much more of what it took so far."""


class _Batch(NamedTuple):
    """How a loaded model takes several jobs; unknown of one that was never loaded."""

    slots: int = 1
    joins: Joins = "anytime"
    exact: bool = False

    def takes(self, job: Job) -> bool:
        """Whether a job may come in beside others."""
        return self.joins == "anytime" and (self.exact or not is_seeded(job))


@dataclass(slots=True)
class _Lane:
    """A lane to come.

    Attributes:
        kind, pool: As of the lane that it is a picture of.
        models: What is loaded, the least recently used first.
        at_work: The model that it works on last, None where that may not be joined.
        free_at: A heap: in how many seconds each slot of that model is free.
    """

    kind: LaneKind
    pool: str
    models: dict[str, _Batch]
    at_work: str | None
    free_at: list[float]


class Lookahead:
    """Lets jobs start one after the other, in the order in which they are handed in.

    Args:
        catalog: The models.
        residency: The lanes as they are.
        durations: What is expected.
        now: Unix time in seconds.
    """

    def __init__(
        self, catalog: Catalog, residency: Residency, durations: Durations, now: float
    ) -> None:
        self._catalog = catalog
        self._residency = residency
        self._durations = durations
        self._known = True
        self._lanes: list[_Lane] = []
        self._asking: dict[str, _Lane] = {}
        for state in residency.lanes:
            if state.kind == "net":
                self._take_apart(state, now)
            else:
                self._lanes.append(self._lane(state, state.jobs.values(), now))

    def start(self, job: Job) -> float | None:
        """Let a job start; return in how many seconds, None where that cannot be known.

        Its own load counts for those after it alone: the job has started by then.
        """
        run_s = self._durations.run_s(job)
        spec = self._catalog.get(job.submission.model_id)
        lane, start_s, load_s = self._soonest(job, spec)
        if not self._known:
            return None
        if run_s is None:
            self._known = False
        else:
            self._occupy(lane, job, spec, start_s + load_s, run_s)
        return start_s

    def _soonest(self, job: Job, spec: ModelSpec) -> tuple[_Lane, float, float]:
        """Return the lane on which a job begins first, when it starts there, and how it loads."""
        choices = []
        for number, lane in enumerate(self._lanes_for(spec)):
            joins = lane.at_work == spec.id and lane.models[spec.id].takes(job)
            start_s = lane.free_at[0] if joins else max(lane.free_at)
            load_s = 0.0 if spec.id in lane.models else self._durations.load_s(spec)
            choices.append((start_s + load_s, number, start_s, load_s))
        _, number, start_s, load_s = min(choices)
        return self._lanes_for(spec)[number], start_s, load_s

    def _lanes_for(self, spec: ModelSpec) -> Sequence[_Lane]:
        if spec.is_hosted:
            return [self._asking.setdefault(spec.id, _Lane("net", "", {}, None, [0.0]))]
        kind = self._residency.kind_for(spec)
        return [lane for lane in self._lanes if lane.kind == kind]

    def _occupy(self, lane: _Lane, job: Job, spec: ModelSpec, begin_s: float, run_s: float) -> None:
        if lane.at_work == spec.id and lane.models[spec.id].takes(job):
            heapq.heapreplace(lane.free_at, begin_s + run_s)
            return
        if spec.id not in lane.models:
            self._make_room(spec, lane)
        batch = lane.models[spec.id] = lane.models.pop(spec.id, _Batch())
        alone = not batch.takes(job)
        lane.at_work = None if alone else spec.id
        others = [] if alone else [begin_s] * (batch.slots - 1)
        lane.free_at = [*others, begin_s + run_s]

    def _make_room(self, spec: ModelSpec, where: _Lane) -> None:
        """Free models that no other lane works on, as far as the budget makes it necessary."""
        lanes = [lane for lane in self._lanes if lane.pool == where.pool]
        used_mb = sum(self._memory_mb(name) for lane in lanes for name in lane.models)
        budget_mb = self._residency.budgets.get(where.pool, math.inf)
        missing_mb = used_mb + self._residency.memory_mb(spec) - budget_mb
        for lane in lanes:
            for model_id in tuple(lane.models):
                if missing_mb > 0 and (lane is where or model_id != lane.at_work):
                    missing_mb -= self._memory_mb(model_id)
                    del lane.models[model_id]

    def _memory_mb(self, model_id: str) -> int:
        return self._residency.memory_mb(self._catalog.get(model_id))

    def _take_apart(self, state: LaneState, now: float) -> None:
        """Picture each model that servers run as a lane of its own: none waits for another."""
        for model_id in state.residents:
            jobs = [job for job in state.jobs.values() if job.submission.model_id == model_id]
            self._asking[model_id] = self._lane(state, jobs, now)

    def _lane(self, state: LaneState, jobs: Collection[Job], now: float) -> _Lane:
        by_use = sorted(state.residents.values(), key=lambda resident: resident.last_used)
        models = {r.spec.id: _Batch(r.slots, r.joins, r.exact) for r in by_use}
        ends = [self._remaining_s(state, job, now) for job in jobs]
        if not ends:
            return _Lane(state.kind, state.pool, models, None, [0.0])
        first = next(iter(jobs))
        model_id = first.submission.model_id
        batch = models.get(model_id, _Batch())
        if not batch.takes(first):
            return _Lane(state.kind, state.pool, models, None, ends)
        free_at = ends + [0.0] * (batch.slots - len(ends))
        heapq.heapify(free_at)
        return _Lane(state.kind, state.pool, models, model_id, free_at)

    def _remaining_s(self, state: LaneState, job: Job, now: float) -> float:
        run_s = self._durations.run_s(job)
        if run_s is None:
            self._known = False
            return 0.0
        passed_s = now - (job.started_at or now) - job.load_s
        if state.changing:
            run_s += self._durations.load_s(self._catalog.get(job.submission.model_id))
        return max(run_s - passed_s, _OVERRUN * passed_s)
