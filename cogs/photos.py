"""Channels where every picture is described unasked.

This cog owns which dropped pictures become jobs. Where the text in a picture can be read as well
as the picture described, the text is read first: a picture that is mostly text is answered with it,
any other with a caption. When messages are looked at is ``bot.services.dropped``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import discord
from discord.ext import commands

from bot.delivery.descriptions import CAPTION, is_mostly_text
from bot.delivery.intake import settings_channel
from bot.engine.job import Anchor, Outcome
from bot.services.addressing import Addressing
from bot.services.dropped import Taker
from bot.services.next_steps import NEXT, Step
from bot.services.pictures import (
    MOST_PICTURES,
    POINTERS,
    looking_at,
    pictures,
    pointed_at,
    pointers,
    shows_something,
)
from bot.tree import sentence_for
from models.catalog import ModelSpec
from models.contracts import Modality, VisionRequest, VisionResult
from models.errors import HandlerError

if TYPE_CHECKING:
    from bot.client import Sextant

_log = logging.getLogger(__name__)

_TELLER = "teller"
"""Key of a job's presentation: the model that writes a caption unless there is much text."""


class Photos(commands.Cog):
    """Describes what is dropped into a channel."""

    def __init__(self, bot: Sextant) -> None:
        self._bot = bot
        self._services = bot.services
        self._addressing = Addressing(bot.services.memory, bot.services.server_settings)

    async def cog_load(self) -> None:
        """Take pictures, and have those without much text described once they have been read."""
        self._services.dropped.add(Taker(Modality.VISION, pictures, self._describe))
        self._services.next_steps.on(CAPTION, _if_little_text, self._caption)

    async def _describe(self, message: discord.Message) -> None:
        """Submit the pictures of a message, as one job."""
        me, files = self._bot.user, pictures(message)[:MOST_PICTURES]
        if me is None or (
            shows_something(self._services, message)
            and await self._addressing.conversation_of(message, me)
        ):
            return  # a question, which is answered as one
        try:
            reader, teller = self._models(message)
        except HandlerError as error:  # nobody asked for it, so nobody is told
            _log.warning("channel %d: %s", message.channel.id, error.user_message)
            return
        reads_first = bool(reader and teller and len(files) == 1)
        first = reader if reads_first or teller is None else teller
        if first is None:
            return
        task: Literal["ocr", "caption"] = "ocr" if first is reader else "caption"

        async def build() -> VisionRequest:
            return await looking_at(self._services, files, task=task)

        presentation: dict[str, object] = {POINTERS: pointers(message, files)}
        if reads_first and teller is not None:
            presentation |= {NEXT: CAPTION, _TELLER: teller.id}
        await self._services.intake.from_message(
            message, build, model=first, purpose="picture", presentation=presentation
        )

    async def _caption(self, step: Step) -> None:
        """Answer a picture without much text with a caption, in the same message."""
        read = step.submission
        kept = read.presentation.get(POINTERS)

        async def build() -> VisionRequest:
            files = await pointed_at(self._bot, kept)
            return await looking_at(self._services, files, task="caption")

        presentation = {
            key: value for key, value in read.presentation.items() if key not in (NEXT, _TELLER)
        }
        try:
            model = self._services.catalog.get(str(read.presentation.get(_TELLER)))
            await self._services.intake.after(read, build, model=model, presentation=presentation)
        except Exception as error:  # noqa: BLE001 - nobody above would tell
            await self._tell_why(read.anchor, sentence_for(error, where="caption"))

    async def _tell_why(self, anchor: Anchor, sentence: str) -> None:
        channel = self._bot.get_partial_messageable(anchor.channel_id)
        try:
            await channel.get_partial_message(anchor.message_id).edit(content=sentence, view=None)
        except discord.HTTPException as refused:
            _log.info("message %d has no caption: %s", anchor.source_message_id, refused)

    def _models(self, message: discord.Message) -> tuple[ModelSpec | None, ModelSpec | None]:
        """Return the model that reads text and the one that tells what a picture shows."""
        place = message.guild.id if message.guild else 0, settings_channel(message.channel)

        def able(task: str) -> ModelSpec | None:
            spec = self._services.admission.model_for(Modality.VISION, *place, able=task)
            return spec if task in spec.capabilities else None

        return able("ocr"), able("caption")


def _if_little_text(outcome: Outcome) -> str | None:
    result = outcome.result
    return "" if isinstance(result, VisionResult) and not is_mostly_text(result) else None


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Photos(bot))
