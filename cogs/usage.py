"""/usage: a member's own figures, and to moderators what hosted models cost their server.

This cog owns how they look. Nobody else's own figures are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.intake import requester_of
from bot.delivery.replies import reply
from bot.delivery.wording import duration
from bot.services.allowances import Standing as LimitStanding
from bot.services.budget import Standing
from bot.services.container import Services
from bot.services.usage import Cost, Figures, cost_of, usage_of
from models.prices import usd

if TYPE_CHECKING:
    from bot.client import Sextant


class Usage(commands.Cog):
    """Shows what a member used."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    async def usage(self, interaction: discord.Interaction) -> None:
        """See what you have used: jobs, tokens, characters, minutes of sound, money."""
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
        limits = services.allowances.standing(requester_of(interaction))
        if limits:
            embed.add_field(name="Limits here", value="\n".join(map(_limit, limits)), inline=False)
        for title, value in await self._money(interaction):
            embed.add_field(name=title, value=value, inline=False)
        waiting = services.engine.active_count(interaction.user.id)
        if waiting:
            embed.set_footer(text=f"{waiting} under way are not counted yet; /queue shows them.")
        await reply(interaction, "", embed=embed)

    async def _money(self, interaction: discord.Interaction) -> list[tuple[str, str]]:
        """Return what hosted models cost this month: the member, and to moderators the server."""
        services = self._services
        own = await cost_of(
            services.jobs,
            interaction.user.id,
            since=services.budget.month_began,
            catalog=services.catalog,
        )
        standing = services.budget.standing(interaction.guild_id or 0)
        fields = []
        if own != Cost():
            fields.append((f"Hosted models in {standing.month}, yours", _spent(own)))
        hosted = any(model.is_hosted for model in services.catalog.all())
        if hosted and interaction.guild_id and interaction.permissions.manage_guild:
            title = f"Hosted models in {standing.month}, this server"
            fields.append((title, _standing(standing)))
        return fields


def _spent(cost: Cost, cap: str = "") -> str:
    """Return what was spent, and how many jobs are not in it because nobody knows their price."""
    amount = f"**{usd(cost.micro_usd)}**{cap}"
    jobs = cost.unpriced_jobs
    if not jobs:
        return amount
    return f"{amount} · and {jobs:,} job{'s' * (jobs > 1)} whose price is unknown"


def _standing(standing: Standing) -> str:
    lines = [_spent(standing.spent, f" of {usd(standing.cap)}")]
    if standing.held:
        lines.append(f"{usd(standing.held)} is held back for jobs under way.")
    lines.append(f"It begins at nought again on {standing.ends} (UTC).")
    return "\n".join(lines)


def _limit(standing: LimitStanding) -> str:
    whose = {"member": "You", "channel": "This channel", "server": "This server"}
    who = whose[standing.subject.kind]
    if standing.name == "jobs_hour":
        return f"**{who}**: {standing.used:,.0f} of {standing.limit:,} jobs in an hour"
    used, limit = duration(standing.used), duration(standing.limit)
    return f"**{who}**: computed for {used} of {limit} in a day"


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
