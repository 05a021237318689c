"""One lane: the engine's side of one worker.

This module owns the worker's life (started when first needed, watched for its memory, ended when
it holds nothing any more) and sorts its reports. It must not decide anything: what to load and
what to run is the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import astuple, dataclass

from bot.engine.meter import Meter
from bot.engine.port import Vitals, WorkerGone, WorkerPort
from bot.engine.protocol import (
    PROTOCOL_VERSION,
    Command,
    JobCharged,
    JobEvent,
    JobFailed,
    JobStopped,
    Load,
    Loaded,
    LoadFailed,
    Ready,
    Report,
    Shutdown,
    Unload,
)
from bot.engine.residency import LaneState
from bot.logs import about
from models.catalog import ModelSpec
from models.errors import DeadlineExceeded, HandlerError, OutOfMemory, error_of_kind

_log = logging.getLogger(__name__)

_MEMORY_LOOK_S = 0.25
_GOODBYE_S = 5.0
_WARM_AFTER_JOBS = 5


@dataclass(slots=True)
class Age:
    """What a worker has been through.

    Attributes:
        jobs: That have left it.
        used_bytes: What it held when the last of them had.
        warm_bytes: What it held a few jobs after a model had last come or gone, 0 before that.
    """

    jobs: int = 0
    used_bytes: int = 0
    warm_bytes: int = 0
    _since_change: int = 0

    def job_left(self, used_bytes: int) -> None:
        """Count a job."""
        self.jobs += 1
        self.used_bytes = used_bytes
        self._since_change += 1
        if self._since_change == _WARM_AFTER_JOBS:
            self.warm_bytes = used_bytes

    def models_changed(self) -> None:
        """Forget what it held when it was warm: it holds something else now."""
        self.warm_bytes = self._since_change = 0


class WorkerLost(Exception):
    """The worker died, or was ended.

    Attributes:
        cause: Why the engine ended it; None when it died by itself.
        blamed: The job for whose sake the engine ended it, if it was one.
        jobs: Ids of the jobs that ran on it.
        innocent: Whether none of them can have caused it, such as when a machine was lost.
        started: Whether it ever spoke; before that there was only the attempt to have one.
    """

    def __init__(self, reason: str, cause: HandlerError | None, blamed: str | None) -> None:
        self.cause = cause
        self.blamed = blamed
        self.jobs: frozenset[str] = frozenset()
        self.innocent = False
        self.started = True
        super().__init__(reason)


JobReport = JobEvent | JobCharged | JobFailed | JobStopped | WorkerLost
Listener = Callable[[JobReport], None]


class Lane:
    """A worker, when there is one.

    Args:
        state: The ledger's view of this lane.
        start_worker: Makes the port of a new worker.
        memory_limit: Returns what a worker may hold before it is ended; 0 is no limit.
        meter: Is told of the worker's memory, and of its loss.
        lost: Called when a worker ended before its time that had worked, with what was loaded; not
            where its machine was lost, since there may be no other.

    Attributes:
        age: Of the worker that there is, or that there was last.
    """

    def __init__(
        self,
        state: LaneState,
        start_worker: Callable[[], WorkerPort],
        memory_limit: Callable[[], Vitals],
        meter: Meter,
        lost: Callable[[Lane, Sequence[ModelSpec]], None],
    ) -> None:
        self.state = state
        self.age = Age()
        self._lost_with = lost
        self._start_worker = start_worker
        self._memory_limit = memory_limit
        self._meter = meter
        self._port: WorkerPort | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._replies: asyncio.Queue[Report | WorkerLost] = asyncio.Queue()
        self._listeners: dict[str, Listener] = {}
        self._loaded: set[str] = set()
        self._dismissed = False
        self._ended_for: tuple[HandlerError | None, str | None] = (None, None)

    async def load(self, command: Load, deadline_s: float) -> Loaded:
        """Load a model, starting the worker if there is none.

        Raises:
            HandlerError: It does not load, or takes longer than ``deadline_s``.
            WorkerLost: The worker died.
        """
        try:
            async with asyncio.timeout(deadline_s):
                if self._port is None:
                    await self._start()
                report = await self._ask(command)
        except TimeoutError:
            await self.kill("a load missed its deadline", cause=DeadlineExceeded())
            raise DeadlineExceeded(
                f"{command.spec.name} took longer than {deadline_s:.0f} seconds to load."
            ) from None
        if isinstance(report, LoadFailed):
            if report.detail:
                _log.error("%s did not load: %s", report.model_id, report.detail)
            raise error_of_kind(report.kind, report.user_message)
        if not isinstance(report, Loaded):
            raise TypeError(f"the worker answered a load with {report}")
        self._loaded.add(report.model_id)
        self.age.models_changed()
        return report

    async def unload(self, model_id: str) -> None:
        """Free a model that the ledger has dropped already.

        A worker without any model is ended: only that surely gives its memory back.
        """
        self._loaded.discard(model_id)
        if not self._loaded:
            await self.retire()
            return
        self.age.models_changed()
        with contextlib.suppress(WorkerLost, TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._ask(Unload(model_id))
                return
        await self.kill("it did not free a model")

    async def retire(self) -> None:
        """End the worker in peace, with whatever it has loaded."""
        self._dismissed = True
        if self._port is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self.send(Shutdown())
                await asyncio.wait(self._tasks[:1])
                return
        await self.kill("it did not end")

    async def send(self, command: Command) -> None:
        """Send a command whose answer, or the worker's loss, goes to the listeners."""
        if self._port is not None:
            with contextlib.suppress(WorkerGone):
                await self._port.send(command)

    def listen(self, job_id: str, listener: Listener) -> None:
        """Pass a job's reports on, and the loss of the worker."""
        self._listeners[job_id] = listener

    def release(self, job_id: str) -> None:
        """Stop passing a job's reports on."""
        self._listeners.pop(job_id, None)
        if self._port is not None:
            self.age.job_left(self._port.vitals().rss_bytes)

    def vitals(self) -> Vitals:
        """Return what the worker holds now."""
        return self._port.vitals() if self._port is not None else Vitals()

    async def kill(
        self, reason: str, *, cause: HandlerError | None = None, blamed: str | None = None
    ) -> None:
        """End the worker at once, and wait until everybody concerned knows."""
        port, readers = self._port, self._tasks[:1]
        if port is None:
            return
        _log.warning("worker %s is ended: %s", self.state.name, reason)
        self._ended_for = (cause, blamed)
        await port.kill()
        await asyncio.wait(readers)

    async def close(self) -> None:
        """End the worker because the bot stops."""
        self._dismissed = True
        if self._port is not None:
            await self._port.kill()
            await asyncio.wait(self._tasks[:1])

    async def _start(self) -> None:
        port = self._start_worker()
        try:
            await port.start()
        except BaseException:
            await port.kill()
            raise
        self._port, self._replies = port, asyncio.Queue()
        self._dismissed, self._ended_for = False, (None, None)
        self.age = Age()
        self._tasks = [_in_background(self._read(port)), _in_background(self._watch_memory(port))]
        ready = await self._ask(None)
        if not isinstance(ready, Ready) or ready.protocol != PROTOCOL_VERSION:
            await self.kill(f"it speaks another protocol: {ready}")

    async def _ask(self, command: Command | None) -> Report:
        """Send a command and wait for the one report that answers it."""
        if self._port is None:
            raise WorkerLost("it has ended", *self._ended_for)
        if command is not None:
            await self.send(command)
        reply = await self._replies.get()
        if isinstance(reply, WorkerLost):
            raise reply
        return reply

    async def _read(self, port: WorkerPort) -> None:
        gone, started = WorkerGone("it closed its pipe"), False
        with about(lane=self.state.name):
            try:
                async for report in port.events():
                    started = True
                    self._sort(report)
            except WorkerGone as told:
                gone = told
            self._lost(gone, started=started)

    def _sort(self, report: Report) -> None:
        if isinstance(report, JobEvent | JobCharged | JobFailed | JobStopped):
            listener = self._listeners.get(report.job_id)
            if listener is not None:
                listener(report)
        else:
            self._replies.put_nowait(report)

    def _lost(self, gone: WorkerGone, *, started: bool) -> None:
        """Forget the worker and tell those who wait for it."""
        self._port = None
        self._tasks[1].cancel()
        by_use = sorted(self.state.residents.values(), key=lambda one: -one.last_used)
        had = [resident.spec for resident in by_use if resident.spec.id in self._loaded]
        for spec in had:
            del self.state.residents[spec.id]
        self._loaded.clear()
        self._meter.worker_memory(self.state.name, None)
        if self._dismissed:
            return
        lost = WorkerLost(gone.reason, *self._ended_for)
        lost.jobs = frozenset(self.state.jobs)
        lost.innocent, lost.started = gone.innocent and lost.cause is None, started
        reason = "out_of_reach" if lost.innocent else "died"
        self._meter.worker_lost(self.state.name, lost.cause.kind if lost.cause else reason)
        jobs = ", ".join(f"job {job_id}" for job_id in lost.jobs) or "no job"
        _log.warning("worker %s is gone with %s: %s", self.state.name, jobs, gone.reason)
        self._replies.put_nowait(lost)
        worked = self.age.jobs or self._listeners
        for listener in tuple(self._listeners.values()):
            listener(lost)
        if worked and not lost.innocent and not isinstance(lost.cause, OutOfMemory):
            self._lost_with(self, had)

    async def _watch_memory(self, port: WorkerPort) -> None:
        with about(lane=self.state.name):
            while True:
                await asyncio.sleep(_MEMORY_LOOK_S)
                used, most = port.vitals(), self._memory_limit()
                self._meter.worker_memory(self.state.name, used.rss_bytes)
                for held, limit in zip(astuple(used), astuple(most), strict=True):
                    if limit and held > limit:
                        await self.kill(f"it uses {held >> 20} MiB", cause=OutOfMemory())


def _in_background(coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """Start a task that outlives its starter, and so must not inherit the starter's context."""
    loop = asyncio.get_running_loop()
    return loop.create_task(coroutine, context=contextvars.Context())
