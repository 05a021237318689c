"""/speak: a text, spoken.

This cog owns what the command offers and how a text becomes a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.intake import settings_channel
from bot.services.choices import choices, language_options, model_options, voice_options
from bot.services.container import Services
from bot.services.texts import is_blank, joined
from models.catalog import ModelSpec
from models.contracts import Modality, SpeechRequest, make_request
from models.errors import EmptyInput, HandlerError, UnsupportedOption

if TYPE_CHECKING:
    from bot.client import Sextant


class Speech(commands.Cog):
    """Speaks texts."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    async def speak(
        self,
        interaction: discord.Interaction,
        text: app_commands.Range[str, 1, 6000] = "",
        file: discord.Attachment | None = None,
        voice: str | None = None,
        language: str | None = None,
        speed: app_commands.Range[float, 0.5, 2.0] = 1.0,
        pause: app_commands.Range[float, 0.0, 3.0] = 0.25,
        seed: app_commands.Range[int, 0, 2**32 - 1] | None = None,
        model: str | None = None,
    ) -> None:
        """Turn a text into a voice message.

        Args:
            text: What to say. For more than 6,000 characters use a text file.
            file: A text file to read aloud, instead of the text or after it.
            voice: Who speaks.
            language: Which language the text is in.
            speed: 1 is the voice's own pace, 2 is twice as fast.
            pause: Silence between sentences, in seconds.
            seed: A number that makes the voice say it the same way again.
            model: Which model speaks. /models tells more about each.
        """
        if file is None and is_blank(text):
            raise EmptyInput("Give me something to say: a text, or a text file.")
        spec = self._model(interaction, model)
        _require_supported(spec, voice, language)
        for option, value, plain in (("speed", speed, 1.0), ("seed", seed, None)):
            if value != plain and option not in spec.capabilities:
                raise UnsupportedOption(f"{spec.name} has no {option}: leave that option out.")

        async def build() -> SpeechRequest:
            return make_request(
                SpeechRequest,
                text=joined(text, await self._services.attachments.read_text(file) if file else ""),
                voice=voice,
                language=language,
                speed=speed,
                pause_s=pause,
                seed=seed,
            )

        await self._services.intake.from_interaction(
            interaction,
            build if file else await build(),
            model=spec,
            purpose="speak",
            presentation={},
        )

    @speak.autocomplete("model")
    async def _complete_model(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        return choices(model_options(self._services, Modality.SPEECH), current)

    @speak.autocomplete("voice")
    async def _complete_voice(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        spec = self._chosen(interaction)
        return choices(voice_options(spec), current) if spec else []

    @speak.autocomplete("language")
    async def _complete_language(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        spec = self._chosen(interaction)
        return choices(language_options(spec.languages), current) if spec else []

    def _model(self, interaction: discord.Interaction, chosen: str | None) -> ModelSpec:
        return self._services.admission.model_for(
            Modality.SPEECH,
            interaction.guild_id or 0,
            settings_channel(interaction.channel),
            chosen,
        )

    def _chosen(self, interaction: discord.Interaction) -> ModelSpec | None:
        try:
            return self._model(interaction, interaction.namespace.model)
        except HandlerError:  # the command itself tells what is wrong
            return None


def _require_supported(spec: ModelSpec, voice: str | None, language: str | None) -> None:
    if voice is not None and voice not in spec.voices:
        raise UnsupportedOption(
            f"{spec.name} has no voice called “{voice[:80]}”. Pick one from the list."
        )
    if language is not None and spec.languages and language not in spec.languages:
        raise UnsupportedOption(
            f"{spec.name} does not speak “{language[:20]}”. Pick a language from the list."
        )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Speech(bot.services))
