"""The lanes together: brings models to workers and takes them away again.

This module carries out what the scheduler and the ledger decided, and frees what has been idle for
long. It must not know jobs beyond the one that a model is loaded for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from bot.engine.durations import Durations
from bot.engine.lane import Lane, WorkerLost
from bot.engine.local import RAM
from bot.engine.meter import Meter
from bot.engine.port import LanePlan, Vitals, Workers
from bot.engine.protocol import Load
from bot.engine.residency import Eviction, LaneState, Residency, Resident
from bot.engine.scheduler import Placement
from bot.engine.upkeep import Upkeep
from bot.logs import about
from bot.settings import EngineSettings
from models.catalog import ModelSpec, Tool, Weights
from models.errors import HandlerError
from models.weights import Places, placed

_log = logging.getLogger(__name__)

_REST_S, _LONGEST_REST_S = 30.0, 480.0


class Fleet:
    """All lanes and their models.

    Args:
        settings: Lanes, budget, deadlines.
        weights: Where weights are found.
        tools: Of the catalogue, which handlers may use.
        durations: Learns how long loads take.
        workers: Where workers come from.
        changed: Called when a lane may take a job again.
        meter: Is told of loads and workers.
    """

    def __init__(
        self,
        settings: EngineSettings,
        weights: Places,
        tools: Mapping[Tool, Weights],
        durations: Durations,
        workers: Workers,
        changed: Callable[[], None],
        meter: Meter,
    ) -> None:
        self._settings = settings
        self._weights = weights
        self._tools = tools
        self._durations = durations
        self._changed = changed
        self._meter = meter
        self._workers = workers
        self._lanes = {plan.name: self._lane(plan) for plan in workers.lanes()}
        states = [lane.state for lane in self._lanes.values()]
        self.residency = Residency(states, workers.budgets())
        self.upkeep = Upkeep(settings, self.residency, self._bring, changed, meter)
        self._misses: Counter[str] = Counter()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._unloading: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Reach whatever the workers run on; a job that is to run there tells, if that fails."""
        try:
            await self._workers.open()
            self.residency.budgets = self._workers.budgets()
        except HandlerError as error:
            _log.error("workers are out of reach: %s", error.user_message)

    def lane(self, state: LaneState) -> Lane:
        """Return a lane by its entry in the ledger."""
        return self._lanes[state.name]

    def reserve(self, placement: Placement, spec: ModelSpec) -> None:
        """Enter a load into the ledger, so that no other decision takes its room."""
        for lane, model_id in placement.evictions or ():
            del lane.residents[model_id]
            lane.changing = True
        placement.lane.changing = True
        memory_mb = self.residency.memory_mb(spec)
        placement.lane.residents[spec.id] = Resident(spec, memory_mb, last_used=time.time())

    async def load(self, placement: Placement, spec: ModelSpec) -> None:
        """Load a model whose room is reserved.

        Raises:
            HandlerError: It is not here, or does not load.
            WorkerLost: The worker died.
        """
        lane, job, began = self.lane(placement.lane), placement.job, time.time()
        with about(**job.log_fields):
            try:
                await self._unload(placement.evictions or (), keep=placement.lane)
                await self._bring(lane, spec)
                job.load_s = time.time() - began
            finally:
                lane.state.changing = False
                self._changed()

    def warm(self, specs: Iterable[ModelSpec]) -> None:
        """Load models before anybody asks for them, where that disturbs nobody."""
        self.upkeep.warm(self._lanes.values(), specs)

    def plan_idle_unload(self) -> None:
        """Set the clock for the model that has been unused for the longest time."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        oldest = self.residency.oldest_use()
        if oldest is not None:
            delay_s = max(0.0, oldest + self._settings.idle_unload_s - time.time())
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(delay_s, self._unload_idle)

    async def close(self) -> None:
        """End every worker."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for task in self._unloading:
            task.cancel()
        await self.upkeep.close()
        for lane in self._lanes.values():
            await lane.close()
        await self._workers.close()

    def _lane(self, plan: LanePlan) -> Lane:
        state = LaneState(plan.name, plan.kind, plan.pool)
        limit = partial(self._memory_limit, plan)
        start_worker = partial(self._workers.port, plan)
        return Lane(state, start_worker, limit, self._meter, self._lost)

    def _lost(self, lane: Lane, specs: Sequence[ModelSpec]) -> None:
        self.upkeep.lost(lane, specs)

    def _memory_limit(self, plan: LanePlan) -> Vitals:
        """Return what a worker may hold; one of a GPU holds little in the machine's own memory.

        Without a bound of the owner's its driver refuses what it does not have.
        """
        if plan.kind == "net":
            return Vitals()
        budgets = self._workers.budgets()
        budget_mb = budgets.get(RAM) or budgets.get(plan.pool, 0)
        rss_mb = self._settings.worker_memory_mb or budget_mb
        return Vitals(rss_mb << 20, self._settings.vram_mb << 20)

    async def _bring(self, lane: Lane, spec: ModelSpec) -> None:
        """Load a model whose room is reserved, which is free again if that fails."""
        began = time.time()
        try:
            location = self._weights.locate(spec)
            command = Load(placed(spec, self._weights, self._tools), location)
            loaded = await lane.load(command, self._settings.load_deadline_s)
        except BaseException as error:
            self._meter.loaded(spec, time.time() - began, ok=False)
            lane.state.residents.pop(spec.id, None)
            if isinstance(error, WorkerLost) and error.innocent and not error.started:
                self._rest(lane.state)
            raise
        self._misses.pop(lane.state.name, None)
        self._meter.loaded(spec, time.time() - began, ok=True)
        self._durations.loaded(spec.id, time.time() - began)
        resident = lane.state.residents[spec.id]
        resident.slots, resident.joins = loaded.slots, loaded.joins
        resident.exact = loaded.exact
        seen = loaded.vram_bytes or lane.vitals().vram_bytes
        used = seen if lane.state.kind == "gpu" else loaded.rss_bytes
        self.residency.measured(lane.state, spec.id, used)

    def _rest(self, state: LaneState) -> None:
        """Let others have the jobs, for longer each time: there is no place for a worker now."""
        state.resting = True
        rest_s = min(_REST_S * 2 ** self._misses[state.name], _LONGEST_REST_S)
        self._misses[state.name] += 1
        asyncio.get_running_loop().call_later(rest_s, self._rested, state)

    def _rested(self, state: LaneState) -> None:
        state.resting = False
        self._changed()

    def _unload_idle(self) -> None:
        evictions = self.residency.unused_since(time.time() - self._settings.idle_unload_s)
        for lane, model_id in evictions:
            del lane.residents[model_id]
            lane.changing = True
        task = asyncio.create_task(self._unload(evictions))
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    async def _unload(self, evictions: Iterable[Eviction], keep: LaneState | None = None) -> None:
        """Free models that left the ledger; lanes other than ``keep`` may take jobs again."""
        for lane, model_id in evictions:
            await self.lane(lane).unload(model_id)
        for lane, _ in evictions:
            lane.changing = lane is keep
        self._changed()
