"""/ask: one question, one answer.

This cog owns what the command offers and how a question becomes a request. Conversations are
``cogs.chat``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.intake import settings_channel
from bot.services.choices import choices, model_options
from bot.services.container import Services
from bot.services.texts import joined, require_fit
from models.catalog import ModelSpec
from models.contracts import ChatMessage, Modality, TextRequest, make_request
from models.errors import UnsupportedOption

if TYPE_CHECKING:
    from bot.client import Sextant


class Text(commands.Cog):
    """Answers questions."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    async def ask(
        self,
        interaction: discord.Interaction,
        prompt: app_commands.Range[str, 1, 6000],
        system_prompt: app_commands.Range[str, 1, 4000] | None = None,
        temperature: app_commands.Range[float, 0.0, 2.0] | None = None,
        max_tokens: app_commands.Range[int, 1, 8192] = 512,
        seed: app_commands.Range[int, 0, 2**32 - 1] | None = None,
        model: str | None = None,
        file: discord.Attachment | None = None,
        private: bool = False,
    ) -> None:
        """Ask the text model something.

        Args:
            prompt: Your question or task. For more than 6,000 characters add a text file.
            system_prompt: What the model should be or obey, instead of what is set here.
            temperature: 0 is exact, 1 varied, 2 wild. Facts want it low, ideas high.
            max_tokens: The longest answer, in tokens (about four characters each).
            seed: A number that makes the same question give the same answer again.
            model: Which model answers. /models tells more about each.
            file: A text file that is read together with your prompt.
            private: Only you see the answer.
        """
        place = interaction.guild_id or 0, settings_channel(interaction.channel)
        settings = self._services.server_settings
        spec = self._services.admission.model_for(Modality.TEXT, *place, model)
        if seed is not None and "seed" not in spec.capabilities:
            raise UnsupportedOption(f"{spec.name} can't repeat an answer: leave the seed out.")
        system = system_prompt or str(settings.get("text.system_prompt", *place))
        if temperature is None:
            temperature = float(settings.get("text.temperature", *place))

        async def build() -> TextRequest:
            return make_request(
                TextRequest,
                messages=(
                    ChatMessage("system", system),
                    ChatMessage("user", await self._question(spec, prompt, file)),
                ),
                temperature=temperature,
                max_new_tokens=max_tokens,
                seed=seed,
            )

        await self._services.intake.from_interaction(
            interaction,
            build if file else await build(),
            model=spec,
            purpose="ask",
            presentation={
                "notice": bool(settings.get("text.fact_notice", *place)),
                "quote": prompt,
            },
            ephemeral=private,
        )

    @ask.autocomplete("model")
    async def _complete_model(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        return choices(model_options(self._services, Modality.TEXT), current)

    async def _question(self, spec: ModelSpec, prompt: str, file: discord.Attachment | None) -> str:
        question = joined(prompt, await self._services.attachments.read_text(file) if file else "")
        require_fit(question, spec)
        return question


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Text(bot.services))
