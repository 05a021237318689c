"""A library's long call as a series of steps.

This module owns the thread in which a call runs that cannot be paused, such as a diffusion
pipeline, and the hand-over of what its callback tells. It must not know what the call does.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E")


class Stopped(Exception):
    """The call was told to stop, and did."""


class StepThread:
    """Runs one call at a time, always in the same thread: libraries keep memory per thread."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="steps")

    def run(
        self, work: Callable[[Callable[[T], None]], R], cancelled: Callable[[], bool]
    ) -> Generator[T, None, R]:
        """Yield what ``work`` tells while it runs; the generator's value is what it returns.

        Closing the generator stops the call at its next step, and waits for that.

        Args:
            work: Gets a function to call at each step with what is to be told. When the call
                should stop, that function raises ``Stopped``.
            cancelled: Asked at each step.

        Raises:
            Stopped: ``cancelled`` said so.
        """
        news: queue.SimpleQueue[T | Future[Any]] = queue.SimpleQueue()
        closed = threading.Event()

        def tell(item: T) -> None:
            if closed.is_set() or cancelled():
                raise Stopped
            news.put(item)

        call = self._executor.submit(work, tell)
        call.add_done_callback(news.put)
        try:
            while not isinstance(item := news.get(), Future):
                yield item
            return call.result()
        finally:
            closed.set()
            wait([call])

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown()


def relayed(
    steps: Generator[T, None, R], events: Callable[[T], Iterable[E]]
) -> Generator[E, None, R]:
    """Yield what is to be told of each step; the value is that of ``steps``."""
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as ended:
                value: R = ended.value
                return value
            yield from events(step)
