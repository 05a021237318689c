"""Recipes: what a button needs to do its work again.

This module owns the table ``recipes``. The request and its presentation are text here; what they
mean is ``bot.services.recipes``'s business.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.session import Database
from bot.db.tables import RecipeTable


@dataclass(frozen=True, slots=True)
class StoredRecipe:
    """A row, detached. Times are Unix seconds; ``request`` and ``presentation`` are JSON.

    Attributes:
        conversation_id: What the request repeats a part of, 0 for no conversation.
    """

    id: str
    user_id: int
    guild_id: int
    channel_id: int
    conversation_id: int
    model_id: str
    request: str
    presentation: str
    created_at: float
    expires_at: float


class RecipeRepository:
    """Reads and writes recipes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, recipe: StoredRecipe) -> None:
        """Write a recipe; one of the same id is replaced."""

        async def unit(session: AsyncSession) -> None:
            await session.merge(RecipeTable(**asdict(recipe)))

        await self._database.write(unit)

    async def get(self, recipe_id: str, now: float) -> StoredRecipe | None:
        """Return a recipe, None when there is none or it has expired by ``now``."""
        async with self._database.reading() as session:
            row = await session.get(RecipeTable, recipe_id)
            return _stored(row) if row and row.expires_at > now else None

    async def of_member(self, user_id: int) -> list[StoredRecipe]:
        """Return a member's recipes, oldest first."""
        query = (
            select(RecipeTable)
            .where(RecipeTable.user_id == user_id)
            .order_by(RecipeTable.created_at)
        )
        async with self._database.reading() as session:
            return [_stored(row) for row in await session.scalars(query)]

    async def delete(self, recipe_id: str) -> StoredRecipe | None:
        """Delete a recipe; return what it was, None when there is none."""
        async with self._database.session() as session:
            row = await session.get(RecipeTable, recipe_id)
            if row is None:
                return None
            await session.delete(row)
            return _stored(row)

    async def delete_expired(self, now: float) -> int:
        """Delete what has expired by ``now``; return how many."""
        return await self._delete(RecipeTable.expires_at <= now)

    async def delete_member(self, user_id: int) -> int:
        """Delete everything of a member; return how many."""
        return await self._delete(RecipeTable.user_id == user_id)

    async def delete_conversations(self, conversation_ids: Collection[int]) -> int:
        """Delete what repeats a part of these conversations; return how many."""
        return await self._delete(RecipeTable.conversation_id.in_(conversation_ids))

    async def _delete(self, condition: Any) -> int:
        async with self._database.session() as session:
            result = await session.execute(delete(RecipeTable).where(condition))
            return cast("CursorResult[Any]", result).rowcount


def _stored(row: RecipeTable) -> StoredRecipe:
    return StoredRecipe(
        id=row.id,
        user_id=row.user_id,
        guild_id=row.guild_id,
        channel_id=row.channel_id,
        conversation_id=row.conversation_id,
        model_id=row.model_id,
        request=row.request,
        presentation=row.presentation,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
