"""How often messages are edited while jobs run: the newest state, within Discord's limits.

This module owns the pace. Discord counts edits by bucket: those by an interaction's token on their
own, those by the bot's token together for a channel. It must not know what an edit shows: it calls
back when one is due, so that what is shown is always the newest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)

EDIT_INTERVAL_S = 1.25
"""Discord allows five edits in five seconds; the rest is left to final edits and to buttons."""


@dataclass(slots=True)
class _Line:
    """A message that is being edited."""

    edit: Callable[[], Awaitable[None]]
    ready_at: float
    dirty: bool = False
    interval_s: float = 0.0
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class _Bucket:
    """Messages that share a limit, those that waited longest first."""

    keys: list[int] = field(default_factory=list)
    ready_at: float = 0.0
    worker: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class EditThrottle:
    """Edits messages no faster than Discord lets it.

    Args:
        interval_s: Least time between two edits of one bucket, in seconds.
        clock: Monotonic time in seconds; the event loop's by default.
    """

    def __init__(
        self, interval_s: float = EDIT_INTERVAL_S, clock: Callable[[], float] | None = None
    ) -> None:
        self._interval_s = interval_s
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._lines: dict[int, _Line] = {}
        self._buckets: dict[str, _Bucket] = {}

    def open(self, key: int, edit: Callable[[], Awaitable[None]], *, after_s: float = 0.0) -> None:
        """Begin with a message.

        Args:
            key: Its id.
            edit: Brings it into its newest state; what it raises is logged and forgotten.
            after_s: No edit before so many seconds.
        """
        self._lines[key] = _Line(edit, self._clock() + after_s)

    def request(self, key: int, bucket: str, *, interval_s: float = 0.0) -> None:
        """Ask for an edit of an open message; several requests become one.

        Args:
            key: Its id; nothing happens if it is not open.
            bucket: What it shares Discord's limit with.
            interval_s: Least time between two edits of this message, in seconds.
        """
        line = self._lines.get(key)
        if line is None:
            return
        line.interval_s = interval_s
        if line.dirty:
            return
        line.dirty = True
        place = self._buckets.setdefault(bucket, _Bucket())
        place.keys.append(key)
        place.changed.set()
        if place.worker is None:
            place.worker = asyncio.create_task(self._work(bucket, place), name=f"edits {bucket}")

    async def finish(self, key: int) -> None:
        """End with a message: no edit begins after this, and one that has begun is waited for."""
        line = self._lines.pop(key, None)
        if line is not None:
            async with line.busy:
                pass

    async def close(self) -> None:
        """End with every message."""
        workers = [bucket.worker for bucket in self._buckets.values() if bucket.worker]
        self._lines.clear()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, name: str, bucket: _Bucket) -> None:
        """Serve a bucket until nothing of it waits and its distance is kept."""
        try:
            while bucket.keys or bucket.ready_at > self._clock():
                bucket.changed.clear()
                key, due_at = self._next(bucket)
                if due_at > self._clock():
                    await self._pause(bucket, due_at - self._clock())
                elif key is not None:
                    bucket.keys.remove(key)
                    await self._edit(bucket, key)
        finally:
            self._buckets.pop(name, None)

    def _next(self, bucket: _Bucket) -> tuple[int | None, float]:
        """Return the message that may be edited first, and when."""

        def due_at(key: int) -> float:
            line = self._lines.get(key)
            return max(bucket.ready_at, line.ready_at) if line else 0.0

        if not bucket.keys:
            return None, bucket.ready_at
        key = min(bucket.keys, key=due_at)
        return key, due_at(key)

    async def _pause(self, bucket: _Bucket, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await bucket.changed.wait()
        except TimeoutError:
            return

    async def _edit(self, bucket: _Bucket, key: int) -> None:
        line = self._lines.get(key)
        if line is None:
            return
        line.dirty = False
        async with line.busy:
            try:
                await line.edit()
            except Exception:  # noqa: BLE001 - a picture of progress is worth no job
                _log.exception("an edit failed")
        line.ready_at = self._clock() + line.interval_s
        bucket.ready_at = self._clock() + self._interval_s
