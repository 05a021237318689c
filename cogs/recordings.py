"""Channels where every recording is written down unasked.

This cog owns which dropped files become transcription jobs. What was dropped while the bot was
away is caught up when it is back: within the last day, 50 messages a channel, and never twice,
because the source key of such a job is made of the message and the file.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from bot.client import from_person
from bot.delivery.intake import settings_channel
from bot.engine.job import Requester
from bot.services.addressing import Addressing
from bot.services.recordings import recordings, title_of
from models.contracts import Modality, TranscriptionRequest, make_request
from models.errors import HandlerError, LimitReached

if TYPE_CHECKING:
    from bot.client import Sextant

_log = logging.getLogger(__name__)

Readable = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread

_CATCH_UP_S = 86_400.0
_CATCH_UP_MESSAGES = 50
_RETRY_S = 5.0


class Recordings(commands.Cog):
    """Writes down what is dropped into a channel."""

    def __init__(self, bot: Sextant) -> None:
        self._bot = bot
        self._services = bot.services
        self._addressing = Addressing(bot.services.memory, bot.services.server_settings)
        self._behind = True
        self._catching_up = asyncio.Lock()

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Write down the recordings of a new message, where that is switched on."""
        if not await self._write_down(message):
            return
        # While messages may have been missed, the cursor stays, so that catching up begins there.
        if message.guild is not None and not self._behind:
            await self._move_cursor(message.guild.id, message.channel.id, message.id)

    @commands.Cog.listener()
    async def on_disconnect(self) -> None:
        """Remember that messages may be missed from here on."""
        self._behind = True

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Look at what was dropped while the bot was away."""
        await self._catch_up()

    @commands.Cog.listener()
    async def on_resumed(self) -> None:
        """Look at what was dropped while the connection was gone."""
        await self._catch_up()

    async def _write_down(self, message: discord.Message) -> bool:
        """Submit the recordings of a message; return whether there were any."""
        guild, me = message.guild, self._bot.user
        if guild is None or me is None or not self._is_automatic(guild.id, message.channel):
            return False
        files = recordings(message)
        if not files or not from_person(message):
            return False
        if message.flags.voice and await self._addressing.conversation_of(message, me) is not None:
            return False  # a spoken prompt, which the chat answers
        for file in files:
            await self._submit(message, file)
        return True

    async def _submit(self, message: discord.Message, file: discord.Attachment) -> None:
        place = message.guild.id if message.guild else 0, settings_channel(message.channel)
        try:
            spec = self._services.admission.model_for(Modality.TRANSCRIPTION, *place)
        except HandlerError as error:  # nobody asked for it, so nobody is told
            _log.warning("channel %d: %s", message.channel.id, error.user_message)
            return

        async def build() -> TranscriptionRequest:
            media = await self._services.attachments.fetch(file, kinds={"audio"})
            return make_request(TranscriptionRequest, media=media)

        await self._services.intake.from_message(
            message,
            build,
            model=spec,
            purpose=f"transcribe:{file.id}",
            presentation={"format": "txt", "title": title_of(file)},
        )

    async def _catch_up(self) -> None:
        async with self._catching_up:
            cursors = await self._services.instance.cursors()
            for guild in self._bot.guilds:
                channels: list[Readable] = [
                    *guild.text_channels,
                    *guild.voice_channels,
                    *guild.stage_channels,
                    *guild.threads,
                ]
                for channel in channels:
                    if self._is_automatic(guild.id, channel):
                        await self._catch_up_channel(channel, cursors.get(channel.id, 0))
            self._behind = False

    async def _catch_up_channel(self, channel: Readable, cursor: int) -> None:
        switched_on = await self._services.server_settings.changed_at(
            "transcription.automatic", channel.guild.id, settings_channel(channel)
        )
        since = max(switched_on or 0.0, discord.utils.utcnow().timestamp() - _CATCH_UP_S)
        after = max(cursor, discord.utils.time_snowflake(datetime.fromtimestamp(since, UTC)))
        try:
            missed = [
                message
                async for message in channel.history(
                    limit=_CATCH_UP_MESSAGES, after=discord.Object(after), oldest_first=False
                )
            ]
        except discord.HTTPException as error:
            _log.warning("channel %d cannot be caught up: %s", channel.id, error)
            return
        for message in reversed(missed):
            await self._wait_for_room(message)
            await self._write_down(message)
        if missed:
            await self._move_cursor(channel.guild.id, channel.id, missed[0].id)

    async def _wait_for_room(self, message: discord.Message) -> None:
        """Wait while a member has as many jobs as one may: what was missed is not refused."""
        requester = Requester(message.author.id, message.guild.id if message.guild else 0, 0)
        while recordings(message):
            try:
                self._services.admission.check_limit(requester, settings_channel(message.channel))
            except LimitReached:
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def _move_cursor(self, guild_id: int, channel_id: int, message_id: int) -> None:
        await self._services.instance.move_cursor(
            guild_id=guild_id, channel_id=channel_id, message_id=message_id
        )

    def _is_automatic(self, guild_id: int, channel: object) -> bool:
        place = guild_id, settings_channel(channel)
        settings = self._services.server_settings
        return bool(
            settings.get("transcription.automatic", *place)
            and settings.get("transcription.enabled", *place)
        )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Recordings(bot))
