"""/privacy: what is kept about a member, as a list, as a file, or not at all any more.

This cog owns how that is told and confirmed. What there is, ``bot.services.privacy`` knows.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.replies import reply
from bot.services.container import Services
from bot.services.privacy import Kept, Privacy
from bot.services.prompts import SETTING
from bot.tree import tell

if TYPE_CHECKING:
    from bot.client import Sextant

_CONFIRM_TIMEOUT_S = 120.0
_MOST_FILES = 10


class PrivacyCog(commands.GroupCog, name="privacy"):
    """See, export and delete what I keep about you."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services

    @app_commands.command()
    async def show(self, interaction: discord.Interaction) -> None:
        """See what is kept about you, and for how long."""
        await interaction.response.defer(ephemeral=True)
        kept = await self._services.privacy.kept(interaction.user.id)
        days = self._services.settings.privacy
        lines = [
            "**What I keep about you**",
            f"- {kept.turns} messages of conversations with me, for {days.memory_days} days or "
            "until you delete them",
            f"- {kept.recipes} buttons with what you asked, and {kept.pictures} pictures that you "
            f"uploaded for them, for {days.recipe_days} days",
            f"- {kept.jobs} rows of the usage log (what kind, when, how long; no text), for "
            f"{days.job_days} days",
            f"- {kept.prompts} prompts that moderators can read, for {days.prompt_days} days. "
            f"{self._logged(interaction)}",
            "- How many jobs you started and how long they computed, by minute, for a day: limits "
            "count by that, so deleting leaves it alone",
            "Other files are deleted when their job has ended. Nothing is used to train anything.",
            "If you manage a server, the record of who changed its settings belongs to the server.",
            "`/privacy export` sends you all of it, `/privacy delete` deletes it.",
        ]
        await reply(interaction, "\n".join(lines))

    def _logged(self, interaction: discord.Interaction) -> str:
        guild_id = interaction.guild_id or 0
        if guild_id and self._services.server_settings.get(SETTING, guild_id):
            return "In this server they can; every answer says so."
        return "Here prompts are not logged."

    @app_commands.command()
    async def export(self, interaction: discord.Interaction) -> None:
        """Get everything that is kept about you as a file."""
        await interaction.response.defer(ephemeral=True)
        data = (await self._services.privacy.export(interaction.user.id)).encode()
        limit = interaction.filesize_limit
        if len(data) > limit:
            await reply(
                interaction,
                f"That is {len(data) >> 20} MiB, and Discord lets me send {limit >> 20} MiB. "
                "Please ask the owner for it.",
            )
            return
        file = discord.File(io.BytesIO(data), filename="your-data.json")
        await reply(interaction, "This is everything that I keep about you.", file=file)
        for files in _batches(await self._services.privacy.pictures(interaction.user.id), limit):
            await interaction.followup.send(
                "Pictures that you uploaded:", files=files, ephemeral=True
            )

    @app_commands.command()
    async def delete(self, interaction: discord.Interaction) -> None:
        """Delete everything that is kept about you, and stop what is under way."""
        await reply(
            interaction,
            "This stops your jobs and deletes all that I keep about you: conversations, buttons, "
            "prompts and the usage log. What you used of limits goes by itself after a day. "
            "Messages in channels stay until you delete them. Go on?",
            view=Confirm(interaction, self._services.privacy),
        )


class Confirm(discord.ui.View):
    """Asks once more. Only the member sees it, so only the member can press."""

    def __init__(self, interaction: discord.Interaction[Any], privacy: Privacy) -> None:
        super().__init__(timeout=_CONFIRM_TIMEOUT_S)
        self._interaction = interaction
        self._privacy = privacy

    async def on_timeout(self) -> None:
        """Take the buttons away, since nothing listens to them any more."""
        with contextlib.suppress(discord.HTTPException):  # the member may have dismissed it
            await self._interaction.edit_original_response(
                content="Nothing was deleted, since you did not answer.", view=None
            )

    async def on_error(
        self, interaction: discord.Interaction[Any], error: Exception, item: Any, /
    ) -> None:
        """Tell the member."""
        await tell(interaction, error, where="button of /privacy delete")

    @discord.ui.button(label="Delete everything", style=discord.ButtonStyle.danger)
    async def confirm(
        self, interaction: discord.Interaction[Any], button: discord.ui.Button[Confirm]
    ) -> None:
        """Delete."""
        self.stop()
        await interaction.response.edit_message(content="Deleting …", view=None)
        deleted = await self._privacy.delete(interaction.user.id)
        await interaction.edit_original_response(content=_said(deleted))

    @discord.ui.button(label="Keep it")
    async def keep(
        self, interaction: discord.Interaction[Any], button: discord.ui.Button[Confirm]
    ) -> None:
        """Do nothing."""
        self.stop()
        await interaction.response.edit_message(content="Nothing was deleted.", view=None)


def _batches(pictures: list[tuple[str, Path]], limit: int) -> Iterator[list[discord.File]]:
    """Yield files in groups that fit into one message each."""
    batch: list[discord.File] = []
    room = limit
    for name, path in pictures:
        size = path.stat().st_size
        if batch and (size > room or len(batch) == _MOST_FILES):
            yield batch
            batch, room = [], limit
        batch.append(discord.File(path, filename=name))
        room -= size
    if batch:
        yield batch


def _said(deleted: Kept) -> str:
    return (
        f"Deleted: {deleted.turns} messages of conversations, {deleted.recipes} buttons, "
        f"{deleted.jobs} rows of the usage log, {deleted.prompts} prompts, {deleted.pictures} "
        "uploaded pictures."
    )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(PrivacyCog(bot.services))
