"""How a request gets in: checked in memory, acknowledged, completed, submitted, followed.

This module owns that order for commands, buttons and messages. Nothing touches the disk before
Discord has its acknowledgement, because that is due within three seconds whatever the disk does.
It must not know what a modality means: cogs hand over a request, or something that makes one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import discord

from bot.db.jobs import JobRepository
from bot.delivery.replies import ALREADY_ACKNOWLEDGED, answer_message
from bot.engine.engine import Engine
from bot.engine.job import Anchor, Job, Requester, Submission
from bot.engine.journal import JournalUnavailable
from bot.engine.spool import Spool, paths_in
from bot.services.admission import Admission
from bot.services.budget import Budget
from bot.services.house_rules import HouseRules
from bot.services.kept_pictures import KEPT
from bot.services.prompts import KEPT_PROMPT
from bot.services.prompts import SETTING as KEEP_PROMPTS
from bot.services.recipes import Recipe, RecipeService
from bot.tree import tell_author
from models.catalog import ModelSpec
from models.contracts import Request, dump_request
from models.errors import HandlerError

_log = logging.getLogger(__name__)

RequestSource = Request | Callable[[], Awaitable[Request]]
"""A request, or what makes one once the person has been acknowledged (fetching a file, say)."""

_TOKEN_LIFETIME_S = 14.5 * 60.0
"""Discord gives 15 minutes; a call that starts at the last moment would still come too late."""

_WORKING = "-# On it …"


class Follower(Protocol):
    """Shows a job's life on its anchor; ``bot.delivery.live`` does."""

    def follow(self, job: Job) -> None:
        """Start following; returns at once."""


@dataclass(slots=True)
class Intake:
    """The only way from Discord into the engine.

    Attributes:
        jobs: Knows what has been submitted in this run of the bot or a former one, and keeps a row
            of what could not be.
    """

    admission: Admission
    budget: Budget
    engine: Engine
    spool: Spool
    recipes: RecipeService
    live: Follower
    jobs: JobRepository
    house_rules: HouseRules
    _arriving: set[str] = field(default_factory=set)
    _deleted: set[int] = field(default_factory=set)

    async def from_interaction(
        self,
        interaction: discord.Interaction[Any],
        work: RequestSource,
        *,
        model: ModelSpec,
        purpose: str,
        presentation: dict[str, object],
        ephemeral: bool = False,
    ) -> Job:
        """Submit what a command or a button asked for.

        Args:
            interaction: Acknowledged here; the deferred reply becomes the anchor.
            work: The request, or what makes it.
            model: From ``Admission.model_for``.
            purpose: Tells apart what one interaction may ask for.
            presentation: How the answer is shown; see ``bot.delivery.present``.
            ephemeral: Whether only the person sees the answer.

        Returns:
            The job; the one that exists when the interaction arrived a second time.

        Raises:
            HandlerError: It was refused; the caller lets it pass to ``bot.tree``.
        """
        requester = requester_of(interaction)
        self._check(requester, model, work)
        key = f"{interaction.id}:{purpose}"
        with self.admission.allowances.entering(requester):
            async with self._noted(key, requester, model):
                anchor = await _acknowledge(interaction, ephemeral=ephemeral)
                request = await work() if callable(work) else work
            shown = presentation | self._rules(model, requester, interaction.channel)
            return await self._submit(Submission(request, model.id, requester, anchor, key, shown))

    async def from_message(
        self,
        message: discord.Message,
        work: RequestSource,
        *,
        model: ModelSpec,
        purpose: str,
        presentation: dict[str, object],
    ) -> Job | None:
        """Submit what a message asked for; the bot's reply to it becomes the anchor.

        Whatever goes wrong is told in that reply.

        Returns:
            The job, or None when nothing was submitted: it was refused, or this message has been
            submitted before.
        """
        key = f"{message.id}:{purpose}"
        if key in self._arriving:
            return None
        self._arriving.add(key)
        answer: discord.Message | None = None
        requester = author_of(message)
        try:
            if await self.jobs.knows(key):
                return None
            self._check(requester, model, work)
            with self.admission.allowances.entering(requester):
                async with self._noted(key, requester, model):
                    answer = await answer_message(message, _WORKING, key)
                    request = await work() if callable(work) else work
                if message.id in self._deleted:
                    await answer.delete()
                    return None
                anchor = Anchor(answer.channel.id, answer.id, source_message_id=message.id)
                shown = presentation | self._rules(model, requester, message.channel)
                return await self._submit(
                    Submission(request, model.id, requester, anchor, key, shown)
                )
        except Exception as error:  # noqa: BLE001 - a listener has nobody above it who would tell
            await tell_author(message, error, answer=answer, where=purpose)
            return None
        finally:
            self._arriving.discard(key)
            self._deleted.discard(message.id)

    async def after(
        self,
        earlier: Submission,
        work: RequestSource,
        *,
        model: ModelSpec,
        presentation: dict[str, object],
    ) -> Job | None:
        """Submit a job that answers in place of another one, which has ended without an answer.

        Returns:
            The job, or None when it has been submitted before.

        Raises:
            HandlerError: It was refused.
        """
        key = f"{earlier.source_key}:after"
        if await self.jobs.knows(key):
            return None
        request = await work() if callable(work) else work
        return await self._submit(
            Submission(request, model.id, earlier.requester, earlier.anchor, key, presentation)
        )

    async def source_deleted(self, message_id: int) -> None:
        """Stop the jobs that answer a message which was deleted, also one that is on its way in."""
        if any(key.startswith(f"{message_id}:") for key in self._arriving):
            self._deleted.add(message_id)
        for job in self.engine.jobs():
            if job.submission.anchor.source_message_id == message_id:
                await self.engine.cancel(job.id)

    def resume(self) -> None:
        """Follow the jobs that a former run of the bot has left."""
        for job in self.engine.jobs():
            self.live.follow(job)

    async def discard_files(self, submission: Submission) -> None:
        """Delete what a member sent for a job that has ended, or that never came to be."""
        await asyncio.to_thread(self.spool.discard, paths_in(dump_request(submission.request)))

    def _check(self, requester: Requester, model: ModelSpec, work: RequestSource) -> None:
        self.admission.check(requester, model.modality)
        self.budget.check(requester.guild_id, model, None if callable(work) else work)

    @asynccontextmanager
    async def _noted(self, key: str, requester: Requester, model: ModelSpec) -> AsyncIterator[None]:
        """Keep a row of what was asked for and fails before it is a job."""
        try:
            yield
        except Exception as error:
            try:
                await self.jobs.refused(key, requester, model, error)
            except JournalUnavailable as unavailable:
                _log.warning("a refusal was not written down: %s", unavailable)
            raise

    def _rules(self, model: ModelSpec, requester: Requester, channel: object) -> dict[str, object]:
        guild_id = requester.guild_id
        rules = self.house_rules.presentation(
            model.modality,
            guild_id,
            settings_channel(channel),
            age_restricted=_is_age_restricted(channel),
        )
        kept = bool(guild_id and self.admission.server_settings.get(KEEP_PROMPTS, guild_id))
        return rules | {KEPT_PROMPT: True} if kept else rules

    async def _submit(self, submission: Submission) -> Job:
        request = self.house_rules.bound(submission.request, submission.presentation)
        requester = replace(submission.requester, roles=())  # they have had their say
        submission = replace(submission, request=request, requester=requester)
        try:
            with self.budget.holding(submission):
                submission = await self._with_recipe(submission)
                job = await self.engine.submit(submission)
        except HandlerError:
            await self.discard_files(submission)
            raise
        if job.submission is submission and not job.state.final:
            self.admission.allowances.started(job)
            self.live.follow(job)
        else:  # submitted before, with files of its own
            await self.discard_files(submission)
        return job

    async def _with_recipe(self, submission: Submission) -> Submission:
        """Keep what buttons under the answer need to do the work again, where there are any."""
        recipe_id = self.recipes.id_for(submission.request, submission.source_key)
        if not recipe_id:
            return submission
        user_id, shown = submission.requester.user_id, dict(submission.presentation)
        kept = await self.recipes.keep_files(submission.request, user_id, shown)
        shown |= {"recipe": recipe_id, KEPT: kept}
        submission = replace(submission, presentation=shown)
        await self.recipes.save(
            Recipe(
                recipe_id,
                submission.requester,
                submission.model_id,
                submission.request,
                submission.presentation,
            )
        )
        return submission


