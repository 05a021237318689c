"""/pause and /resume: moderators have a server's jobs wait for a while.

This cog owns what they read. The pause itself is a setting (``queue.paused``), so it is recorded
and outlives a restart; ``bot.app`` has the engine follow it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.replies import reply
from bot.engine.job import JobState
from bot.services.container import Services
from bot.services.setting_registry import PAUSED
from models.errors import InvalidRequest

if TYPE_CHECKING:
    from bot.client import Sextant

_may_pause = app_commands.checks.has_permissions(manage_guild=True)
"""Discord offers the commands to nobody else, unless a server has overridden just that."""


class Pause(commands.Cog):
    """Has a server's jobs wait, and lets them go on."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    @_may_pause
    async def pause(self, interaction: discord.Interaction) -> None:
        """Let what runs in this server end, and everything else wait until /resume."""
        guild_id, settings = interaction.guild_id or 0, self._services.server_settings
        if settings.get(PAUSED, guild_id):
            raise InvalidRequest(f"This server is paused already. {self._waiting(guild_id)}")
        await interaction.response.defer(ephemeral=True)
        await settings.set(PAUSED, "on", guild_id=guild_id, user_id=interaction.user.id)
        await reply(
            interaction,
            "⏸️ Paused: what runs goes on to its end, and new requests wait with the others. "
            f"{self._waiting(guild_id)} `/resume` lets them go on.",
        )

    @app_commands.command()
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    @_may_pause
    async def resume(self, interaction: discord.Interaction) -> None:
        """Let the jobs of this server go on after /pause."""
        guild_id, settings = interaction.guild_id or 0, self._services.server_settings
        if not settings.get(PAUSED, guild_id):
            raise InvalidRequest("This server is not paused.")
        await interaction.response.defer(ephemeral=True)
        waiting = self._waiting(guild_id)
        await settings.reset(PAUSED, guild_id=guild_id, user_id=interaction.user.id)
        await reply(interaction, f"▶️ This server goes on. {waiting}")

    def _waiting(self, guild_id: int) -> str:
        count = sum(
            job.state is JobState.QUEUED and job.submission.requester.guild_id == guild_id
            for job in self._services.engine.jobs()
        )
        if not count:
            return "Nothing waits."
        return (
            "1 job waits and keeps its place."
            if count == 1
            else (f"{count:,} jobs wait and keep their places.")
        )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Pause(bot.services))
