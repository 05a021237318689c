"""Whether a message talks to the bot, and in which conversation.

This module owns that question for everybody who listens to messages, so that a voice message is
either a prompt or a recording to write down, and never both.
"""

from __future__ import annotations

import re

import discord

from bot.delivery.descriptions import is_description
from bot.delivery.intake import settings_channel
from bot.services.memory import Memory
from bot.services.server_settings import ServerSettings
from bot.services.texts import is_blank
from bot.views.ids import AGAIN_TEMPLATE, PICTURE_TEMPLATE


def from_person(message: discord.Message) -> bool:
    """Return whether a person wrote a message: not this bot, another bot, a webhook or Discord."""
    return not (message.author.bot or message.webhook_id is not None or message.is_system())


def replied_to(message: discord.Message) -> discord.Message | None:
    """Return the message that is replied to, None when there is none or it is gone."""
    resolved = message.reference.resolved if message.reference else None
    return resolved if isinstance(resolved, discord.Message) else None


def asked_about(message: discord.Message, me: discord.ClientUser) -> str:
    """Return the recipe of the description that a message asks more about, "" if it does not.

    A description without a button for it counts as well: its model can say why it has none.
    """
    earlier = replied_to(message)
    if earlier is None or earlier.author.id != me.id or is_blank(message.content):
        return ""
    for row in earlier.components:
        for item in row.children if isinstance(row, discord.ActionRow) else ():
            custom_id = getattr(item, "custom_id", None) or ""
            match = re.fullmatch(PICTURE_TEMPLATE, custom_id)
            if match and match["action"] == "ask":
                return match["recipe"]
            match = re.fullmatch(AGAIN_TEMPLATE, custom_id)
            if match and is_description(earlier.content):
                return match["recipe"]
    return ""


def spoken_to(message: discord.Message, me: discord.ClientUser | None) -> str:
    """Return what a message says, with names for ids and without the call for the bot."""
    names = {f"<@{user.id}>": f"@{user.display_name}" for user in message.mentions}
    names |= {f"<@&{role.id}>": f"@{role.name}" for role in message.role_mentions}
    if me is not None:
        names[f"<@{me.id}>"] = ""
    if message.guild is not None and message.guild.self_role is not None:
        names[f"<@&{message.guild.self_role.id}>"] = ""
    text = message.content.replace("<@!", "<@")
    for code, name in names.items():
        text = text.replace(code, name)
    return text


class Addressing:
    """Tells which messages are meant for the bot."""

    def __init__(self, memory: Memory, server_settings: ServerSettings) -> None:
        self._memory = memory
        self._settings = server_settings
        self._own_threads: dict[int, bool] = {}

    async def conversation_of(self, message: discord.Message, me: discord.ClientUser) -> int | None:
        """Return the conversation that a message goes on with or begins.

        Meant for the bot are direct messages, mentions, replies to it, and everything in a thread
        that it was mentioned in or that began with one of its messages. Replies to what it said
        about a picture are questions about that picture instead.

        Args:
            message: Written by a person.
            me: The bot.

        Returns:
            Its id; None when the message is not meant for the bot, or chat is switched off there.
        """
        if asked_about(message, me) or not self._is_on(message):
            return None
        if message.guild is None:
            return message.channel.id
        earlier = replied_to(message)
        replies = earlier is not None and earlier.author.id == me.id
        if isinstance(message.channel, discord.Thread):
            return await self._in_thread(
                message.channel, me, called=replies or _mentions(message, me)
            )
        if earlier is not None and replies:
            return await self._memory.conversation_of(earlier.id) or message.id
        return message.id if _mentions(message, me) else None

    def _is_on(self, message: discord.Message) -> bool:
        place = message.guild.id if message.guild else 0, settings_channel(message.channel)
        return bool(
            self._settings.get("text.chat", *place) and self._settings.get("text.enabled", *place)
        )

    async def _in_thread(
        self, thread: discord.Thread, me: discord.ClientUser, *, called: bool
    ) -> int | None:
        # A thread has the id of the message that it hangs on: it goes on with what was said there.
        earlier = await self._memory.conversation_of(thread.id)
        if earlier is not None:
            return earlier
        if called or await self._memory.knows(thread.id) or await self._is_own(thread, me):
            return thread.id
        return None

    async def _is_own(self, thread: discord.Thread, me: discord.ClientUser) -> bool:
        if thread.id not in self._own_threads:
            self._own_threads[thread.id] = thread.owner_id == me.id or await _hangs_on(thread, me)
        return self._own_threads[thread.id]


def _mentions(message: discord.Message, me: discord.ClientUser) -> bool:
    own_role = message.guild.self_role if message.guild else None
    return any(user.id == me.id for user in message.mentions) or own_role in message.role_mentions


async def _hangs_on(thread: discord.Thread, me: discord.ClientUser) -> bool:
    starter = thread.starter_message
    if starter is None and isinstance(thread.parent, discord.TextChannel):
        try:
            starter = await thread.parent.fetch_message(thread.id)
        except discord.HTTPException:  # it began without a message, or may not be read
            return False
    return starter is not None and starter.author.id == me.id
