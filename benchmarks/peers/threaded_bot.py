"""The same bot with its workers in a thread executor instead of processes of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import bot.app
from benchmarks.stalls import watch_next_loop
from bot.app import App, Substitutes, open_app
from bot.engine.port import Vitals
from bot.engine.protocol import Cancel, Command, Ready, Report
from bot.engine.spool import Spool
from bot.engine.worker import Worker, installed_backend
from bot.settings import Settings
from tests.e2e.launch_bot import main


class ThreadPort:
    """A worker whose every step is one call of the executor. See ``bot.engine.port``."""

    def __init__(self, spool: Path) -> None:
        self._worker = Worker(installed_backend, "cpu", Spool(spool), self._report)
        self._commands: asyncio.Queue[Command] = asyncio.Queue()
        self._reports: asyncio.Queue[Report] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._reports.put_nowait(Ready(pid=0))
        self._task = asyncio.create_task(self._work())

    async def send(self, command: Command) -> None:
        if isinstance(command, Cancel):
            self._worker.note_cancel(command.job_id)
        self._commands.put_nowait(command)

    async def events(self) -> AsyncIterator[Report]:
        while True:
            yield await self._reports.get()

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def vitals(self) -> Vitals:
        return Vitals()

    async def _work(self) -> None:
        while True:
            if self._worker.busy and self._commands.empty():
                await asyncio.to_thread(self._worker.step)
            else:
                await asyncio.to_thread(self._worker.handle, await self._commands.get())

    def _report(self, report: Report) -> None:
        self._loop.call_soon_threadsafe(self._reports.put_nowait, report)


@asynccontextmanager
async def open_threaded(
    settings: Settings, substitutes: Substitutes | None = None
) -> AsyncIterator[App]:
    """Open the bot as ``bot.app`` does, with other workers."""
    os.environ["OMP_NUM_THREADS"] = str(settings.engine.threads)
    start = substitutes or Substitutes(start_worker=lambda lane: ThreadPort(settings.spool_dir))
    async with open_app(settings, start) as app:
        yield app


if __name__ == "__main__":
    bot.app.open_app = open_threaded
    watch_next_loop()
    sys.exit(main(*sys.argv[1:]))
