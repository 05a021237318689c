"""The outbox's rows: parts of answers that wait for Discord, and the messages they became.

This module owns the table ``outbox``. It must not know what a part looks like or how it is sent: a
payload is text here (``bot.delivery.parts``, ``bot.delivery.outbox``).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Executable, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.session import Database
from bot.db.tables import OutboxTable
from bot.db.words import changed
from bot.engine.job import Anchor, Job

PENDING = "pending"
SENT = "sent"
DROPPED = "dropped"

_ANCHORS: TypeAdapter[Anchor] = TypeAdapter(Anchor)


@dataclass(frozen=True, slots=True)
class PendingPart:
    """A part that Discord has yet to confirm.

    Attributes:
        position: 0 for the first part of the job.
        payload: The part as JSON.
        attempts: How often sending it has failed.
        created_at: When the job ended, in Unix seconds.
    """

    id: int
    job_id: str
    user_id: int
    position: int
    anchor: Anchor
    payload: str
    attempts: int
    created_at: float


def outbox_rows(job: Job, parts: Sequence[str]) -> list[OutboxTable]:
    """Return the rows of an ended job, to be added in the transaction that ends it."""
    return rows_of_parts(
        job.id,
        job.submission.requester.user_id,
        job.submission.anchor,
        parts,
        ended_at=job.finished_at or time.time(),
    )


def rows_of_parts(
    job_id: str, user_id: int, anchor: Anchor, parts: Sequence[str], *, ended_at: float
) -> list[OutboxTable]:
    """Return the rows of a job of which no more is known than where its answer belongs."""
    stored = _ANCHORS.dump_json(anchor).decode()
    return [
        OutboxTable(
            job_id=job_id,
            user_id=user_id,
            position=position,
            anchor=stored,
            payload=payload,
            due_at=ended_at,
            created_at=ended_at,
        )
        for position, payload in enumerate(parts)
    ]


class OutboxRepository:
    """Reads and marks the rows. Once no part of a job is pending, its rows keep no text."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, now: float, limit: int = 100) -> list[str]:
        """Return the jobs with parts to send by ``now``, those that wait longest first."""
        query = (
            select(OutboxTable.job_id)
            .where(OutboxTable.state == PENDING, OutboxTable.due_at <= now)
            .group_by(OutboxTable.job_id)
            .order_by(func.min(OutboxTable.due_at))
            .limit(limit)
        )
        async with self._database.reading() as session:
            return list(await session.scalars(query))

    async def next_due_at(self, after: float) -> float | None:
        """Return when the next part falls due after a moment, None when none waits."""
        query = select(func.min(OutboxTable.due_at)).where(
            OutboxTable.state == PENDING, OutboxTable.due_at > after
        )
        async with self._database.reading() as session:
            found: float | None = await session.scalar(query)
            return found

    async def backlog(self) -> tuple[int, float | None]:
        """Return how many answers wait for Discord, and when the oldest of their jobs ended."""
        query = select(
            func.count(OutboxTable.job_id.distinct()), func.min(OutboxTable.created_at)
        ).where(OutboxTable.state == PENDING)
        async with self._database.reading() as session:
            [(answers, oldest)] = await session.execute(query)
            return answers, oldest

    async def pending(self, job_id: str) -> list[PendingPart]:
        """Return the parts of a job that are not sent yet, in order."""
        query = (
            select(OutboxTable)
            .where(OutboxTable.job_id == job_id, OutboxTable.state == PENDING)
            .order_by(OutboxTable.position)
        )
        async with self._database.reading() as session:
            return [_pending(row) for row in await session.scalars(query)]

    async def payloads(self, job_id: str) -> list[str]:
        """Return every part of a job in order, sent or not, while one of them is pending."""
        query = (
            select(OutboxTable.payload)
            .where(OutboxTable.job_id == job_id, OutboxTable.payload != "")
            .order_by(OutboxTable.position)
        )
        async with self._database.reading() as session:
            return list(await session.scalars(query))

    async def messages(self, job_id: str) -> list[int]:
        """Return the ids of the messages that a job's parts became, in order."""
        query = (
            select(OutboxTable.message_id)
            .where(OutboxTable.job_id == job_id, OutboxTable.message_id.is_not(None))
            .order_by(OutboxTable.position)
        )
        async with self._database.reading() as session:
            return [found for found in await session.scalars(query) if found is not None]

    async def siblings(self, message_ids: Collection[int]) -> set[int]:
        """Return all messages of the answers that these messages are parts of."""
        job_ids = select(OutboxTable.job_id).where(OutboxTable.message_id.in_(message_ids))
        query = select(OutboxTable.message_id).where(OutboxTable.job_id.in_(job_ids))
        async with self._database.reading() as session:
            return {found for found in await session.scalars(query) if found is not None}

    async def known_messages(self, message_ids: Collection[int]) -> set[int]:
        """Return those of the messages that are recorded as somebody's part."""
        query = select(OutboxTable.message_id).where(OutboxTable.message_id.in_(message_ids))
        async with self._database.reading() as session:
            return {found for found in await session.scalars(query) if found is not None}

    async def mark_sent(self, row: PendingPart, message_id: int | None) -> None:
        """Note that a part is done with, and the message that it became."""
        await self._settle(
            row.job_id,
            OutboxTable.id == row.id,
            {"state": SENT, "sent_at": time.time(), "message_id": message_id},
        )

    async def mark_dropped(self, job_id: str) -> None:
        """Give up what is pending of a job."""
        await self._settle(
            job_id, OutboxTable.state == PENDING, {"state": DROPPED, "sent_at": time.time()}
        )

    async def mark_retry(self, job_id: str, due_at: float) -> None:
        """Put off what is pending of a job, and count the attempt."""
        await self._execute(
            update(OutboxTable)
            .where(OutboxTable.job_id == job_id, OutboxTable.state == PENDING)
            .values(due_at=due_at, attempts=OutboxTable.attempts + 1)
        )

    async def delete_settled(self, before: float) -> int:
        """Delete rows that were sent or dropped before a moment; return how many."""
        return await self._execute(
            delete(OutboxTable).where(OutboxTable.state != PENDING, OutboxTable.sent_at < before)
        )

    async def delete_member(self, user_id: int) -> int:
        """Delete everything of a member, sent or not; return how many rows."""
        return await self._execute(delete(OutboxTable).where(OutboxTable.user_id == user_id))

    async def _settle(
        self, job_id: str, which: ColumnElement[bool], values: dict[str, Any]
    ) -> None:
        """Settle parts of a job, and forget its text at once if those were the last."""
        of_job = OutboxTable.job_id == job_id

        async def unit(session: AsyncSession) -> None:
            await session.execute(update(OutboxTable).where(of_job, which).values(**values))
            left = await session.scalar(
                select(func.count()).where(of_job, OutboxTable.state == PENDING)
            )
            if not left:
                await session.execute(
                    update(OutboxTable).where(of_job).values(payload="", anchor="")
                )

        await self._database.write(unit)

    async def _execute(self, statement: Executable) -> int:
        async def unit(session: AsyncSession) -> int:
            return await changed(session, statement)

        return await self._database.write(unit)


def _pending(row: OutboxTable) -> PendingPart:
    return PendingPart(
        id=row.id,
        job_id=row.job_id,
        user_id=row.user_id,
        position=row.position,
        anchor=_ANCHORS.validate_json(row.anchor),
        payload=row.payload,
        attempts=row.attempts,
        created_at=row.created_at,
    )