def settings_channel(channel: object) -> int:
    """Return the id of the channel whose settings count: a thread has those of its parent."""
    if isinstance(channel, discord.Thread):
        return channel.parent_id
    return int(getattr(channel, "id", 0))


def place_of(interaction: discord.Interaction[Any]) -> tuple[int, int]:
    """Return the server, 0 for none, and the channel whose settings count."""
    return interaction.guild_id or 0, settings_channel(interaction.channel)


def _is_age_restricted(channel: object) -> bool:
    is_nsfw = getattr(channel, "is_nsfw", None)
    return bool(is_nsfw and is_nsfw())


def requester_of(interaction: discord.Interaction[Any]) -> Requester:
    """Return who ran a command or pressed a button, and where."""
    return _requester(
        interaction.user,
        interaction.guild_id or 0,
        interaction.channel,
        channel_id=interaction.channel_id or 0,
    )


def author_of(message: discord.Message) -> Requester:
    """Return who wrote a message, and where."""
    guild_id = message.guild.id if message.guild else 0
    return _requester(message.author, guild_id, message.channel, channel_id=message.channel.id)


def _requester(
    person: discord.User | discord.Member, guild_id: int, channel: object, *, channel_id: int
) -> Requester:
    parent_id = channel.parent_id if isinstance(channel, discord.Thread) else 0
    roles = tuple(role.id for role in getattr(person, "roles", ()))
    return Requester(person.id, guild_id, channel_id, parent_id, roles)


async def _acknowledge(interaction: discord.Interaction[Any], *, ephemeral: bool) -> Anchor:
    message_id: int | None = None
    try:
        if not interaction.response.is_done():
            response = await interaction.response.defer(ephemeral=ephemeral, thinking=True)
            message_id = response.message_id if response else None
    except discord.HTTPException as error:
        # A repeated call after a lost answer, or the same interaction once more: the source key
        # tells which.
        if error.code != ALREADY_ACKNOWLEDGED:
            raise
    if message_id is None:
        message_id = (await interaction.original_response()).id
    return Anchor(
        channel_id=interaction.channel_id or 0,
        message_id=message_id,
        application_id=interaction.application_id,
        token=interaction.token,
        token_expires_at=interaction.created_at.timestamp() + _TOKEN_LIFETIME_S,
        ephemeral=ephemeral,
    )
