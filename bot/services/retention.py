"""Deleting what has been kept long enough.

This module owns how long things are kept (``bot.settings.PrivacySettings``) and the loop that
deletes them. Each table is deleted from by its own repository.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from bot.db.jobs import JobRepository
from bot.db.outbox import OutboxRepository
from bot.db.prompts import PromptRepository
from bot.engine.journal import JournalUnavailable
from bot.services.allowances import Allowances
from bot.services.memory import Memory
from bot.services.recipes import RecipeService
from bot.settings import PrivacySettings

_log = logging.getLogger(__name__)

_DAY_S = 86_400.0
_INTERVAL_S = 3_600.0
_LEAST_SETTLED_DAYS = 2
"""Sent parts stay at least so long, without their text, so that nothing is sent once more."""


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows went."""

    turns: int
    recipes: int
    jobs: int
    parts: int
    prompts: int


class Retention:
    """Deletes once an hour what is too old."""

    def __init__(
        self,
        settings: PrivacySettings,
        *,
        memory: Memory,
        recipes: RecipeService,
        jobs: JobRepository,
        outbox: OutboxRepository,
        prompts: PromptRepository,
        allowances: Allowances,
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._recipes = recipes
        self._jobs = jobs
        self._outbox = outbox
        self._prompts = prompts
        self._allowances = allowances

    async def run(self) -> None:
        """Sweep now and every hour, until cancelled. A database that is busy only costs a turn."""
        while True:
            try:
                swept = await self.sweep()
            except (SQLAlchemyError, JournalUnavailable):
                _log.warning("could not delete what is too old; will try again", exc_info=True)
            else:
                _log.debug("deleted what is too old: %s", swept)
            await asyncio.sleep(_INTERVAL_S)

    async def sweep(self) -> Swept:
        """Delete what is too old now."""
        now = time.time()
        # Buttons and memory must know all messages of an answer for as long as they know one.
        settled_days = max(
            _LEAST_SETTLED_DAYS, self._settings.recipe_days, self._settings.memory_days
        )
        await self._allowances.sweep()
        return Swept(
            turns=await self._memory.forget_before(now - self._settings.memory_days * _DAY_S),
            recipes=await self._recipes.delete_expired(),
            jobs=await self._jobs.delete_before(now - self._settings.job_days * _DAY_S),
            parts=await self._outbox.delete_settled(now - settled_days * _DAY_S),
            prompts=await self._prompts.delete_before(now - self._settings.prompt_days * _DAY_S),
        )
