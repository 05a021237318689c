"""/queue and /cancel: what is under way.

This cog owns how jobs are listed and who may stop them: the member who asked, and moderators (who
may manage messages) within their server.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.replies import reply
from bot.delivery.wording import duration
from bot.engine.job import Job, JobState
from bot.services.choices import choices
from bot.services.container import Services
from models.errors import InvalidRequest, ModelUnavailable

if TYPE_CHECKING:
    from bot.client import Sextant

_MOST_SHOWN = 20


class Queue(commands.Cog):
    """Shows and stops jobs."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    async def queue(self, interaction: discord.Interaction) -> None:
        """See what you are waiting for, your place in line, and how long it takes."""
        engine = self._services.engine
        own = engine.jobs(user_id=interaction.user.id)
        lines = [f"- {self._describe(job)}" for job in own[:_MOST_SHOWN]]
        if len(own) > _MOST_SHOWN:
            lines.append(f"- … and {len(own) - _MOST_SHOWN} more")
        if not own:
            lines = ["Nothing of yours is under way."]
        everybodys = engine.counts()
        running, waiting = (
            sum(number for (_, of), number in everybodys.items() if of is state)
            for state in (JobState.RUNNING, JobState.QUEUED)
        )
        lines.append(f"-# Of everybody's, {running} running and {waiting} waiting.")
        await reply(interaction, "\n".join(lines))

    @app_commands.command()
    async def cancel(self, interaction: discord.Interaction, job: str | None = None) -> None:
        """Stop a job of yours that waits or runs.

        Args:
            job: Which one. You can leave this out if there is only one.
        """
        found = self._find(interaction, job)
        await interaction.response.defer(ephemeral=True)
        if not await self._services.engine.cancel(found.id):
            raise InvalidRequest("That has already ended.")
        await reply(interaction, f"Stopped: {self._name(found)}.")

    @cancel.autocomplete("job")
    async def _complete_job(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        options = [(self._option(interaction, job), job.id) for job in self._allowed(interaction)]
        return choices(options, current)

    def _allowed(self, interaction: discord.Interaction) -> Sequence[Job]:
        """Return the jobs that a member may stop, their own first."""
        user_id, guild_id = interaction.user.id, interaction.guild_id
        own: list[Job] = []
        others: list[Job] = []
        for job in self._services.engine.jobs():
            requester = job.submission.requester
            if requester.user_id == user_id:
                own.append(job)
            elif guild_id is not None and requester.guild_id == guild_id:
                others.append(job)
        return [*own, *others] if interaction.permissions.manage_messages else own

    def _find(self, interaction: discord.Interaction, job_id: str | None) -> Job:
        allowed = self._allowed(interaction)
        if job_id is not None:
            found = [job for job in allowed if job.id == job_id]
            if not found:
                raise InvalidRequest("There is no such job under way that you may stop.")
            return found[0]
        own = [job for job in allowed if job.submission.requester.user_id == interaction.user.id]
        if not own:
            raise InvalidRequest("Nothing of yours is under way.")
        if len(own) > 1:
            raise InvalidRequest(f"You have {len(own)} jobs under way: pick one in `job`.")
        return own[0]

    def _name(self, job: Job) -> str:
        model_id = job.submission.model_id
        try:
            model = self._services.catalog.get(model_id).name
        except ModelUnavailable:  # the owner has taken it out of the catalogue meanwhile
            model = model_id
        return f"{job.modality} with {model}"

    def _describe(self, job: Job) -> str:
        return f"**{self._name(job)}** · {self._status(job)}"

    def _option(self, interaction: discord.Interaction, job: Job) -> str:
        whose = "" if job.submission.requester.user_id == interaction.user.id else "a member's "
        return f"{whose}{self._name(job)} · {self._status(job)}"

    def _status(self, job: Job) -> str:
        if job.state is JobState.RUNNING:
            return f"running for {duration(time.time() - (job.started_at or time.time()))}"
        waiting = self._services.engine.place(job.id)
        if waiting is None:
            return "waiting in line"
        if waiting.paused:
            return f"place {waiting.place} in line, paused by the moderators"
        if waiting.eta_s is None:
            return f"place {waiting.place} in line"
        return f"place {waiting.place} in line, starts in about {duration(waiting.eta_s)}"


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Queue(bot.services))
