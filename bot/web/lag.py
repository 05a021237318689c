"""How late the event loop is: how long whoever is due has to wait for his turn.

This module owns the tick that finds out. It says nothing about why.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

TICK_S: Final = 0.05
KEPT_S: Final = 60.0


class LoopLag:
    """Looks at the running loop from ``start`` to ``close``."""

    def __init__(self) -> None:
        self._late: deque[tuple[int, float]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin to tick."""
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + TICK_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def close(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def overdue_s(self) -> float:
        """Return by how much the next tick is late already: the loop has just stood still."""
        return max(0.0, self._loop.time() - self._due) if self._loop and self._timer else 0.0

    def longest_s(self, within_s: float = KEPT_S) -> float:
        """Return the longest that the loop stood still lately, in seconds; it may just have."""
        now = self._loop.time() if self._loop else 0.0
        lately = (late for second, late in self._late if second >= int(now - within_s))
        return max(self.overdue_s(), *lately, 0.0)

    def _tick(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self._note(int(now), now - self._due)
        self._due = now + TICK_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def _note(self, second: int, late: float) -> None:
        """Keep the longest of each second."""
        if self._late and self._late[-1][0] == second:
            late = max(late, self._late.pop()[1])
        self._late.append((second, late))
        while self._late[0][0] < second - KEPT_S:
            self._late.popleft()
