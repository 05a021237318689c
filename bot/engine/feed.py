"""What onlookers of a job see, live or from the moment at which they come.

This module owns the order of sights and the catch-up of late watchers. It must not know what is
done with them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Literal
from weakref import WeakSet

from bot.engine.job import Ended, GivesWay, LoadingModel, Outcome, Restarted, Waiting
from models.contracts import Notice, Preview, Progress, TextDelta

Sight = (
    Waiting | LoadingModel | GivesWay | Restarted | Progress | TextDelta | Preview | Notice | Ended
)

_ENDED_KEPT = 256


class Watcher(AsyncIterator[Sight]):
    """One onlooker: yields sights until the job has ended. Dropping it is enough to stop."""

    def __init__(self, caught_up: list[Sight], *, over: bool = False) -> None:
        self._sights: asyncio.Queue[Sight] = asyncio.Queue()
        self._over = over
        for sight in caught_up:
            self.put(sight)

    def put(self, sight: Sight) -> None:
        self._sights.put_nowait(sight)

    async def __anext__(self) -> Sight:
        if self._over:
            raise StopAsyncIteration
        sight = await self._sights.get()
        self._over = isinstance(sight, Ended)
        return sight


class Feed:
    """The sights of one job."""

    def __init__(self) -> None:
        self._watchers: WeakSet[Watcher] = WeakSet()
        self._restarted: Restarted | None = None
        self._status: Waiting | LoadingModel | GivesWay | Progress | None = None
        self._text: dict[Literal["answer", "reasoning"], list[str]] = {}
        self._notices: list[Notice] = []
        self._preview: Preview | None = None
        self._previews: list[str] = []
        self._ended: Ended | None = None

    def publish(self, sight: Sight) -> None:
        """Show something to everybody who watches, and remember it for those who come later."""
        match sight:
            case Restarted():
                self._restarted = sight
                self._status = None
                self._text.clear()
                self._notices.clear()
                self._preview = None
            case Preview():
                self._preview = sight
                self._previews.append(sight.media.path)
            case TextDelta(text=text, channel=channel):
                self._text.setdefault(channel, []).append(text)
            case Notice():
                self._notices.append(sight)
            case Ended():
                self._ended = sight
                self._preview = None
            case _:
                self._status = sight
        for watcher in self._watchers:
            watcher.put(sight)

    def show_waiting(self, waiting: Waiting) -> None:
        """Publish a place in the queue if it has changed."""
        if waiting != self._status:
            self.publish(waiting)

    def watch(self) -> Watcher:
        """Return a new onlooker, who first sees how things stand."""
        watcher = Watcher(self._so_far())
        if self._ended is None:
            self._watchers.add(watcher)
        return watcher

    @property
    def answer(self) -> str:
        """The text that was streamed in this attempt, without the reasoning."""
        return "".join(self._text.get("answer", ()))

    @property
    def notices(self) -> tuple[str, ...]:
        """The notices of this attempt; what is said of several files is said once."""
        return tuple(dict.fromkeys(notice.message for notice in self._notices))

    @property
    def previews(self) -> tuple[str, ...]:
        """The spool paths of every preview, of all attempts: nobody else keeps count of them."""
        return tuple(self._previews)

    def _so_far(self) -> list[Sight]:
        text = [TextDelta("".join(parts), channel) for channel, parts in self._text.items()]
        seen = (
            self._restarted,
            self._status,
            *text,
            self._preview,
            *self._notices,
            self._ended,
        )
        return [sight for sight in seen if sight is not None]


class Feeds:
    """The feeds of live jobs, and the last few of those that ended, for whoever comes late."""

    def __init__(self) -> None:
        self._live: dict[str, Feed] = {}
        self._ended: OrderedDict[str, Feed] = OrderedDict()

    def __getitem__(self, job_id: str) -> Feed:
        return self._live[job_id]

    def open(self, job_id: str) -> None:
        """Begin the feed of a new job."""
        self._live[job_id] = Feed()

    def close(self, job_id: str, outcome: Outcome) -> None:
        """Show everybody how a job ended."""
        feed = self._ended[job_id] = self._live.pop(job_id)
        feed.publish(Ended(outcome))
        if len(self._ended) > _ENDED_KEPT:
            self._ended.popitem(last=False)

    def watch(self, job_id: str) -> Watcher:
        """Return a new onlooker; of a job that is unknown here it sees nothing."""
        feed = self._live.get(job_id) or self._ended.get(job_id)
        return feed.watch() if feed else Watcher([], over=True)
