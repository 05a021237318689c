"""An event loop whose clock jumps: what sleeps wakes at once, in the order of the timers.

Whether a test holds then depends on no machine's speed. This module owns that clock. Where somebody
outside the loop is at work, a thread or whoever is at the other end of a socket, it waits for real.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer, tells how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self.threads:
            return super().select(None)
        if timeout is None or len(self.get_map()) > 1:  # one is the loop's own
            began = time.monotonic()
            found = super().select(timeout)
            self.now += time.monotonic() - began
            return found
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at nought and passes only while it would wait."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def wall_time(self) -> float:
        """Return Unix time in seconds, ahead by what was jumped over."""
        return _wall_time() + self._jumping.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        future.add_done_callback(self._thread_is_done)
        return future

    def _thread_is_done(self, _: object) -> None:
        self._jumping.threads -= 1


_wall_time = time.time
