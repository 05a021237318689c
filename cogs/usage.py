"""/usage: a member's own figures.

This cog owns how they look. Nobody else's are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.replies import reply
from bot.delivery.wording import duration
from bot.services.container import Services
from bot.services.usage import Figures, usage_of

if TYPE_CHECKING:
    from bot.client import Sextant


class Usage(commands.Cog):
    """Shows what a member used."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    async def usage(self, interaction: discord.Interaction) -> None:
        """See what you have used: jobs, tokens, characters, minutes of sound."""
        await interaction.response.defer(ephemeral=True)
        services = self._services
        periods = await usage_of(
            services.jobs,
            interaction.user.id,
            kept_days=services.settings.privacy.job_days,
        )
        embed = discord.Embed(title="What you have used")
        for period in periods:
            lines = [_line(figures) for figures in period.figures]
            embed.add_field(name=period.title, value="\n".join(lines) or "Nothing.", inline=False)
        waiting = services.engine.active_count(interaction.user.id)
        if waiting:
            embed.set_footer(text=f"{waiting} under way are not counted yet; /queue shows them.")
        await reply(interaction, "", embed=embed)


def _line(figures: Figures) -> str:
    jobs = "1 job" if figures.jobs == 1 else f"{figures.jobs:,} jobs"
    used = ""
    if figures.unit == "seconds":
        used = f" · {duration(figures.units)} of sound"
    elif figures.unit is not None:
        used = f" · {figures.units:,.0f} {figures.unit}"
    return f"**{figures.modality.capitalize()}**: {jobs}{used} · computed for " + duration(
        figures.seconds
    )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Usage(bot.services))
