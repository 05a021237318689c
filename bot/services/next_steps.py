"""What follows a job that is half an answer: a caption after the text, an answer after a voice.

This module owns that a step is begun once its job has ended, also when the bot was ended in
between: it is written down in the transaction that ends the job, and crossed out when it has been
begun. When in doubt a step is begun again, so what it submits needs a source key of its own. It
must not know Discord: cogs say what their steps do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from pydantic import TypeAdapter
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.next_steps import NextStepRepository, write_next_step
from bot.engine.job import Job, Outcome, Submission
from bot.engine.journal import JournalUnavailable

_log = logging.getLogger(__name__)

NEXT = "then"
"""Key of a job's presentation: the name of the step that follows it."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done after a job.

    Attributes:
        submission: That of the job.
        text: What the job found out, as far as the step needs it.
    """

    submission: Submission
    text: str


Due = Callable[[Outcome], str | None]
"""Returns what a step needs to know of the outcome; None when the job needs no step."""

Begin = Callable[[Step], Awaitable[None]]
"""Begins a step. What goes wrong it tells whoever waits for the answer."""

_STEPS: TypeAdapter[Step] = TypeAdapter(Step)


class NextSteps:
    """Begins what follows jobs. The steps there are come from ``on``, before ``start``."""

    def __init__(self, rows: NextStepRepository) -> None:
        self._rows = rows
        self._kinds: dict[str, tuple[Due, Begin]] = {}
        self._ready: Callable[[], Awaitable[None]] | None = None
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def on(self, name: str, due: Due, begin: Begin) -> None:
        """Say what the step of a name does, and after which outcomes."""
        self._kinds[name] = due, begin

    async def write(self, session: AsyncSession, job: Job, outcome: Outcome) -> None:
        """Write down what follows a job, in the transaction that ends it."""
        kind = self._kinds.get(str(job.submission.presentation.get(NEXT)))
        text = kind[0](outcome) if kind else None
        if text is not None:
            payload = _STEPS.dump_json(Step(job.submission, text)).decode()
            write_next_step(session, job.id, payload)

    async def start(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Begin what a former run of the bot owes, and from here on what follows each job.

        Args:
            ready: Waits until steps can find channels and messages.
        """
        self._ready = ready
        for job_id in await self._rows.owed():
            self._take(job_id, ready)

    async def ended(self, job: Job, _: Outcome) -> None:
        """Begin what follows a job whose end has been committed."""
        if NEXT in job.submission.presentation and self._ready is not None:
            self._take(job.id, self._ready)

    async def close(self) -> None:
        """Begin nothing more; what is owed waits for the next run."""
        self._ready = None
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, job_id: str, ready: Callable[[], Awaitable[None]]) -> None:
        if job_id not in self._under_way:
            task = asyncio.create_task(self._begin(job_id, ready), name=f"what follows {job_id}")
            self._under_way[job_id] = task
            task.add_done_callback(partial(self._done, job_id))

    async def _begin(self, job_id: str, ready: Callable[[], Awaitable[None]]) -> None:
        await ready()
        payload = await self._rows.payload(job_id)
        if payload is None:
            return
        try:
            step = _STEPS.validate_json(payload)
            _, begin = self._kinds[str(step.submission.presentation.get(NEXT))]
            await begin(step)
        except (JournalUnavailable, SQLAlchemyError):
            raise
        except Exception:  # noqa: BLE001 - begun again it would fail again
            _log.exception("what follows job %s failed", job_id)
        await self._rows.begun(job_id)

    def _done(self, job_id: str, task: asyncio.Task[None]) -> None:
        del self._under_way[job_id]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.warning("what follows job %s waits for the next run: %s", job_id, error)
