"""Conversations: by mention, by reply, in threads, in direct messages, and by voice.

This cog owns how a message becomes a turn and a request, and what happens when it is deleted.
Whether a message is meant for the bot at all is ``bot.services.addressing``. Edits are ignored: an
answer stands by what was asked.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from bot.delivery.intake import settings_channel
from bot.engine.job import Outcome
from bot.services.addressing import Addressing, from_person, replied_to, spoken_to
from bot.services.memory import CONVERSATION, QUESTION, Turn, estimated_tokens
from bot.services.next_steps import NEXT, Step
from bot.services.pictures import shows_something
from bot.services.recordings import recordings, title_of, to_be_written_down
from bot.services.texts import is_blank, is_text_file, joined, require_fit
from bot.tree import tell_author
from models.catalog import ModelSpec
from models.contracts import (
    ChatMessage,
    Modality,
    TextRequest,
    TranscriptionResult,
    make_request,
)
from models.errors import EmptyInput, HandlerError, JobCancelled

if TYPE_CHECKING:
    from bot.client import Sextant

_log = logging.getLogger(__name__)

_ANSWER = "answer"
"""Name of the step after a voice message was written down."""

_HEARD = "heard_for"
"""Key of a transcription's presentation: the conversation that the voice message belongs to."""

_MAX_NEW_TOKENS = 512
_QUOTED_CHARS = 1500


