"""What the engine writes down so that no job is lost: the interface, not the database.

``bot.db.journal`` implements it. The engine calls it in order: ``create`` before a job is queued,
``started`` at each attempt, ``finished`` once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, Protocol

from bot.engine.job import Job, Measured, Outcome

_log = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 30.0

P = ParamSpec("P")


class JournalUnavailable(Exception):
    """The journal cannot be written at the moment, for instance because it is locked."""


class Journal(Protocol):
    """The lasting record of jobs. Every method may raise ``JournalUnavailable``."""

    async def create(self, job: Job) -> Job:
        """Write a new job down; return the earlier one when its source key is known."""

    async def started(self, job: Job) -> None:
        """Note that an attempt began."""

    async def requeued(self, job: Job) -> None:
        """Note that a job waits again."""

    async def finished(self, job: Job, outcome: Outcome, parts: Sequence[str]) -> None:
        """Note the end, and in the same transaction the parts of the answer to deliver."""

    async def unfinished(self) -> list[Job]:
        """Return the jobs that were waiting or running, in the order in which they came.

        The last run of the bot has died unless it was ``closed``: jobs that ran then count that.
        """

    async def closed(self) -> None:
        """Note that the bot ends in order."""

    async def measured(self) -> list[Measured]:
        """Return what the last jobs of each model took that were done, the oldest first."""

    async def media_in_use(self) -> set[str]:
        """Return the spool paths that something still refers to."""


async def insist(write: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs) -> None:
    """Write to the journal, however long it is out of reach."""
    pause_s = 1.0
    while True:
        try:
            return await write(*args, **kwargs)
        except JournalUnavailable as error:
            _log.error("the journal is out of reach, trying again: %s", error)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
