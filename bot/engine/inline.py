"""A worker inside the event loop, for tests and the simulated Discord.

The same stepping loop as in a process, driven by the loop's own (possibly virtual) time. It has
no protection against a handler that blocks: never for real models.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from bot.engine.local import lane_plans, local_budgets
from bot.engine.port import LanePlan, Vitals, WorkerGone, WorkerPort
from bot.engine.protocol import Command, Ready, Report, Shutdown
from bot.engine.spool import Spool
from bot.engine.worker import ResolveBackend, Worker
from bot.settings import EngineSettings

Pace = Callable[[], float]
"""Returns the seconds that what was just done is meant to have taken."""


class InlinePort:
    """One worker without a process.

    It has no task of its own while nothing runs, so that a simulated clock sees it at rest.

    Args:
        resolve: Finds backends.
        spool: Folder of the spool.
        pace: Asked after each command and each step how long to sleep.
    """

    def __init__(self, resolve: ResolveBackend, spool: Path, pace: Pace = lambda: 0.0) -> None:
        self._produced: list[Report] = []
        self._worker = Worker(resolve, "cpu", Spool(spool), self._produced.append)
        self._pace = pace
        self._commands: deque[Command] = deque()
        self._reports: asyncio.Queue[Report | WorkerGone] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._gone: WorkerGone | None = None

    async def start(self) -> None:
        self._reports.put_nowait(Ready(pid=0))

    async def send(self, command: Command) -> None:
        if self._gone is not None:
            raise self._gone
        self._commands.append(command)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def events(self) -> AsyncIterator[Report]:
        while True:
            report = await self._reports.get()
            if isinstance(report, WorkerGone):
                raise report
            yield report

    async def kill(self) -> None:
        self._end("killed")
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait({self._task})

    def vitals(self) -> Vitals:
        return Vitals()

    async def _work(self) -> None:
        """Do what there is to do, then rest. A handler's ``SystemExit`` plays a crash."""
        try:
            while self._commands or self._worker.busy:
                while self._commands:
                    command = self._commands.popleft()
                    self._worker.handle(command)
                    await self._deliver()
                    if isinstance(command, Shutdown):
                        self._end("shut down")
                        return
                self._worker.step()
                await self._deliver()
        except SystemExit:
            self._end("crashed")

    async def _deliver(self) -> None:
        await asyncio.sleep(self._pace())
        for report in self._produced:
            self._reports.put_nowait(report)
        self._produced.clear()

    def _end(self, reason: str) -> None:
        if self._gone is None:
            self._gone = WorkerGone(reason)
            self._reports.put_nowait(self._gone)


class SomeWorkers:
    """The lanes of this machine with workers of any kind, for tests and the simulated Discord.

    Args:
        settings: Lanes, devices, memory.
        start_worker: Makes the port of a lane by its name.
    """

    def __init__(self, settings: EngineSettings, start_worker: Callable[[str], WorkerPort]) -> None:
        self._settings = settings
        self._start_worker = start_worker

    def lanes(self) -> Sequence[LanePlan]:
        return lane_plans(self._settings)

    def budgets(self) -> Mapping[str, int]:
        return local_budgets(self._settings)

    async def open(self) -> None:
        """Reach nothing."""

    def port(self, lane: LanePlan) -> WorkerPort:
        return self._start_worker(lane.name)

    async def close(self) -> None:
        """Let go of nothing."""
