"""Conversations: by mention, by reply, in threads, in direct messages, and by voice.

This cog owns how a message becomes a turn and a request, and what happens when it is deleted.
Whether a message is meant for the bot at all is ``bot.services.addressing``. Edits are ignored: an
answer stands by what was asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from bot.client import from_person
from bot.delivery.intake import settings_channel
from bot.engine.job import Job, Outcome
from bot.services.addressing import Addressing, replied_to
from bot.services.memory import CONVERSATION, QUESTION, Turn, estimated_tokens
from bot.services.recordings import recordings, title_of
from bot.services.texts import is_blank, is_text_file, joined, require_fit
from bot.tree import tell_author
from models.catalog import ModelSpec
from models.contracts import (
    ChatMessage,
    Modality,
    TextRequest,
    TranscriptionRequest,
    TranscriptionResult,
    make_request,
)
from models.errors import EmptyInput, HandlerError, JobCancelled

if TYPE_CHECKING:
    from bot.client import Sextant

_log = logging.getLogger(__name__)

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
        self._tasks: set[asyncio.Task[None]] = set()

    async def cog_load(self) -> None:
        """Listen for voice messages that have been written down, also after a restart."""
        self._services.engine.observe(self._on_finished)

    async def cog_unload(self) -> None:
        """Stop what is under way."""
        for task in self._tasks:
            task.cancel()

    # ------------------------------------------------------------------ messages

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Answer a message that is meant for the bot."""
        if not from_person(message) or self._bot.user is None:
            return
        conversation_id = await self._addressing.conversation_of(message, self._bot.user)
        if conversation_id is None:
            return
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
        place = _place(message)
        spec = self._services.admission.model_for(Modality.TEXT, *place)
        texts, others = _by_use([] if said else message.attachments)

        async def build() -> TextRequest:
            written = said or self._written(message)
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

    def _written(self, message: discord.Message) -> str:
        """Return what a message says, with names for ids and without the call for the bot."""
        guild, me = message.guild, self._bot.user
        names = {f"<@{user.id}>": f"@{user.display_name}" for user in message.mentions}
        names |= {f"<@&{role.id}>": f"@{role.name}" for role in message.role_mentions}
        if me is not None:
            names[f"<@{me.id}>"] = ""
        if guild is not None and guild.self_role is not None:
            names[f"<@&{guild.self_role.id}>"] = ""
        text = message.content.replace("<@!", "<@")
        for code, name in names.items():
            text = text.replace(code, name)
        if is_blank(text) and not message.attachments:
            raise EmptyInput("Yes? Mention me together with a question, or reply to what I said.")
        return text

    # ------------------------------------------------------------------ voice messages

    async def _hear(self, message: discord.Message, conversation_id: int) -> None:
        """Write a voice message down first; what was said is the prompt."""
        file = recordings(message)[0]
        spec = self._services.admission.model_for(Modality.TRANSCRIPTION, *_place(message))

        async def build() -> TranscriptionRequest:
            media = await self._services.attachments.fetch(file, kinds={"audio"})
            return make_request(TranscriptionRequest, media=media)

        await self._services.intake.from_message(
            message,
            build,
            model=spec,
            purpose="hear",
            presentation={"format": "txt", "title": title_of(file), _HEARD: conversation_id},
        )

    async def _on_finished(self, job: Job, outcome: Outcome) -> None:
        conversation_id, result = job.submission.presentation.get(_HEARD), outcome.result
        if not isinstance(conversation_id, int) or not isinstance(result, TranscriptionResult):
            return
        if not is_blank(result.text):
            task = asyncio.create_task(self._answer_said(job, conversation_id, result.text))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer_said(self, job: Job, conversation_id: int, said: str) -> None:
        anchor, requester = job.submission.anchor, job.submission.requester
        channel = self._bot.get_partial_messageable(
            anchor.channel_id, guild_id=requester.guild_id or None
        )
        try:
            message = await channel.fetch_message(anchor.source_message_id)
        except discord.HTTPException as error:
            _log.info("voice message %d cannot be answered: %s", anchor.source_message_id, error)
            return
        try:
            await self._answer(message, conversation_id, said)
        except HandlerError as error:
            await tell_author(message, error, where="chat")


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
