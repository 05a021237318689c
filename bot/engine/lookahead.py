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
from bot.engine.kinds import Kind, kind_of
from bot.engine.port import LaneKind
from bot.engine.residency import LONG_S, LaneState, Residency
from models.catalog import Catalog, ModelSpec
from models.contracts import Joins

_OVERRUN = 0.1
"""A job that takes longer than expected is taken to need so much more of what it took so far."""


class _Batch(NamedTuple):
    """How a loaded model takes several jobs; unknown of one that was never loaded."""

    slots: int = 1
    joins: Joins = "anytime"
    exact: bool = False


@dataclass(slots=True)
class _Lane:
    """A lane to come.

    Attributes:
        kind, pool: As of the lane that it is a picture of.
        models: What is loaded, the least recently used first.
        free_at: A heap: in how many seconds each slot of the model that it works on last is free.
        at_work: What it works on last, None where it does not work.
        seats: How many more may start with that.
        begins_s: In how many seconds that starts.
        gives_way_s: In how many seconds its long jobs give way to a short one, ``inf`` for never.
    """

    kind: LaneKind
    pool: str
    models: dict[str, _Batch]
    free_at: list[float]
    at_work: Kind | None = None
    seats: int = 0
    begins_s: float = 0.0
    gives_way_s: float = math.inf

    def works_on(self, model_id: str) -> bool:
        """Whether it works on a model last."""
        return self.at_work is not None and self.at_work.model_id == model_id

    def start_s(self, kind: Kind) -> float:
        """Return in how many seconds a job can start."""
        if not self.may_join(kind):
            return max(self.free_at)
        together = self.models[kind.model_id].joins == "start"
        return self.begins_s if together else self.free_at[0]

    def may_join(self, kind: Kind) -> bool:
        """Whether a job may share what it works on last."""
        if self.at_work is None or not self.works_on(kind.model_id):
            return False
        batch = self.models.get(kind.model_id, _Batch())
        fits = batch.joins == "anytime" or self.seats > 0
        return fits and kind in self.at_work.beside(exact=batch.exact)

    def take(self, kind: Kind, begin_s: float, end_s: float) -> None:
        """Let a job run whose model is loaded."""
        joins = self.may_join(kind)
        batch = self.models[kind.model_id] = self.models.pop(kind.model_id)
        anytime = batch.joins == "anytime"
        if joins and anytime:
            heapq.heapreplace(self.free_at, end_s)
        elif joins:
            self.seats -= 1
            self.free_at = [max(*self.free_at, end_s)]
        else:
            self.at_work, self.begins_s, self.seats = kind, begin_s, batch.slots - 1
            self.free_at = [*[begin_s] * (self.seats if anytime else 0), end_s]
            self.gives_way_s = math.inf

    def give_way(self, begin_s: float, end_s: float) -> None:
        """Let a short job run while long ones stand still, which then go on for as long."""
        self.gives_way_s = end_s + max(LONG_S, end_s - begin_s)
        self.free_at = [free_s + end_s - begin_s for free_s in self.free_at]


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
        self._unknown: set[str] = set()
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
        spec = self._catalog.get(job.submission.model_id)
        kind, line = kind_of(job, spec), self._residency.line_for(spec)
        if line in self._unknown:
            return None
        run_s = self._durations.run_s(job)
        short = run_s is not None and run_s <= LONG_S
        lane, start_s, load_s = self._soonest(kind, spec, short=short)
        if run_s is None:
            self._unknown.add(line)
            return start_s
        if spec.id not in lane.models:
            self._make_room(spec, lane)
            lane.models[spec.id] = _Batch()
        if start_s < lane.start_s(kind):
            lane.give_way(start_s, start_s + load_s + run_s)
        else:
            lane.take(kind, start_s + load_s, start_s + load_s + run_s)
        return start_s

    def _soonest(self, kind: Kind, spec: ModelSpec, *, short: bool) -> tuple[_Lane, float, float]:
        """Return the lane on which a job begins first, when it starts there, and how it loads."""
        choices = []
        lanes = self._lanes_for(spec)
        for number, lane in enumerate(lanes):
            start_s = lane.start_s(kind)
            if short and not lane.works_on(spec.id):
                start_s = min(start_s, lane.gives_way_s)
            load_s = 0.0 if spec.id in lane.models else self._durations.load_s(spec)
            choices.append((start_s + load_s, number, start_s, load_s))
        _, number, start_s, load_s = min(choices)
        return lanes[number], start_s, load_s

    def _lanes_for(self, spec: ModelSpec) -> Sequence[_Lane]:
        if spec.is_hosted:
            return [self._asking.setdefault(spec.id, _Lane("net", "", {}, [0.0]))]
        kind = self._residency.kind_for(spec)
        return [lane for lane in self._lanes if lane.kind == kind]

    def _make_room(self, spec: ModelSpec, where: _Lane) -> None:
        """Free models that no other lane works on, as far as the budget makes it necessary."""
        lanes = [lane for lane in self._lanes if lane.pool == where.pool]
        used_mb = sum(self._memory_mb(name) for lane in lanes for name in lane.models)
        budget_mb = self._residency.budgets.get(where.pool, math.inf)
        missing_mb = used_mb + self._residency.memory_mb(spec) - budget_mb
        for lane in lanes:
            for model_id in tuple(lane.models):
                if missing_mb > 0 and (lane is where or not lane.works_on(model_id)):
                    missing_mb -= self._memory_mb(model_id)
                    del lane.models[model_id]

    def _memory_mb(self, model_id: str) -> int:
        return self._residency.memory_mb(self._catalog.get(model_id))

    def _take_apart(self, state: LaneState, now: float) -> None:
        """Picture each model that servers run as a lane of its own: none waits for another."""
        for model_id in state.residents:
            self._asking[model_id] = self._lane(state, state.jobs_of(model_id), now)

    def _lane(self, state: LaneState, jobs: Collection[Job], now: float) -> _Lane:
        by_use = sorted(state.residents.values(), key=lambda resident: resident.last_used)
        models = {r.spec.id: _Batch(r.slots, r.joins, r.exact) for r in by_use}
        ends = [self._remaining_s(state, job, now) for job in jobs]
        lane = _Lane(state.kind, state.pool, models, ends or [0.0])
        if jobs:
            first = next(iter(jobs))
            spec = self._catalog.get(first.submission.model_id)
            lane.at_work = kind_of(first, spec)
            lane.free_at += [0.0] * (models.get(spec.id, _Batch()).slots - len(ends))
            heapq.heapify(lane.free_at)
        gives_way_at = state.gives_way_at()
        if gives_way_at is not None:
            lane.gives_way_s = max(0.0, gives_way_at - now)
        return lane

    def _remaining_s(self, state: LaneState, job: Job, now: float) -> float:
        spec = self._catalog.get(job.submission.model_id)
        run_s = self._durations.run_s(job)
        if run_s is None:
            self._unknown.add(self._residency.line_for(spec))
            return 0.0
        passed_s = now - (job.started_at or now) - job.load_s
        if state.changing:
            run_s += self._durations.load_s(spec)
        return max(run_s - passed_s, _OVERRUN * passed_s)
