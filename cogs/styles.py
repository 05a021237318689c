"""/style: the presets that this server offers for pictures.

This cog owns how moderators see and change them. What a style is, is ``bot.services.styles``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.replies import reply
from bot.delivery.wording import one_line
from bot.services.choices import choices
from bot.services.container import Services
from bot.services.styles import Style

if TYPE_CHECKING:
    from bot.client import Sextant

_PROMPT_CHARS = 70
_DESCRIPTION_CHARS = 4000

_may_configure = app_commands.checks.has_permissions(manage_guild=True)


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class StyleCommands(commands.GroupCog, name="style"):
    """Change the styles that this server offers for pictures."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services

    @app_commands.command(name="list")
    @_may_configure
    async def show(self, interaction: discord.Interaction) -> None:
        """See every style and what it adds to a prompt."""
        lines = [
            f"**{name}**: {discord.utils.escape_markdown(one_line(style.prompt, _PROMPT_CHARS))}"
            for name, style in self._services.styles.of(interaction.guild_id or 0).items()
        ]
        text = "\n".join(lines) or "There are none."
        cut = text[:_DESCRIPTION_CHARS].rpartition("\n")[0] + "\n…"
        embed = discord.Embed(
            title="Styles", description=text if len(text) <= _DESCRIPTION_CHARS else cut
        )
        await reply(interaction, "", embed=embed)

    @app_commands.command(name="set")
    @_may_configure
    async def change(
        self,
        interaction: discord.Interaction,
        name: app_commands.Range[str, 1, 30],
        prompt: app_commands.Range[str, 1, 1000],
        negative_prompt: app_commands.Range[str, 1, 1000] = "",
    ) -> None:
        """Add a style to this server, or change one.

        Args:
            name: What members pick.
            prompt: What is put behind their prompt.
            negative_prompt: What is put behind their negative prompt.
        """
        await interaction.response.defer(ephemeral=True)
        name, style = name.strip().lower(), Style(prompt.strip(), negative_prompt.strip())
        await self._services.styles.set(
            interaction.guild_id or 0, name, style, user_id=interaction.user.id
        )
        await reply(interaction, f"`/imagine` offers the style **{name}** from now on.")

    @app_commands.command()
    @_may_configure
    async def remove(self, interaction: discord.Interaction, name: str) -> None:
        """Take a style away from this server.

        Args:
            name: Which style.
        """
        await interaction.response.defer(ephemeral=True)
        await self._services.styles.remove(
            interaction.guild_id or 0, name, user_id=interaction.user.id
        )
        await reply(interaction, f"`/imagine` does not offer **{name}** any more.")

    @change.autocomplete("name")
    @remove.autocomplete("name")
    async def _complete_name(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        styles = self._services.styles.of(interaction.guild_id or 0)
        return choices(((name, name) for name in styles), current)


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(StyleCommands(bot.services))
