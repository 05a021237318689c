"""The end of a job: its outcome is committed with its answer, then everybody is told.

This module owns that order. What the outcome is was decided before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from bot.engine.feed import Feeds
from bot.engine.job import Job, JobState, Outcome
from bot.engine.journal import Journal, insist
from bot.engine.meter import Meter
from bot.engine.spool import Spool
from models.errors import HandlerError

_log = logging.getLogger(__name__)

Present = Callable[[Job, Outcome], Sequence[str]]
Observer = Callable[[Job, Outcome], Awaitable[None]]


class Endings:
    """Ends jobs.

    Args:
        journal: The lasting record.
        present: Turns an outcome into the parts of the answer, as JSON.
        feeds: Of the live jobs, for those who watch.
        spool: Has the previews, which go.
        meter: Is told what happens.
        forget: Called once an outcome is committed: the job is live no more.
    """

    def __init__(
        self,
        journal: Journal,
        present: Present,
        feeds: Feeds,
        spool: Spool,
        meter: Meter,
        forget: Callable[[Job], None],
    ) -> None:
        self._journal = journal
        self._present = present
        self._feeds = feeds
        self._spool = spool
        self._meter = meter
        self._forget = forget
        self._observers: list[Observer] = []

    def observe(self, observer: Observer) -> None:
        """Have a coroutine called after the commit of each outcome."""
        self._observers.append(observer)

    async def end(self, job: Job, outcome: Outcome) -> None:
        """Commit an outcome with its answer, then tell everybody."""
        job.state, job.finished_at = outcome.state, time.time()
        await insist(self._journal.finished, job, outcome, self._parts(job, outcome))
        self._meter.ended(job, outcome)
        self._forget(job)
        previews = self._feeds[job.id].previews
        self._feeds.close(job.id, outcome)
        if previews:
            await asyncio.to_thread(self._spool.discard, previews)
        for observer in self._observers:
            try:
                await observer(job, outcome)
            except Exception:  # noqa: BLE001 - the job has ended well, whatever it is
                _log.exception("an observer of job %s failed", job.id)

    def _parts(self, job: Job, outcome: Outcome) -> Sequence[str]:
        """Present an outcome; a fault there must not lose the fact that the job ended."""
        try:
            return self._present(job, outcome)
        except Exception:  # noqa: BLE001 - whatever it is
            _log.exception("job %s could not be presented", job.id)
            return self._present(job, Outcome(JobState.FAILED, error=HandlerError()))
