"""Channels where every recording is written down unasked.

This cog owns which dropped files become transcription jobs. When messages are looked at is
``bot.services.dropped``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from bot.delivery.intake import settings_channel
from bot.services.addressing import Addressing
from bot.services.dropped import Taker
from bot.services.recordings import recordings, title_of, to_be_written_down
from models.contracts import Modality
from models.errors import HandlerError

if TYPE_CHECKING:
    from bot.client import Sextant

_log = logging.getLogger(__name__)


class Recordings(commands.Cog):
    """Writes down what is dropped into a channel."""

    def __init__(self, bot: Sextant) -> None:
        self._bot = bot
        self._services = bot.services
        self._addressing = Addressing(bot.services.memory, bot.services.server_settings)

    async def cog_load(self) -> None:
        """Take recordings."""
        self._services.dropped.add(Taker(Modality.TRANSCRIPTION, recordings, self._write_down))

    async def _write_down(self, message: discord.Message) -> None:
        """Submit the recordings of a message, each as a job of its own."""
        me = self._bot.user
        if me is None or (
            message.flags.voice and await self._addressing.conversation_of(message, me)
        ):
            return  # a spoken prompt, which the chat answers
        place = message.guild.id if message.guild else 0, settings_channel(message.channel)
        try:
            spec = self._services.admission.model_for(Modality.TRANSCRIPTION, *place)
        except HandlerError as error:  # nobody asked for it, so nobody is told
            _log.warning("channel %d: %s", message.channel.id, error.user_message)
            return
        for file in recordings(message):
            await self._services.intake.from_message(
                message,
                to_be_written_down(self._services, file),
                model=spec,
                purpose=f"transcribe:{file.id}",
                presentation={"format": "txt", "title": title_of(file)},
            )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Recordings(bot))
