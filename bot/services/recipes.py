"""Recipes as the rest of the bot sees them: a request, its model and how the answer is shown.

This module owns what is kept of a submission so that a button works after a restart, and for how
long. Of the files that requests read, only what was uploaded for a picture or clip is kept; others
are fetched again from the message that shows them, or are gone when the job has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.db.recipes import RecipeRepository, StoredRecipe
from bot.engine.job import Requester
from bot.services.kept_pictures import KEPT, KeptPictures
from bot.services.memory import CONVERSATION
from models.contracts import (
    ImageRequest,
    MediaInput,
    Request,
    TranscriptionRequest,
    VideoRequest,
    dump_request,
    files_of,
    load_request,
)
from models.errors import InvalidRequest

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

    def __init__(self, repository: RecipeRepository, pictures: KeptPictures, *, days: int) -> None:
        self._repository = repository
        self._pictures = pictures
        self._days = days

    def id_for(self, request: Request, source_key: str) -> str | None:
        """Return the id that the recipe of a submission gets, None when none is kept.

        The same submission always gets the same id, so one that arrives twice leaves one recipe.
        """
        if not self._days or isinstance(request, TranscriptionRequest):
            return None
        return hashlib.sha256(source_key.encode()).hexdigest()[:16]

    async def keep_files(
        self, request: Request, user_id: int, presentation: Mapping[str, object]
    ) -> list[str]:
        """Keep what a member uploaded for a picture or clip; return under which names.

        [] where there is no such file, where it can be fetched from a message, or where it is too
        large to be kept. What was kept for an earlier recipe, and is used again, stays longer.
        """
        if not isinstance(request, ImageRequest | VideoRequest) or presentation.get("pictures"):
            return []
        if names := kept_names(presentation):
            await asyncio.to_thread(self._pictures.renew, names)
            return names
        if not (files := files_of(request)):
            return []
        others = list(await self._kept_of_member(user_id))
        name = await asyncio.to_thread(self._pictures.keep, files[0], others)
        return [name] if name else []

    async def bring_files(
        self, request: Request, presentation: Mapping[str, object]
    ) -> list[MediaInput]:
        """Bring the files that were kept for a stored request back into the spool.

        Raises:
            InvalidMedia: One is gone.
        """
        pairs = zip(kept_names(presentation), files_of(request), strict=True)
        return [await asyncio.to_thread(self._pictures.bring, *pair) for pair in pairs]

    async def drop_files(self, presentation: Mapping[str, object]) -> None:
        """Delete what was kept of a member's files and turned out to be blocked here."""
        await asyncio.to_thread(self._pictures.discard, kept_names(presentation))

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

    async def pictures_of_member(self, user_id: int) -> list[tuple[str, Path]]:
        """Return what a member uploaded and is still there: its name, and where it lies."""
        kept = await self._kept_of_member(user_id)
        places = [(filename, self._pictures.path(name)) for name, filename in kept.items()]
        return [place for place in places if place[1].is_file()]

    async def delete(self, recipe_id: str) -> None:
        """Delete a recipe, and what was uploaded for it unless its member's others use that."""
        row = await self._repository.delete(recipe_id)
        if row is not None:
            used = await self._kept_of_member(row.user_id)
            names = [n for n in kept_names(json.loads(row.presentation)) if n not in used]
            await asyncio.to_thread(self._pictures.discard, names)

    async def delete_expired(self) -> int:
        """Delete what is too old; return how many recipes that were."""
        await asyncio.to_thread(self._pictures.sweep)
        return await self._repository.delete_expired(time.time())

    async def delete_member(self, user_id: int) -> int:
        """Delete everything of a member; return how many recipes that were."""
        kept = list(await self._kept_of_member(user_id))
        await asyncio.to_thread(self._pictures.discard, kept)
        return await self._repository.delete_member(user_id)

    async def delete_conversations(self, conversation_ids: Collection[int]) -> int:
        """Delete what repeats a part of these conversations, whoever asked; return how many."""
        return await self._repository.delete_conversations(conversation_ids)

    async def _kept_of_member(self, user_id: int) -> dict[str, str]:
        """Return the names of a member's kept pictures with those to show; oldest use first."""
        kept: dict[str, str] = {}
        for row in await self.of_member(user_id):
            for name in kept_names(json.loads(row.presentation)):
                kept.pop(name, None)
                kept[name] = _filename(row)
        return kept


def kept_names(presentation: Mapping[str, object]) -> list[str]:
    """Return under which names the files of a request are kept; [] for none."""
    names = presentation.get(KEPT)
    return [str(name) for name in names] if isinstance(names, list) else []


def _filename(row: StoredRecipe) -> str:
    try:
        files: Sequence[MediaInput] = files_of(load_request(row.request))
    except InvalidRequest:  # of another version
        files = ()
    return files[0].filename if files else "picture"


def _recipe(row: StoredRecipe) -> Recipe:
    return Recipe(
        id=row.id,
        owner=Requester(row.user_id, row.guild_id, row.channel_id),
        model_id=row.model_id,
        request=load_request(row.request),
        presentation=json.loads(row.presentation),
    )
