"""What servers spend on hosted models: the table ``spending``.

This module owns the sums by month and server. It must not know what may be spent:
``bot.services.budget`` does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.session import Database
from bot.db.tables import SpendingTable
from bot.engine.job import Job, Outcome


@dataclass(frozen=True, slots=True)
class Cost:
    """What some jobs cost: millionths of a dollar, and how many jobs have an unknown cost."""

    micro_usd: int = 0
    unpriced_jobs: int = 0

    def plus(self, micro_usd: int | None) -> Cost:
        """Return the cost with that of one more job, which may be unknown."""
        if micro_usd is None:
            return Cost(self.micro_usd, self.unpriced_jobs + 1)
        return Cost(self.micro_usd + micro_usd, self.unpriced_jobs)


def month_of(moment: float) -> str:
    """Return the month of a moment (Unix seconds), by UTC: ``2026-11``."""
    return time.strftime("%Y-%m", time.gmtime(moment))


async def add_spending(session: AsyncSession, job: Job, outcome: Outcome) -> None:
    """Add what a job cost to the sum of its server, in the transaction that ends the job."""
    del outcome  # a job may cost something however it ends
    added = Cost().plus(job.micro_usd)
    if added == Cost():
        return
    month, guild_id = month_of(job.finished_at or time.time()), job.submission.requester.guild_id
    statement = (
        update(SpendingTable)
        .filter_by(month=month, guild_id=guild_id)
        .values(
            micro_usd=SpendingTable.micro_usd + added.micro_usd,
            unpriced_jobs=SpendingTable.unpriced_jobs + added.unpriced_jobs,
        )
    )
    if not cast("CursorResult[Any]", await session.execute(statement)).rowcount:
        session.add(
            SpendingTable(
                month=month,
                guild_id=guild_id,
                micro_usd=added.micro_usd,
                unpriced_jobs=added.unpriced_jobs,
            )
        )


class SpendingRepository:
    """Reads the sums."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_month(self, month: str) -> dict[int, Cost]:
        """Return what each server spent in a month, such as ``2026-11``."""
        statement = select(SpendingTable).filter_by(month=month)
        async with self._database.reading() as session:
            return {
                row.guild_id: Cost(row.micro_usd, row.unpriced_jobs)
                for row in await session.scalars(statement)
            }
