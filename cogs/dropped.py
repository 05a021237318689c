"""What is dropped into channels, as it comes and when the bot is back.

This cog owns the events alone: ``bot.services.dropped`` says what they mean, ``cogs.photos`` and
``cogs.recordings`` who takes what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from bot.services.addressing import from_person

if TYPE_CHECKING:
    from bot.client import Sextant


class Drops(commands.Cog):
    """Listens for what is dropped."""

    def __init__(self, bot: Sextant) -> None:
        self._bot = bot
        self._dropped = bot.services.dropped

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Offer a new message to whoever takes such files."""
        if from_person(message):
            await self._dropped.arrived(message)

    @commands.Cog.listener()
    async def on_disconnect(self) -> None:
        """Remember that messages may be missed from here on."""
        self._dropped.missed()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Look at what was dropped while the bot was away."""
        await self._dropped.catch_up(self._bot.guilds)

    @commands.Cog.listener()
    async def on_resumed(self) -> None:
        """Look at what was dropped while the connection was gone."""
        await self._dropped.catch_up(self._bot.guilds)


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Drops(bot))