class Chat(commands.Cog):
    """Talks with members."""

    def __init__(self, bot: Sextant) -> None:
        self._bot = bot
        self._services = bot.services
        self._addressing = Addressing(bot.services.memory, bot.services.server_settings)

    async def cog_load(self) -> None:
        """Have voice messages answered once they have been written down."""
        self._services.next_steps.on(_ANSWER, _said_in, self._answer_said)

    # ------------------------------------------------------------------ messages

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Answer a message that is meant for the bot."""
        if not from_person(message) or self._bot.user is None:
            return
        conversation_id = await self._addressing.conversation_of(message, self._bot.user)
        if conversation_id is None:
            return
        if shows_something(self._services, message):
            return  # a question about a picture, which ``cogs.vision`` answers
        if message.flags.voice and recordings(message):
            await self._hear(message, conversation_id)
        else:
            await self._answer(message, conversation_id)

    @commands.Cog.listener()
    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """Forget a deleted message, and stop the job that answers it."""
        await self._forget({payload.message_id})

    @commands.Cog.listener()
    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """Forget deleted messages, and stop the jobs that answer them."""
        await self._forget(payload.message_ids)

    @commands.Cog.listener()
    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        """Forget what was said in a deleted thread."""
        await self._services.memory.forget_channel(payload.thread_id)

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """Forget what was said in a deleted channel."""
        await self._services.memory.forget_channel(channel.id)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Forget what was said in a server that the bot has left."""
        await self._services.memory.forget_guild(guild.id)

    async def _forget(self, message_ids: set[int]) -> None:
        conversations = await self._services.memory.forget_messages(message_ids)
        if conversations:
            await self._services.recipes.delete_conversations(conversations)
        for message_id in message_ids:
            await self._services.intake.source_deleted(message_id)
        for job in self._services.engine.jobs():
            if job.submission.anchor.message_id in message_ids:  # nobody could see the answer
                await self._services.engine.cancel(job.id)

    # ------------------------------------------------------------------ answers

    async def _answer(self, message: discord.Message, conversation_id: int, said: str = "") -> None:
        """Answer what a message says, or what was ``said`` in it."""
        me = self._bot.user
        place = _place(message)
        spec = self._services.admission.model_for(Modality.TEXT, *place)
        texts, others = _by_use([] if said else message.attachments)

        async def build() -> TextRequest:
            written = said or spoken_to(message, me)
            if is_blank(written) and not message.attachments:
                raise EmptyInput(
                    "Yes? Mention me together with a question, or reply to what I said."
                )
            files = [await self._services.attachments.read_text(file) for file in texts]
            if others and is_blank("".join((written, *files))):
                raise EmptyInput(
                    f"I can read text files and listen to voice messages, but not use {others}."
                )
            prompt = joined(written, *files)
            require_fit(prompt, spec)
            await self._services.memory.remember(_turn(message, conversation_id, prompt))
            return await self._request(message, conversation_id, spec)

        await self._services.intake.from_message(
            message,
            build,
            model=spec,
            purpose="chat",
            presentation={
                CONVERSATION: conversation_id,
                QUESTION: message.id,
                "notice": bool(self._services.server_settings.get("text.fact_notice", *place)),
                "notes": [f"I can't use {others}, so I left it out."] if others else [],
            },
        )

    async def _request(
        self, message: discord.Message, conversation_id: int, spec: ModelSpec
    ) -> TextRequest:
        settings, place = self._services.server_settings, _place(message)
        system = ChatMessage("system", str(settings.get("text.system_prompt", *place)))
        max_new_tokens = min(_MAX_NEW_TOKENS, spec.context_tokens // 2)
        room = spec.context_tokens - max_new_tokens - estimated_tokens(system.content)
        turns = await self._services.memory.conversation(conversation_id, room, until=message.id)
        if not turns:
            raise JobCancelled("Your message is gone, so I stopped.")
        quoted = _quoted(message)
        if len(turns) == 1 and quoted:
            prompt = f"You wrote earlier:\n“{quoted}”\n\n{turns[0].content}"
            turns = [ChatMessage("user", prompt)]
        return make_request(
            TextRequest,
            messages=(system, *turns),
            temperature=float(settings.get("text.temperature", *place)),
            max_new_tokens=max_new_tokens,
        )

    # ------------------------------------------------------------------ voice messages

    async def _hear(self, message: discord.Message, conversation_id: int) -> None:
        """Write a voice message down first; what was said is the prompt."""
        file = recordings(message)[0]
        spec = self._services.admission.model_for(Modality.TRANSCRIPTION, *_place(message))
        await self._services.intake.from_message(
            message,
            to_be_written_down(self._services, file),
            model=spec,
            purpose="hear",
            presentation={
                "format": "txt",
                "title": title_of(file),
                NEXT: _ANSWER,
                _HEARD: conversation_id,
            },
        )

    async def _answer_said(self, step: Step) -> None:
        conversation_id = step.submission.presentation.get(_HEARD)
        message = await self._source_of(step)
        if message is None or not isinstance(conversation_id, int):
            return
        try:
            await self._answer(message, conversation_id, step.text)
        except HandlerError as error:
            await tell_author(message, error, where="chat")

    async def _source_of(self, step: Step) -> discord.Message | None:
        """Return the voice message, in the channel that it stands in; None when it is gone."""
        anchor = step.submission.anchor
        try:
            channel = self._bot.get_channel(anchor.channel_id)
            channel = channel or await self._bot.fetch_channel(anchor.channel_id)
            if isinstance(channel, discord.abc.Messageable):
                return await channel.fetch_message(anchor.source_message_id)
        except discord.HTTPException as error:
            _log.info("voice message %d cannot be answered: %s", anchor.source_message_id, error)
        return None


def _said_in(outcome: Outcome) -> str | None:
    """Return what was said in a voice message, None when it was nothing."""
    result = outcome.result
    said = result.text if isinstance(result, TranscriptionResult) else ""
    return None if is_blank(said) else said


def _place(message: discord.Message) -> tuple[int, int]:
    return message.guild.id if message.guild else 0, settings_channel(message.channel)


def _quoted(message: discord.Message) -> str:
    """Return what is replied to, without the small print below an answer."""
    earlier = replied_to(message)
    lines = earlier.content.splitlines() if earlier else []
    return "\n".join(line for line in lines if not line.startswith("-# "))[:_QUOTED_CHARS].strip()


def _by_use(files: list[discord.Attachment]) -> tuple[list[discord.Attachment], str]:
    """Return the text files, and the names of those that are of no use to a text model."""
    texts = [file for file in files if is_text_file(file)]
    others = [f"“{file.filename[:60]}”" for file in files if file not in texts]
    return texts, " and ".join(others)


def _turn(message: discord.Message, conversation_id: int, content: str) -> Turn:
    return Turn(
        message_id=message.id,
        conversation_id=conversation_id,
        guild_id=message.guild.id if message.guild else 0,
        channel_id=message.channel.id,
        user_id=message.author.id,
        role="user",
        content=content,
        created_at=time.time(),
    )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Chat(bot))
