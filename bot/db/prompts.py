"""What members asked for, where a server keeps it: the table ``prompts``.

This module owns that table. It must not know when something is kept (``bot.services.prompts``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.session import Database
from bot.db.tables import PromptTable


@dataclass(frozen=True, slots=True)
class KeptPrompt:
    """What a member asked for in a server.

    Attributes:
        job_id: The job that it became.
        text: In the member's words, clipped.
        created_at: Unix time in seconds.
    """

    job_id: str
    user_id: int
    guild_id: int
    channel_id: int
    modality: str
    text: str
    created_at: float


async def write_prompt(session: AsyncSession, prompt: KeptPrompt) -> None:
    """Write a prompt in the transaction that ends its job."""
    await session.merge(PromptTable(**asdict(prompt)))


class PromptRepository:
    """Reads and deletes prompts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_guild(
        self, guild_id: int, *, user_id: int | None = None, limit: int
    ) -> list[KeptPrompt]:
        """Return the last prompts of a server, or of one member there, newest first."""
        conditions = [PromptTable.guild_id == guild_id]
        if user_id is not None:
            conditions.append(PromptTable.user_id == user_id)
        query = select(PromptTable).where(*conditions)
        async with self._database.reading() as session:
            rows = await session.scalars(query.order_by(PromptTable.created_at.desc()).limit(limit))
            return [_prompt(row) for row in rows]

    async def of_member(self, user_id: int) -> list[KeptPrompt]:
        """Return every prompt of a member, oldest first."""
        query = select(PromptTable).where(PromptTable.user_id == user_id)
        async with self._database.reading() as session:
            rows = await session.scalars(query.order_by(PromptTable.created_at))
            return [_prompt(row) for row in rows]

    async def delete_member(self, user_id: int) -> int:
        """Delete every prompt of a member; return how many."""
        return await self._delete(PromptTable.user_id == user_id)

    async def delete_guild(self, guild_id: int) -> int:
        """Delete every prompt of a server; return how many."""
        return await self._delete(PromptTable.guild_id == guild_id)

    async def delete_before(self, moment: float) -> int:
        """Delete prompts older than a moment; return how many."""
        return await self._delete(PromptTable.created_at < moment)

    async def _delete(self, condition: ColumnElement[bool]) -> int:
        async with self._database.session() as session:
            result = await session.execute(delete(PromptTable).where(condition))
            return cast("CursorResult[Any]", result).rowcount


def _prompt(row: PromptTable) -> KeptPrompt:
    return KeptPrompt(
        job_id=row.job_id,
        user_id=row.user_id,
        guild_id=row.guild_id,
        channel_id=row.channel_id,
        modality=row.modality,
        text=row.text,
        created_at=row.created_at,
    )
