"""/prompts: what members asked for, shown to moderators of servers that keep it.

This cog owns how that looks. What is kept and when is ``bot.services.prompts``.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.replies import reply
from bot.delivery.wording import one_line
from bot.services.container import Services
from bot.services.prompts import SETTING, KeptPrompt

if TYPE_CHECKING:
    from bot.client import Sextant

_SHOWN = 10
_IN_FILE = 500
_LINE_CHARS = 250


class Prompts(commands.Cog):
    """Shows what was asked."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def prompts(
        self, interaction: discord.Interaction, member: discord.User | None = None
    ) -> None:
        """Read what was asked here, where this server keeps it.

        Args:
            member: Show what this member asked alone.
        """
        await interaction.response.defer(ephemeral=True)
        guild_id = interaction.guild_id or 0
        found = await self._services.prompts.of_guild(
            guild_id, user_id=member.id if member else None, limit=_IN_FILE
        )
        if not found:
            await reply(interaction, self._nothing(guild_id))
            return
        days = self._services.settings.privacy.prompt_days
        embed = discord.Embed(
            title="What was asked", description="\n".join(map(_line, found[:_SHOWN]))
        )
        embed.set_footer(text=f"Kept for {days} days. The file has the last {len(found)}.")
        data = "\n\n".join(map(_entry, found)).encode()
        await reply(
            interaction, "", embed=embed, file=discord.File(io.BytesIO(data), "prompts.txt")
        )

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Delete what was asked in a server that the bot has left."""
        await self._services.prompts.delete_guild(guild.id)

    def _nothing(self, guild_id: int) -> str:
        if self._services.server_settings.get(SETTING, guild_id):
            return "Nothing was asked here since prompts are kept."
        return (
            f"Prompts are not kept here. `/config set key:{SETTING} value:on` keeps what is asked "
            "from then on, and every answer tells members so."
        )


def _line(prompt: KeptPrompt) -> str:
    moment = f"<t:{prompt.created_at:.0f}:R>"
    said = discord.utils.escape_markdown(one_line(prompt.text, _LINE_CHARS))
    return f"{moment} <@{prompt.user_id}> in <#{prompt.channel_id}> ({prompt.modality}): {said}"


def _entry(prompt: KeptPrompt) -> str:
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(prompt.created_at))
    place = f"member {prompt.user_id}, channel {prompt.channel_id}"
    return f"{moment} · {place} · {prompt.modality}\n{prompt.text}"


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Prompts(bot.services))
