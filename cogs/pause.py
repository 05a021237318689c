"""/pause and /resume: moderators have a server's jobs wait for a while.

This cog owns what they read. The pause itself is a setting (``queue.paused``), so it is recorded
and outlives a restart; ``bot.app`` has the engine follow it. It ends when the bot has left the
server, where nobody could end it any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.replies import reply
from bot.engine.job import Job, JobState
from bot.services.setting_registry import PAUSED
from models.errors import InvalidRequest

if TYPE_CHECKING:
    from bot.client import Sextant

_may_pause = app_commands.checks.has_permissions(manage_guild=True)
"""Discord offers the commands to nobody else, unless a server has overridden just that."""


class Pause(commands.Cog):
    """Has a server's jobs wait, and lets them go on."""

    def __init__(self, bot: Sextant) -> None:
        self._bot = bot
        self._services = bot.services

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

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Let nothing wait for a server that the bot has left."""
        await self._give_up(guild.id)

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Do the same for servers that it had to leave while it was away."""
        for guild_id in self._services.server_settings.servers_with(PAUSED):
            if self._bot.get_guild(guild_id) is None:
                await self._give_up(guild_id)

    async def _give_up(self, guild_id: int) -> None:
        settings, me = self._services.server_settings, self._bot.user
        for job in self._waiting_in(guild_id):
            await self._services.engine.cancel(job.id)
        if settings.get(PAUSED, guild_id) and me is not None:
            await settings.reset(PAUSED, guild_id=guild_id, user_id=me.id)

    def _waiting_in(self, guild_id: int) -> list[Job]:
        return [
            job
            for job in self._services.engine.jobs()
            if job.state is JobState.QUEUED and job.submission.requester.guild_id == guild_id
        ]

    def _waiting(self, guild_id: int) -> str:
        count = len(self._waiting_in(guild_id))
        if not count:
            return "Nothing waits."
        return (
            "1 job waits and keeps its place."
            if count == 1
            else (f"{count:,} jobs wait and keep their places.")
        )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Pause(bot))
