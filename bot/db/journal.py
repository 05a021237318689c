"""The jobs as the engine's journal: what it writes so that none is lost, and finds at a start.

This module owns the way of a job through the tables ``jobs`` and ``job_payloads`` (but for what
follows jobs that have ended, which is ``bot.db.next_steps``). It must not decide what runs. What is
written on the way of a job is committed together with what others write at that moment.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.outbox import outbox_rows, rows_of_parts
from bot.db.session import Database
from bot.db.tables import InstanceTable, JobPayloadTable, JobTable, OutboxTable, RecipeTable
from bot.db.words import LIVE, changed, in_the_engines_words, reading, writing
from bot.engine.job import Anchor, Job, JobState, Measured, Outcome, Submission
from bot.engine.spool import paths_in
from models.contracts import Modality

_log = logging.getLogger(__name__)

AtStart = Callable[[AsyncSession, Job], Awaitable[None]]
"""Writes what must stand or fall with a new job, in the same transaction."""

AtEnd = Callable[[AsyncSession, Job, Outcome], Awaitable[None]]
"""Writes what must stand or fall with the end of a job, in the same transaction."""

_SUBMISSIONS: TypeAdapter[Submission] = TypeAdapter(Submission)
_ANCHORS: TypeAdapter[Anchor] = TypeAdapter(Anchor)
_UNREADABLE = "unreadable"
_RUNNING = "running"
"""Key of a fact about this installation: a bot runs, or has died."""

_LOOKED_BACK, _KEPT_A_MODEL = 2000, 50
"""How many rows are looked at for what jobs took, and how many of each model are enough."""


class JobJournal:
    """The journal of the engine.

    Args:
        database: Where the tables are.
        at_start: What else is written with a new job.
        at_end: What else is written when a job ends.
        unreadable: The parts of the answer to a job that cannot be read any more, as JSON.
    """

    def __init__(
        self,
        database: Database,
        *,
        at_start: Sequence[AtStart] = (),
        at_end: Sequence[AtEnd] = (),
        unreadable: Sequence[str] = (),
    ) -> None:
        self._database = database
        self._at_start = at_start
        self._at_end = at_end
        self._unreadable = unreadable

    async def create(self, job: Job) -> Job:
        """Write a new job down; return the earlier one when its source key is known.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        payload = _SUBMISSIONS.dump_json(job.submission).decode()

        async def unit(session: AsyncSession) -> None:
            session.add(_row(job))
            await session.flush()
            session.add(JobPayloadTable(job_id=job.id, payload=payload))
            for write in self._at_start:
                await write(session, job)

        with in_the_engines_words():
            try:
                await self._database.write(unit)
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
        await self._update(job, micro_usd=job.micro_usd, device_s=job.device_s, deaths=job.deaths)

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
            "deaths": job.deaths,
            "error_kind": outcome.error.kind if outcome.error else None,
        }

        async def unit(session: AsyncSession) -> None:
            live = update(JobTable).where(JobTable.id == job.id, JobTable.state.in_(LIVE))
            if not await changed(session, live.values(**values)):
                return
            await session.execute(delete(JobPayloadTable).filter_by(job_id=job.id))
            session.add_all(outbox_rows(job, parts))
            for write in self._at_end:
                await write(session, job, outcome)

        with in_the_engines_words():
            await self._database.write(unit)

    async def unfinished(self) -> list[Job]:
        """Return the jobs that were waiting or running, in the order in which they came.

        From here on the bot runs, until ``closed``: a run that ended without has died, and those
        that ran then count its death. A job that another version wrote and this one cannot read
        is closed as failed, and its member is told.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        statement = (
            select(JobTable, JobPayloadTable.payload)
            .outerjoin(JobPayloadTable, JobPayloadTable.job_id == JobTable.id)
            .where(JobTable.state.in_(LIVE))
            .order_by(JobTable.created_at, JobTable.id)
        )
        jobs: list[Job] = []
        async with writing(self._database) as session:
            has_died = await session.get(InstanceTable, _RUNNING) is not None
            await session.merge(InstanceTable(key=_RUNNING, value="yes"))
            for row, payload in (await session.execute(statement)).all():
                try:
                    job = _job(row, _SUBMISSIONS.validate_json(payload or ""))
                except ValidationError:
                    await self._close_unreadable(session, row, payload or "")
                else:
                    job.deaths += has_died and job.state is JobState.RUNNING
                    jobs.append(job)
        return jobs

    async def closed(self) -> None:
        """Note that the bot ends in order: what runs did not take it down.

        Raises:
            JournalUnavailable: The database is out of reach.
        """
        async with writing(self._database) as session:
            await session.execute(delete(InstanceTable).filter_by(key=_RUNNING))

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
        async with reading(self._database) as session:
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
        async with reading(self._database) as session:
            for column in columns:
                async for text in await session.stream_scalars(select(column)):
                    found.update(paths_in(text))
        return found

    async def _earlier(self, submission: Submission) -> Job:
        async with self._database.reading() as session:
            statement = select(JobTable).filter_by(source_key=submission.source_key)
            return _job((await session.scalars(statement)).one(), submission)

    async def _update(self, job: Job, **values: object) -> None:
        statement = update(JobTable).filter_by(id=job.id).values(state=job.state, **values)

        async def unit(session: AsyncSession) -> None:
            await session.execute(statement)

        with in_the_engines_words():
            await self._database.write(unit)

    async def _close_unreadable(self, session: AsyncSession, row: JobTable, payload: str) -> None:
        _log.error("job %s cannot be read any more", row.id)
        row.state, row.error_kind = JobState.FAILED, _UNREADABLE
        row.finished_at = time.time()
        await session.execute(delete(JobPayloadTable).filter_by(job_id=row.id))
        anchor = _anchor_in(payload)
        if anchor is None:
            _log.error("its member cannot be told: nothing says where the answer belongs")
        else:
            session.add_all(
                rows_of_parts(
                    row.id, row.user_id, anchor, self._unreadable, ended_at=row.finished_at
                )
            )


def _anchor_in(payload: str) -> Anchor | None:
    """Return where an answer belongs, from a request that cannot be read as a whole."""
    try:
        return _ANCHORS.validate_python(json.loads(payload)["anchor"])
    except (ValueError, LookupError, TypeError):
        return None


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
        deaths=row.deaths,
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
