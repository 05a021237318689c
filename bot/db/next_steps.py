"""What is owed of jobs that are one half of an answer, once they have ended.

This module owns the rows of ``job_payloads`` whose job has ended: such a job owes its next step.
It must not know what a step is: ``bot.services.next_steps`` does.
"""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.session import Database
from bot.db.tables import JobPayloadTable, JobTable
from bot.engine.job import JobState


def write_next_step(session: AsyncSession, job_id: str, payload: str) -> None:
    """Write a step down in the transaction that ends its job and drops that job's payload."""
    session.add(JobPayloadTable(job_id=job_id, payload=payload))


class NextStepRepository:
    """Reads what is owed, and crosses it out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owed(self) -> list[str]:
        """Return the jobs that have ended and owe a step, in the order in which they came."""
        statement = (
            select(JobTable.id)
            .join(JobPayloadTable, JobPayloadTable.job_id == JobTable.id)
            .where(JobTable.state.not_in((JobState.QUEUED, JobState.RUNNING)))
            .order_by(JobTable.created_at, JobTable.id)
        )
        async with self._database.reading() as session:
            return list(await session.scalars(statement))

    async def payload(self, job_id: str) -> str | None:
        """Return the step of a job that has ended, None when it owes none."""
        async with self._database.reading() as session:
            row = await session.get(JobPayloadTable, job_id)
            return row.payload if row else None

    async def begun(self, job_id: str) -> None:
        """Cross a step out."""

        async def unit(session: AsyncSession) -> None:
            await session.execute(delete(JobPayloadTable).filter_by(job_id=job_id))

        await self._database.write(unit)
