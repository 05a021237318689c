"""A stepper whose jobs wait for somebody else: each is a task of an event loop in a thread.

This module owns the thread and the hand-over between it and the worker's loop. It must not know
what the tasks do.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from models.contracts import Control, Finished, HandlerEvent, Joins

_STEP_S: Final = 0.1
"""Longest time that a step waits for news."""

Work = Callable[[Any, Control], AsyncIterator[HandlerEvent]]


@dataclass(eq=False, slots=True)
class _Admission:
    """A job that was taken in; the same job may be taken in again after a cancel."""

    job_id: str
    task: Future[None] | None = None


class TaskStepper:
    """Runs jobs side by side. A cancel ends the job's task wherever it waits."""

    joins: Joins = "anytime"
    exact = True

    def __init__(self, slots: int, work: Work, close: Callable[[], Awaitable[None]]) -> None:
        """Start the thread.

        Args:
            slots: Jobs at once.
            work: Turns a request into events; a cancel is an ``asyncio.CancelledError`` in it.
            close: Frees what the jobs share, at the end.
        """
        self.slots = slots
        self._work = work
        self._close = close
        self._news: queue.SimpleQueue[tuple[_Admission, HandlerEvent | Exception]]
        self._news = queue.SimpleQueue()
        self._admitted: dict[str, _Admission] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def admit(self, job_id: str, request: Any, control: Control) -> None:
        """Start a job."""
        admission = self._admitted[job_id] = _Admission(job_id)
        admission.task = asyncio.run_coroutine_threadsafe(
            self._drive(admission, request, control), self._loop
        )

    def step(self) -> list[tuple[str, HandlerEvent | Exception]]:
        """Return what has come in, after a short wait for the first of it."""
        news: list[tuple[_Admission, HandlerEvent | Exception]] = []
        with suppress(queue.Empty):
            news.append(self._news.get(timeout=_STEP_S))
            while True:
                news.append(self._news.get_nowait())
        happened = []
        for admission, event in news:
            if self._admitted.get(admission.job_id) is not admission:
                continue
            if isinstance(event, Finished | Exception):
                del self._admitted[admission.job_id]
            happened.append((admission.job_id, event))
        return happened

    def cancel(self, job_id: str) -> None:
        """End a job's task."""
        admission = self._admitted.pop(job_id, None)
        if admission is not None and admission.task is not None:
            admission.task.cancel()

    def close(self) -> None:
        """End all tasks and the thread."""
        self._admitted.clear()
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _drive(self, admission: _Admission, request: Any, control: Control) -> None:
        try:
            async for event in self._work(request, control):
                self._news.put((admission, event))
        except Exception as error:  # noqa: BLE001 - it ends this job; the worker tells the member
            self._news.put((admission, error))

    async def _shut_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()  # where names are resolved
