"""/transcribe and its right-click twin.

This cog owns what they offer and how a file becomes a request. Channels where every recording is
written down are ``cogs.recordings``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.intake import settings_channel
from bot.services.choices import LANGUAGES, choices, language_options, model_options
from bot.services.given import fetch, given
from bot.services.recordings import recordings, title_of, to_be_written_down
from models.catalog import ModelSpec
from models.contracts import Modality, TranscriptionRequest, make_request
from models.errors import EmptyInput, HandlerError, InvalidMedia, UnsupportedOption

if TYPE_CHECKING:
    from bot.client import Sextant

_DETECT = "auto"


class Transcription(commands.Cog):
    """Writes down what is said."""

    def __init__(self, bot: Sextant) -> None:
        self._tree = bot.tree
        self._services = bot.services
        self._menu = app_commands.ContextMenu(name="Transcribe", callback=self._transcribe_message)

    async def cog_load(self) -> None:
        """Add the right-click menu, which belongs to the tree."""
        self._tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Take the right-click menu away."""
        self._tree.remove_command(self._menu.name, type=self._menu.type)

    @app_commands.command()
    async def transcribe(
        self,
        interaction: discord.Interaction,
        file: discord.Attachment | None = None,
        url: app_commands.Range[str, 1, 2000] | None = None,
        format: Literal["txt", "srt", "vtt", "json"] = "txt",
        language: str = _DETECT,
        translate: bool = False,
        word_timestamps: bool = False,
        speakers: bool = False,
        model: str | None = None,
    ) -> None:
        """Write down what is said in a sound or video file.

        Args:
            file: A sound or video file.
            url: A link to one, instead of the file.
            format: txt is plain text, srt and vtt are subtitles, json is for programs.
            language: Which language is spoken; auto finds out.
            translate: Write it down in English, whatever is spoken.
            word_timestamps: Give every word its time, in the json format.
            speakers: Tell who speaks: Speaker 1, Speaker 2 and so on.
            model: Which model listens. /models tells more about each.
        """
        spec = self._model(interaction, model)
        spoken = None if language == _DETECT else language
        _require_supported(spec, spoken, translate=translate, words=word_timestamps)
        recording = next(iter(given(self._services, interaction, url, file)), None)
        if recording is None:
            raise EmptyInput("Give me a sound or video file, or a link to one.")

        async def build() -> TranscriptionRequest:
            return make_request(
                TranscriptionRequest,
                media=await fetch(self._services, recording, {"audio"}),
                language=spoken,
                translate=translate,
                word_timestamps=word_timestamps,
                speakers=speakers,
            )

        await self._services.intake.from_interaction(
            interaction,
            build,
            model=spec,
            purpose="transcribe",
            presentation={"format": format, "title": title_of(recording)},
        )

    @transcribe.autocomplete("model")
    async def _complete_model(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        return choices(model_options(self._services, Modality.TRANSCRIPTION), current)

    @transcribe.autocomplete("language")
    async def _complete_language(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        try:
            spec = self._model(interaction, interaction.namespace.model)
        except HandlerError:  # the command itself tells what is wrong
            return []
        languages = language_options(spec.languages or LANGUAGES)
        return choices([("Find out (auto)", _DETECT), *languages], current)

    async def _transcribe_message(
        self, interaction: discord.Interaction, message: discord.Message
    ) -> None:
        files = recordings(message)
        if not files:
            raise InvalidMedia("There is no sound or video file in that message.")
        notes = (
            [f"The message has {len(files)} recordings; this is the first of them."]
            if len(files) > 1
            else []
        )

        await self._services.intake.from_interaction(
            interaction,
            to_be_written_down(self._services, files[0]),
            model=self._model(interaction),
            purpose="transcribe",
            presentation={"format": "txt", "title": title_of(files[0]), "notes": notes},
        )

    def _model(self, interaction: discord.Interaction, chosen: str | None = None) -> ModelSpec:
        return self._services.admission.model_for(
            Modality.TRANSCRIPTION,
            interaction.guild_id or 0,
            settings_channel(interaction.channel),
            chosen,
        )


def _require_supported(
    spec: ModelSpec, language: str | None, *, translate: bool, words: bool
) -> None:
    if language is not None and spec.languages and language not in spec.languages:
        raise UnsupportedOption(
            f"{spec.name} does not understand “{language[:20]}”. Pick a language from the list."
        )
    if translate and "translate" not in spec.capabilities:
        raise UnsupportedOption(f"{spec.name} can't translate. Pick another model for that.")
    if words and "word_timestamps" not in spec.capabilities:
        raise UnsupportedOption(f"{spec.name} can't give words their times. Pick another model.")


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Transcription(bot))
