"""What is done for workers without anybody asking: loaded at the start, back after a loss, renewed.

This module owns when models come that no job waits for, and when a worker is old. A job that can
start always goes first: between two models its lane is free for whoever waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable

from bot.engine.lane import Lane, WorkerLost
from bot.engine.meter import Meter
from bot.engine.residency import Residency, Resident
from bot.logs import about
from bot.settings import EngineSettings
from models.catalog import ModelSpec
from models.errors import HandlerError

_log = logging.getLogger(__name__)

_ALLOWED_BYTES = 200 << 20
"""So much more than what it held when it was warm a worker always may hold."""

Bring = Callable[[Lane, ModelSpec], Awaitable[None]]


class Upkeep:
    """Keeps workers ready.

    Args:
        settings: When a worker is old.
        residency: The ledger of what is loaded.
        bring: Loads a model whose room is reserved.
        changed: Called when a lane may take a job again.
        meter: Is told of workers that are renewed.
    """

    def __init__(
        self,
        settings: EngineSettings,
        residency: Residency,
        bring: Bring,
        changed: Callable[[], None],
        meter: Meter,
    ) -> None:
        self._settings = settings
        self._residency = residency
        self._bring = bring
        self._changed = changed
        self._meter = meter
        self._tasks: set[asyncio.Task[None]] = set()

    def warm(self, lanes: Iterable[Lane], specs: Iterable[ModelSpec]) -> None:
        """Load models before anybody asks, on the first lane of theirs that has nothing to do."""
        for spec in specs:
            self._residency.last_to_go.add(spec.id)
            for lane in lanes:
                if lane.state in self._residency.lanes_for(spec) and self._has_room(lane, spec):
                    self._reserve(lane, spec)
                    self._spawn(self._load([spec], lane))
                    break

    def lost(self, lane: Lane, specs: Iterable[ModelSpec]) -> None:
        """Start a worker again that ended before its time, with what was loaded there."""
        specs = list(specs)
        if specs and not lane.state.changing:
            self._reserve(lane, specs[0])
            self._spawn(self._load(specs, lane))

    def rested(self, lane: Lane) -> None:
        """Renew a worker that has grown old, now that a job has left it and no other is there."""
        state, age = lane.state, lane.age
        if not state.idle or not state.residents:
            return
        grown = age.used_bytes - self._settings.recycle_growth * age.warm_bytes > _ALLOWED_BYTES
        if (age.warm_bytes and grown) or age.jobs >= self._settings.recycle_jobs:
            _log.info(
                "worker %s is started anew: %d jobs, %d MiB, %d when it was warm",
                *(state.name, age.jobs, age.used_bytes >> 20, age.warm_bytes >> 20),
            )
            self._meter.worker_renewed(state.name)
            state.changing = True
            self._spawn(self._renew(lane))

    async def close(self) -> None:
        """Bring nothing any more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _renew(self, lane: Lane) -> None:
        residents = sorted(lane.state.residents.values(), key=lambda one: -one.last_used)
        specs = [resident.spec for resident in residents]
        try:
            await lane.retire()
            self._reserve(lane, specs[0])
        except BaseException:
            lane.state.changing = False
            raise
        await self._load(specs, lane)

    async def _load(self, specs: Iterable[ModelSpec], lane: Lane) -> None:
        """Load models, of which the first is reserved, as long as nobody needs their lane."""
        for number, spec in enumerate(specs):
            if number:
                if not self._has_room(lane, spec):
                    return
                self._reserve(lane, spec)
            try:
                with about(lane=lane.state.name, model=spec.id):
                    await self._bring(lane, spec)
            except (HandlerError, WorkerLost) as error:
                _log.warning("%s was not loaded in advance: %s", spec.id, error)
                return
            finally:
                lane.state.changing = False
                self._changed()

    def _has_room(self, lane: Lane, spec: ModelSpec) -> bool:
        state = lane.state
        unneeded = not state.idle or spec.id in state.residents
        return not unneeded and self._residency.room_for(spec, state) == []

    def _reserve(self, lane: Lane, spec: ModelSpec) -> None:
        lane.state.changing = True
        memory_mb = self._residency.memory_mb(spec)
        lane.state.residents[spec.id] = Resident(spec, memory_mb, last_used=time.time())

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        """Do something that has nothing to do with the job that brought it about."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(coroutine, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("the upkeep of a worker failed", exc_info=error)
