"""What is kept about a member, and deleting it.

This module owns the list of places where something of a member's lies. It must not know their
tables: each is read and emptied by its own repository.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bot.db.allowances import AllowanceRepository
from bot.db.jobs import JobRepository
from bot.db.outbox import OutboxRepository
from bot.db.prompts import PromptRepository
from bot.engine.engine import Engine
from bot.services.memory import Memory
from bot.services.recipes import RecipeService

_STOP_TIMEOUT_S = 30.0
_DELIVERY_TIMEOUT_S = 5.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Kept:
    """How much there is of a member's.

    Attributes:
        turns: Of conversations.
        recipes: What buttons carry.
        jobs: Rows of the usage log.
        pictures: Uploaded, for buttons to use again.
        prompts: That moderators can read.
    """

    turns: int
    recipes: int
    jobs: int
    pictures: int
    prompts: int


class Privacy:
    """Shows, exports and deletes what belongs to a member."""

    def __init__(
        self,
        *,
        engine: Engine,
        memory: Memory,
        recipes: RecipeService,
        jobs: JobRepository,
        outbox: OutboxRepository,
        prompts: PromptRepository,
        allowances: AllowanceRepository,
    ) -> None:
        self._engine = engine
        self._memory = memory
        self._recipes = recipes
        self._jobs = jobs
        self._outbox = outbox
        self._prompts = prompts
        self._allowances = allowances

    async def kept(self, user_id: int) -> Kept:
        """Return how much is kept about a member."""
        return Kept(
            turns=len(await self._memory.of_member(user_id)),
            recipes=len(await self._recipes.of_member(user_id)),
            jobs=len(await self._jobs.of_member(user_id)),
            pictures=len(await self._recipes.pictures_of_member(user_id)),
            prompts=len(await self._prompts.of_member(user_id)),
        )

    async def export(self, user_id: int) -> str:
        """Return everything that is kept about a member, as JSON. Times are Unix seconds.

        What the member uploaded is named in it; ``pictures`` returns the files.
        """
        pictures = await self._recipes.pictures_of_member(user_id)
        everything = {
            "user_id": user_id,
            "conversations": [asdict(turn) for turn in await self._memory.of_member(user_id)],
            "buttons": [asdict(recipe) for recipe in await self._recipes.of_member(user_id)],
            "pictures": [name for name, _ in pictures],
            "prompts": [asdict(prompt) for prompt in await self._prompts.of_member(user_id)],
            "usage_log": [asdict(row) for row in await self._jobs.of_member(user_id)],
            "limits": [asdict(minute) for minute in await self._allowances.of_member(user_id)],
        }
        return json.dumps(everything, ensure_ascii=False, indent=2)

    async def pictures(self, user_id: int) -> list[tuple[str, Path]]:
        """Return the pictures that a member uploaded and that are kept: names and files."""
        return await self._recipes.pictures_of_member(user_id)

    async def delete(self, user_id: int) -> Kept:
        """Stop a member's jobs and delete everything that belongs to them; return how much.

        Buttons of others that carry a part of the member's conversations go as well. What was used
        of limits stays for its day, or deleting would give it back.
        """
        await self._stop_jobs(user_id)
        conversations = {turn.conversation_id for turn in await self._memory.of_member(user_id)}
        await self._outbox.delete_member(user_id)
        pictures = len(await self._recipes.pictures_of_member(user_id))
        deleted = Kept(
            turns=await self._memory.forget_user(user_id),
            recipes=await self._recipes.delete_member(user_id),
            prompts=await self._prompts.delete_member(user_id),
            jobs=await self._jobs.delete_member(user_id),
            pictures=pictures,
        )
        await self._recipes.delete_conversations(conversations)
        return deleted

    async def _stop_jobs(self, user_id: int) -> None:
        """Stop what is under way, and wait until nothing more is written of it."""
        jobs = self._engine.jobs(user_id=user_id)
        endings = [asyncio.create_task(self._end_of(job.id)) for job in jobs]
        for job in jobs:
            await self._engine.cancel(job.id)
        if endings:
            _, late = await asyncio.wait(endings, timeout=_STOP_TIMEOUT_S)
            for task in late:
                task.cancel()
            await self._let_deliver([job.id for job in jobs])

    async def _let_deliver(self, job_ids: Sequence[str]) -> None:
        """Give the messages that show those jobs the time to say that they were stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DELIVERY_TIMEOUT_S):
                for job_id in job_ids:
                    while await self._outbox.pending(job_id):  # noqa: ASYNC110 - rows have no event
                        await asyncio.sleep(_POLL_S)

    async def _end_of(self, job_id: str) -> None:
        async for _ in self._engine.watch(job_id):
            pass
