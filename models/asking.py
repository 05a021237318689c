"""A handler's generator that asks a server, as the work of a task.

This module owns the thread in which such a generator decodes and encodes, so that the event loop
never does, and the way in which it waits for the loop. It must not know what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from models.contracts import HandlerEvent

T = TypeVar("T")


class Asker:
    """Waits, in another thread, for coroutines of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: Future[Any] | None = None
        self._ended = False

    def __call__(self, question: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns.

        Raises:
            concurrent.futures.CancelledError: The task was ended meanwhile.
        """
        self._asked = asked = asyncio.run_coroutine_threadsafe(question, self._loop)
        if self._ended:
            asked.cancel()
        return asked.result()

    def end(self) -> None:
        """Cancel what is waited for, and all that will be asked."""
        self._ended = True
        if self._asked is not None:
            self._asked.cancel()


async def in_thread(
    work: Callable[[Asker], Iterator[HandlerEvent]],
) -> AsyncIterator[HandlerEvent]:
    """Yield the events of a generator that runs in a thread of its own.

    A cancel ends what it waits for; then the generator is closed in its thread.

    Args:
        work: Makes the generator. It gets a function that waits for a coroutine.
    """
    loop = asyncio.get_running_loop()
    asker = Asker(loop)
    events = work(asker)
    executor = ThreadPoolExecutor(1, thread_name_prefix="asking")
    try:
        while (event := await loop.run_in_executor(executor, next, events, None)) is not None:
            yield event
    finally:
        asker.end()
        closing = executor.submit(_close, events)
        executor.shutdown(wait=False)
        await asyncio.wait([asyncio.wrap_future(closing)])


def _close(events: Iterator[HandlerEvent]) -> None:
    close: Callable[[], None] = getattr(events, "close", lambda: None)
    close()
