"""Recipes as the rest of the bot sees them: a request, its model and how the answer is shown.

This module owns what is kept of a submission so that a button works after a restart, and for how
long. Requests that read a member's file are not kept: the file is gone when the job has ended.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection
from dataclasses import dataclass

from bot.db.recipes import RecipeRepository, StoredRecipe
from bot.engine.job import Requester
from bot.services.memory import CONVERSATION
from models.contracts import Request, TranscriptionRequest, dump_request, load_request

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a button carries.

    Attributes:
        owner: Who asked first, and where.
        presentation: How the answer was shown, as in ``Submission``.
    """

    id: str
    owner: Requester
    model_id: str
    request: Request
    presentation: dict[str, object]


class RecipeService:
    """Keeps recipes for ``days``; none at all when that is 0."""

    def __init__(self, repository: RecipeRepository, *, days: int) -> None:
        self._repository = repository
        self._days = days

    def id_for(self, request: Request, source_key: str) -> str | None:
        """Return the id that the recipe of a submission gets, None when none is kept.

        The same submission always gets the same id, so one that arrives twice leaves one recipe.
        """
        if not self._days or isinstance(request, TranscriptionRequest):
            return None
        return hashlib.sha256(source_key.encode()).hexdigest()[:16]

    async def save(self, recipe: Recipe) -> None:
        """Keep a recipe."""
        now = time.time()
        conversation_id = recipe.presentation.get(CONVERSATION)
        await self._repository.save(
            StoredRecipe(
                id=recipe.id,
                user_id=recipe.owner.user_id,
                guild_id=recipe.owner.guild_id,
                channel_id=recipe.owner.channel_id,
                conversation_id=conversation_id if isinstance(conversation_id, int) else 0,
                model_id=recipe.model_id,
                request=dump_request(recipe.request),
                presentation=json.dumps(recipe.presentation),
                created_at=now,
                expires_at=now + self._days * _DAY_S,
            )
        )

    async def load(self, recipe_id: str) -> Recipe | None:
        """Return a recipe, None when it is unknown or has expired.

        Raises:
            InvalidRequest: It was stored by a version that this one cannot read.
        """
        row = await self._repository.get(recipe_id, time.time())
        return _recipe(row) if row else None

    async def of_member(self, user_id: int) -> list[StoredRecipe]:
        """Return a member's recipes as they are stored, oldest first."""
        return await self._repository.of_member(user_id)

    async def delete_expired(self) -> int:
        """Delete what is too old; return how many."""
        return await self._repository.delete_expired(time.time())

    async def delete_member(self, user_id: int) -> int:
        """Delete everything of a member; return how many."""
        return await self._repository.delete_member(user_id)

    async def delete_conversations(self, conversation_ids: Collection[int]) -> int:
        """Delete what repeats a part of these conversations, whoever asked; return how many."""
        return await self._repository.delete_conversations(conversation_ids)


def _recipe(row: StoredRecipe) -> Recipe:
    return Recipe(
        id=row.id,
        owner=Requester(row.user_id, row.guild_id, row.channel_id),
        model_id=row.model_id,
        request=load_request(row.request),
        presentation=json.loads(row.presentation),
    )
