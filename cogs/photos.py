"""Channels where every picture is described unasked.

This cog owns which dropped pictures become jobs. Where the text in a picture can be read as well
as the picture described, the text is read first: a picture that is mostly text is answered with it,
any other with a caption.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from bot.client import from_person
from bot.delivery.descriptions import is_mostly_text
from bot.delivery.intake import settings_channel
from bot.engine.job import Job, Outcome
from bot.services.addressing import Addressing
from bot.services.pictures import (
    POINTERS,
    fetched,
    pictures,
    pointed_at,
    pointers,
    shows_something,
)
from bot.tree import sentence_for
from models.catalog import ModelSpec
from models.contracts import Modality, Request, VisionRequest, VisionResult, make_request
from models.errors import HandlerError

if TYPE_CHECKING:
    from bot.client import Sextant

_log = logging.getLogger(__name__)

_IF_TEXT = "if_text"
"""Key of a job's presentation: the model that writes a caption unless there is much text."""

_MOST_PICTURES = 10


class Photos(commands.Cog):
    """Describes what is dropped into a channel."""

    def __init__(self, bot: Sextant) -> None:
        self._bot = bot
        self._services = bot.services
        self._addressing = Addressing(bot.services.memory, bot.services.server_settings)
        self._tasks: set[asyncio.Task[None]] = set()

    async def cog_load(self) -> None:
        """Listen for pictures whose text has been read, also after a restart."""
        self._services.engine.observe(self._on_finished)

    async def cog_unload(self) -> None:
        """Stop what is under way."""
        for task in self._tasks:
            task.cancel()

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Describe the pictures of a new message, where that is switched on."""
        guild = message.guild
        if guild is None or not from_person(message):
            return
        place = guild.id, settings_channel(message.channel)
        files = pictures(message)[:_MOST_PICTURES]
        me = self._bot.user
        if me is None or not files or not self._is_automatic(*place):
            return
        if shows_something(self._services, message) and await self._addressing.conversation_of(
            message, me
        ):
            return  # a question, which is answered as one
        try:
            reader, teller = self._models(*place)
        except HandlerError as error:  # nobody asked for it, so nobody is told
            _log.warning("channel %d: %s", message.channel.id, error.user_message)
            return
        if_text = teller.id if reader and teller and len(files) == 1 else ""
        first = reader if if_text or teller is None else teller
        if first is None:
            return
        task = "ocr" if first is reader else "caption"

        async def build() -> Request:
            media = await fetched(self._services, files)
            return make_request(VisionRequest, images=tuple(media), task=task)

        await self._services.intake.from_message(
            message,
            build,
            model=first,
            purpose="picture",
            presentation={
                POINTERS: pointers(message, files),
                _IF_TEXT: if_text,
            },
        )

    async def _on_finished(self, job: Job, outcome: Outcome) -> None:
        result, teller = outcome.result, job.submission.presentation.get(_IF_TEXT)
        if teller and isinstance(result, VisionResult) and not is_mostly_text(result):
            task = asyncio.create_task(self._tell(job, str(teller)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, job: Job, teller: str) -> None:
        """Answer a picture without much text with a caption, in the same message."""
        presentation = {**job.submission.presentation, _IF_TEXT: ""}

        async def build() -> Request:
            files = await pointed_at(self._bot, presentation.get(POINTERS))
            media = await fetched(self._services, files)
            return make_request(VisionRequest, images=tuple(media), task="caption")

        try:
            model = self._services.catalog.get(teller)
            await self._services.intake.after(job, build, model=model, presentation=presentation)
        except Exception as error:  # noqa: BLE001 - a task has nobody above it who would tell
            await self._tell_why(job, sentence_for(error, where="caption"))

    async def _tell_why(self, job: Job, sentence: str) -> None:
        anchor = job.submission.anchor
        channel = self._bot.get_partial_messageable(anchor.channel_id)
        try:
            await channel.get_partial_message(anchor.message_id).edit(content=sentence, view=None)
        except discord.HTTPException as refused:
            _log.info("job %s could not be gone on with: %s", job.id, refused)

    def _models(self, guild_id: int, channel_id: int) -> tuple[ModelSpec | None, ModelSpec | None]:
        """Return the model that reads text and the one that tells what a picture shows."""

        def able(task: str) -> ModelSpec | None:
            spec = self._services.admission.model_for(
                Modality.VISION, guild_id, channel_id, able=task
            )
            return spec if task in spec.capabilities else None

        return able("ocr"), able("caption")

    def _is_automatic(self, guild_id: int, channel_id: int) -> bool:
        settings = self._services.server_settings
        return bool(
            settings.get("vision.automatic", guild_id, channel_id)
            and settings.get("vision.enabled", guild_id, channel_id)
        )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Photos(bot))
