"""The jobs: the engine's journal, the usage log, and what it says about a member.

This module owns the tables ``jobs`` and ``job_payloads`` (but for what follows jobs that have
ended, which is ``bot.db.next_steps``). It must not decide what runs.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import CursorResult, Executable, Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.outbox import outbox_rows
from bot.db.session import Database
from bot.db.spending import Cost
from bot.db.tables import JobPayloadTable, JobTable, OutboxTable, RecipeTable
from bot.engine.job import Job, JobState, Measured, Outcome, Requester, Submission, new_job_id
from bot.engine.journal import JournalUnavailable
from bot.engine.spool import paths_in
from models.catalog import ModelSpec
from models.contracts import Modality
from models.errors import HandlerError, JobCancelled

_log = logging.getLogger(__name__)

_SUBMISSIONS: TypeAdapter[Submission] = TypeAdapter(Submission)
AtStart = Callable[[AsyncSession, Job], Awaitable[None]]
"""Writes what must stand or fall with a new job, in the same transaction."""

AtEnd = Callable[[AsyncSession, Job, Outcome], Awaitable[None]]
"""Writes what must stand or fall with the end of a job, in the same transaction."""

_LIVE = (JobState.QUEUED, JobState.RUNNING)
_UNREADABLE = "unreadable"
_LOOKED_BACK, _KEPT_A_MODEL = 2000, 50
"""How many rows are looked at for what jobs took, and how many of each model are enough."""


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
    """The journal of the engine, and the figures that it leaves.

    Args:
        database: Where the tables are.
        at_start: What else is written with a new job.
        at_end: What else is written when a job ends.
    """

    def __init__(
        self,
        database: Database,
        *,
        at_start: Sequence[AtStart] = (),
        at_end: Sequence[AtEnd] = (),
    ) -> None:
        self._database = database
        self._at_start = at_start
        self._at_end = at_end

    # ----------------------------------------------------------------- the journal

    async def create(self, job: Job) -> Job:
        """Write a new job down; return the earlier one when its source key is known.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        payload = _SUBMISSIONS.dump_json(job.submission).decode()
        with _translated():
            try:
                async with self._database.session() as session:
                    session.add(_row(job))
                    await session.flush()
                    session.add(JobPayloadTable(job_id=job.id, payload=payload))
                    for write in self._at_start:
                        await write(session, job)
            except IntegrityError:
                return await self._earlier(job.submission)
        return job

    async def started(self, job: Job) -> None:
        """Note that an attempt began.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        await self._update(job, attempt=job.attempt, started_at=job.started_at, lane=job.lane)

    async def requeued(self, job: Job) -> None:
        """Note that a job waits again.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        await self._update(job, micro_usd=job.micro_usd, device_s=job.device_s)

    async def finished(self, job: Job, outcome: Outcome, parts: Sequence[str]) -> None:
        """Note the end and what is to be delivered, and drop the request, in one transaction.

        Nothing is noted of a job that has ended already, or whose member's data was deleted.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        usage = outcome.result.usage if outcome.result else None
        values = {
            "state": outcome.state,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "load_s": job.load_s,
            "units": usage.amount if usage else None,
            "unit": usage.unit if usage else None,
            "micro_usd": job.micro_usd,
            "device_s": job.device_s,
            "work": job.work,
            "error_kind": outcome.error.kind if outcome.error else None,
        }
        async with self._writing() as session:
            live = update(JobTable).where(JobTable.id == job.id, JobTable.state.in_(_LIVE))
            if not await _changed(session, live.values(**values)):
                return
            await session.execute(delete(JobPayloadTable).filter_by(job_id=job.id))
            session.add_all(outbox_rows(job, parts))
            for write in self._at_end:
                await write(session, job, outcome)

    async def unfinished(self) -> list[Job]:
        """Return the jobs that were waiting or running, in the order in which they came.

        A job that another version wrote and this one cannot read is closed as failed.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        statement = (
            select(JobTable, JobPayloadTable.payload)
            .outerjoin(JobPayloadTable, JobPayloadTable.job_id == JobTable.id)
            .where(JobTable.state.in_(_LIVE))
            .order_by(JobTable.created_at, JobTable.id)
        )
        jobs, unreadable = [], []
        async with self._writing() as session:
            for row, payload in await session.execute(statement):
                try:
                    jobs.append(_job(row, _SUBMISSIONS.validate_json(payload or "")))
                except ValidationError:
                    unreadable.append(row.id)
            if unreadable:
                _log.error("jobs that cannot be read any more: %s", ", ".join(unreadable))
                closed = {"state": JobState.FAILED, "error_kind": _UNREADABLE}
                of_those = JobTable.id.in_(unreadable)
                await session.execute(update(JobTable).where(of_those).values(closed))
        return jobs

    async def measured(self) -> list[Measured]:
        """Return what the last jobs of each model took that were done, the oldest first.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        statement = (
            select(JobTable)
            .where(JobTable.state == JobState.DONE)
            .order_by(JobTable.id.desc())  # ids sort by time
            .limit(_LOOKED_BACK)
        )
        kept: dict[str, list[Measured]] = {}
        async with self._reading() as session:
            for row in await session.scalars(statement):
                of_model = kept.setdefault(row.model_id, [])
                if row.work and row.device_s and len(of_model) < _KEPT_A_MODEL:
                    of_model.append(_measured(row))
        return [one for of_model in kept.values() for one in reversed(of_model)]

    async def media_in_use(self) -> set[str]:
        """Return the spool paths that a job, an undelivered part or a recipe refers to.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        columns = (JobPayloadTable.payload, OutboxTable.payload, RecipeTable.request)
        found: set[str] = set()
        async with self._reading() as session:
            for column in columns:
                async for text in await session.stream_scalars(select(column)):
                    found.update(paths_in(text))
        return found

    # ----------------------------------------------------------------- figures

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
        with _translated(), contextlib.suppress(IntegrityError):
            async with self._database.session() as session:
                session.add(row)

    async def knows(self, source_key: str) -> bool:
        """Return whether a job was submitted under a source key, now or earlier.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        async with self._reading() as session:
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
            .where(JobTable.state.not_in(_LIVE))
            .group_by(JobTable.modality)
            .order_by(JobTable.modality)
        )
        async with self._reading() as session:
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
        async with self._reading() as session:
            micro_usd, jobs = (await session.execute(statement)).one()
            return Cost(int(micro_usd or 0), jobs)

    async def of_member(self, user_id: int) -> list[JobRow]:
        """Return a member's rows of the usage log, oldest first."""
        statement = _exported().where(JobTable.user_id == user_id).order_by(JobTable.created_at)
        async with self._reading() as session:
            return [JobRow(*row) for row in await session.execute(statement)]

    async def delete_member(self, user_id: int) -> int:
        """Delete a member's jobs with their requests and undelivered parts; return how many."""
        async with self._writing() as session:
            return await _changed(session, delete(JobTable).where(JobTable.user_id == user_id))

    async def delete_before(self, moment: float) -> int:
        """Delete the jobs that ended before a moment (Unix seconds); return how many."""
        async with self._writing() as session:
            return await _changed(session, delete(JobTable).where(JobTable.finished_at < moment))

    # ----------------------------------------------------------------- inside

    async def _earlier(self, submission: Submission) -> Job:
        async with self._reading() as session:
            statement = select(JobTable).filter_by(source_key=submission.source_key)
            return _job((await session.scalars(statement)).one(), submission)

    async def _update(self, job: Job, **values: object) -> None:
        async with self._writing() as session:
            statement = update(JobTable).filter_by(id=job.id).values(state=job.state, **values)
            await session.execute(statement)

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncSession]:
        with _translated():
            async with self._database.session() as session:
                yield session

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        with _translated():
            async with self._database.reading() as session:
                yield session


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Tell the engine in its own words that the database is out of reach."""
    try:
        yield
    except SQLAlchemyError as error:
        raise JournalUnavailable(str(getattr(error, "orig", None) or error)) from error


async def _changed(session: AsyncSession, statement: Executable) -> int:
    """Execute a statement and return how many rows it changed."""
    return cast("CursorResult[Any]", await session.execute(statement)).rowcount


def _row(job: Job) -> JobTable:
    submission, who = job.submission, job.submission.requester
    return JobTable(
        id=job.id,
        source_key=submission.source_key,
        user_id=who.user_id,
        guild_id=who.guild_id,
        channel_id=who.channel_id,
        modality=job.modality,
        model_id=submission.model_id,
        state=job.state,
        created_at=job.created_at,
        micro_usd=job.micro_usd,
        work=job.work,
    )


def _job(row: JobTable, submission: Submission) -> Job:
    return Job(
        id=row.id,
        submission=submission,
        state=JobState(row.state),
        attempt=row.attempt,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        load_s=row.load_s,
        micro_usd=row.micro_usd,
        work=row.work or 0.0,
        device_s=row.device_s,
        lane=row.lane or "",
    )


def _measured(row: JobTable) -> Measured:
    run_s = (row.finished_at or 0.0) - (row.started_at or 0.0) - row.load_s
    return Measured(
        model_id=row.model_id,
        modality=Modality(row.modality),
        work=row.work or 0.0,
        run_s=max(run_s, row.device_s),
        device_s=row.device_s,
        units=row.units,
        load_s=row.load_s,
    )


def _exported() -> Select[Any]:
    """Select what ``JobRow`` shows."""
    return select(*(getattr(JobTable, field.name) for field in fields(JobRow)))
