"""The simulated Discord for tests: time moves only when a test moves it.

simcord lets short timers fire by the wall clock, and takes a task that waits for another task for
one that hangs. Both would make a bot with an engine restless, and slow to test. Here a
timer fires in ``advance_time`` alone, and the bot is at rest when each of its tasks waits for a
timer or another task. What waits for a thread (the database) or an executor is still at work.
"""

from __future__ import annotations

import asyncio
import weakref
from asyncio import mixins
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import simcord
from simcord import _settlement
from simcord._dpy_internals import _original_callback

from models.errors import HandlerError


class StillEnv(simcord.Env):
    """A simulated Discord whose clock only tests move."""

    def __init__(self, bot: Any, **options: Any) -> None:
        super().__init__(bot, shard_count=1, settle_timeout=100.0, **options)

    @property
    def elapsed_s(self) -> float:
        """Seconds by which the clock was moved."""
        return float(self._virtual_time)

    def raise_unseen_errors(self) -> None:
        """Raise what the bot raised and the test did not look at."""
        self._raise_errors_since(self._errors_acknowledged)

    def _schedule_timer(self, *_: Any) -> None:
        """Give no timer a second life by the wall clock."""

    def _record_error(self, error: BaseException) -> None:
        """Leave out what the bot tells its member in a sentence: that is an answer, no fault."""
        if not isinstance(getattr(error, "original", error), HandlerError):
            super()._record_error(error)


@contextmanager
def waits_between_tasks_are_rest() -> Iterator[None]:
    """Let simcord see a task at rest that waits for a queue, an event or a lock of the process."""
    waits: weakref.WeakSet[asyncio.Future[Any]] = weakref.WeakSet()
    get_loop, park_reason = mixins._LoopBoundMixin._get_loop, _settlement._park_reason

    class Loop:
        """Notes the futures that asyncio's own queues and locks make."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop

        def create_future(self) -> asyncio.Future[Any]:
            future = self._loop.create_future()
            waits.add(future)
            return future

    def reason(state: Any, task: asyncio.Task[Any], deadline: float, seen: Any = None) -> Any:
        waiter = getattr(task, "_fut_waiter", None)
        if waiter is not None and not waiter.done():
            if waiter in waits:
                return "waits for another task"
            if _has_timeout(state, waiter):
                return "waits with a timeout for a task that is looked at by itself"
        return park_reason(state, task, deadline, seen)

    mixins._LoopBoundMixin._get_loop = lambda self: Loop(get_loop(self))
    _settlement._park_reason = reason
    try:
        yield
    finally:
        mixins._LoopBoundMixin._get_loop = get_loop
        _settlement._park_reason = park_reason


def _has_timeout(state: Any, waiter: Any) -> bool:
    """Tell the outer half of ``asyncio.wait_for``, whose inner half is a task of its own."""
    return any(
        getattr(_original_callback(record.handle._callback), "__name__", "") == "_release_waiter"
        and waiter in (record.handle._args or ())
        for record in state.work.callbacks
        if record.when is not None and record.handle and not record.handle.cancelled()
    )
