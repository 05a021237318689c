"""/help and /about.

This cog owns what the bot says of itself. The list of commands is read from the tree, so that it
cannot go out of date.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.replies import reply

if TYPE_CHECKING:
    from bot.client import Sextant

_CHAT = (
    "**Just talk:** mention me, reply to me, write in a thread that I am in, or send me a direct "
    "message. A voice message that replies to me is a question too. Delete your message and I "
    "forget it.\n"
    "**Pictures:** right-click one → *Apps* → *Describe image*; reply to what I said about it to "
    "ask more.\n"
    "**Recordings:** right-click a message → *Apps* → *Transcribe*.\n"
    "**Dropped files:** in some channels every picture is described, and every recording written "
    "down, by itself.\n"
    "**Be specific:** style, light, camera, mood and pace help pictures, clips and voices.\n"
    "**Check facts** before you rely on them: language models sound confident and can be wrong. "
    "Use voices and pictures of people only if they agreed."
)
_LICENCE = "Sextant is free software under the MIT licence, built on discord.py (MIT)."


class About(commands.Cog):
    """Says what the bot is and does."""

    def __init__(self, bot: Sextant) -> None:
        self._bot = bot
        self._services = bot.services

    @app_commands.command()
    async def help(self, interaction: discord.Interaction) -> None:
        """See what I can do."""
        manages = interaction.permissions.manage_guild
        lines = [
            f"`/{command.qualified_name}` {command.description}"
            for command in sorted(self._commands(), key=lambda found: found.qualified_name)
            if manages or not _is_for_moderators(command)
        ]
        embed = discord.Embed(title="What I can do", description="\n".join(lines))
        embed.add_field(name="Without a command", value=_CHAT, inline=False)
        await reply(interaction, "", embed=embed)

    @app_commands.command()
    async def about(self, interaction: discord.Interaction) -> None:
        """See who I am, whom to ask, and which licences apply."""
        services = self._services
        embed = discord.Embed(
            title=f"Sextant {version('sextant-bot')}",
            description="Text, pictures, clips, voices and transcripts, computed on the owner's "
            "own machine unless `/models` says otherwise of a model.",
        )
        contact = services.settings.contact
        embed.add_field(
            name="Contact",
            value=contact[:1024] or "The owner has not said. Ask the server's moderators.",
            inline=False,
        )
        licences = sorted(
            f"{spec.name}: {spec.licence}"
            for spec in services.catalog.all()
            if services.weights.is_installed(spec)
        )
        embed.add_field(
            name="Licences", value="\n".join([_LICENCE, *licences])[:1024], inline=False
        )
        embed.add_field(
            name="Your data",
            value="`/privacy show` says what is kept about you and for how long.",
            inline=False,
        )
        await reply(interaction, "", embed=embed)

    def _commands(self) -> list[app_commands.Command[commands.Cog, ..., object]]:
        return [
            command
            for command in self._bot.tree.walk_commands()
            if isinstance(command, app_commands.Command)
        ]


def _is_for_moderators(command: app_commands.Command[commands.Cog, ..., object]) -> bool:
    root = command.root_parent or command
    needed = root.default_permissions
    return needed is not None and needed.manage_guild


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(About(bot))
