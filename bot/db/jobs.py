"""The usage log: what jobs took, and what it says about a member.

This module owns reading the table ``jobs``, and deleting from it. How a job's row comes to be is
``bot.db.journal``'s.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.exc import IntegrityError

from bot.db.session import Database
from bot.db.spending import Cost
from bot.db.tables import JobTable
from bot.db.words import LIVE, changed, in_the_engines_words, reading, writing
from bot.engine.job import JobState, Requester, new_job_id
from models.catalog import ModelSpec
from models.errors import HandlerError, JobCancelled


@dataclass(frozen=True, slots=True)
class UsageFigures:
    """What a member used of one modality.

    Attributes:
        jobs: How many jobs ended, well or not.
        units: Sum of ``unit``, such as tokens; of jobs that were done.
        seconds: Time for which a worker was busy with them, in seconds.
    """

    modality: str
    unit: str | None
    jobs: int
    units: float
    seconds: float


@dataclass(frozen=True, slots=True)
class JobRow:
    """A row of the usage log, as a member may export it.

    Times are Unix seconds, ``micro_usd`` millionths of a dollar (None is unknown).
    """

    id: str
    guild_id: int
    channel_id: int
    modality: str
    model_id: str
    state: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    units: float | None
    unit: str | None
    micro_usd: int | None
    error_kind: str | None


class JobRepository:
    """Reads the figures that jobs leave."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refused(
        self, source_key: str, requester: Requester, model: ModelSpec, error: Exception
    ) -> None:
        """Note a request of which no job could be made, unless its source key is known.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        now = time.time()
        row = JobTable(
            id=new_job_id(),
            source_key=source_key,
            user_id=requester.user_id,
            guild_id=requester.guild_id,
            channel_id=requester.channel_id,
            modality=model.modality,
            model_id=model.id,
            state=JobState.CANCELLED if isinstance(error, JobCancelled) else JobState.FAILED,
            created_at=now,
            finished_at=now,
            micro_usd=0,
            error_kind=getattr(error, "kind", HandlerError.kind),
        )
        with contextlib.suppress(IntegrityError), in_the_engines_words():
            async with self._database.session() as session:
                session.add(row)

    async def knows(self, source_key: str) -> bool:
        """Return whether a job was submitted under a source key, now or earlier.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        async with reading(self._database) as session:
            statement = select(JobTable.id).filter_by(source_key=source_key)
            return await session.scalar(statement) is not None

    async def usage(self, user_id: int, since: float) -> list[UsageFigures]:
        """Return what a member used since a moment (Unix seconds), by modality and unit."""
        busy_s = JobTable.finished_at - JobTable.started_at - JobTable.load_s
        statement = (
            select(
                JobTable.modality,
                func.max(JobTable.unit),
                func.count(),
                func.sum(JobTable.units),
                func.sum(busy_s),
            )
            .where(JobTable.user_id == user_id, JobTable.created_at >= since)
            .where(JobTable.state.not_in(LIVE))
            .group_by(JobTable.modality)
            .order_by(JobTable.modality)
        )
        async with reading(self._database) as session:
            return [
                UsageFigures(modality, unit, jobs, units or 0.0, seconds or 0.0)
                for modality, unit, jobs, units, seconds in await session.execute(statement)
            ]

    async def cost(self, user_id: int, since: float, models: Collection[str]) -> Cost:
        """Return what a member's jobs cost that ended since a moment (Unix seconds).

        Args:
            user_id: The member.
            since: The first moment.
            models: Ids of those that may cost something.
        """
        unpriced = func.count().filter(JobTable.micro_usd.is_(None))
        statement = select(func.sum(JobTable.micro_usd), unpriced).where(
            JobTable.user_id == user_id,
            JobTable.finished_at >= since,
            JobTable.model_id.in_(models),
        )
        async with reading(self._database) as session:
            micro_usd, jobs = (await session.execute(statement)).one()
            return Cost(int(micro_usd or 0), jobs)

    async def of_member(self, user_id: int) -> list[JobRow]:
        """Return a member's rows of the usage log, oldest first."""
        statement = _exported().where(JobTable.user_id == user_id).order_by(JobTable.created_at)
        async with reading(self._database) as session:
            return [JobRow(*row) for row in await session.execute(statement)]

    async def delete_member(self, user_id: int) -> int:
        """Delete a member's jobs with their requests and undelivered parts; return how many."""
        async with writing(self._database) as session:
            return await changed(session, delete(JobTable).where(JobTable.user_id == user_id))

    async def delete_before(self, moment: float) -> int:
        """Delete the jobs that ended before a moment (Unix seconds); return how many."""
        async with writing(self._database) as session:
            return await changed(session, delete(JobTable).where(JobTable.finished_at < moment))


def _exported() -> Select[Any]:
    """Select what ``JobRow`` shows."""
    return select(*(getattr(JobTable, field.name) for field in fields(JobRow)))
