"""Short answers to interactions and messages, whatever state those are in.

This module owns how a sentence reaches a person: at once, in the deferred reply, behind an earlier
answer, below a message, or in a direct message where nothing else is left. It must not be used
for results: those go through the outbox.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from functools import partial
from typing import Any

import aiohttp
import discord

_log = logging.getLogger(__name__)

CONTENT_LIMIT = 2000

_NONCE_LENGTH = 25
_PAUSES_S = (1.0, 3.0)

ALREADY_ACKNOWLEDGED = 40060
_UNKNOWN_INTERACTION = 10062
_UNKNOWN_WEBHOOK = 10015
_INVALID_TOKEN = 50027

_EXPIRED = frozenset({_UNKNOWN_INTERACTION, _UNKNOWN_WEBHOOK, _INVALID_TOKEN})


async def reply(
    interaction: discord.Interaction[Any], content: str, *, ephemeral: bool = True, **message: Any
) -> None:
    """Answer an interaction.

    Args:
        interaction: Fresh, deferred, answered or expired.
        content: What to say; what is longer than Discord takes ends in an ellipsis.
        ephemeral: Whether only the person sees it. A deferred reply stays what it was deferred as.
        **message: ``embed``, ``view`` or ``file`` for the message.

    Raises:
        discord.HTTPException: Discord refused, for another reason than that it was too late.
    """
    content = shorten(content)
    try:
        if interaction.is_expired():
            await send_directly(interaction.user, content)
        elif not interaction.response.is_done():
            await interaction.response.send_message(content, ephemeral=ephemeral, **message)
        elif interaction.response.type is discord.InteractionResponseType.deferred_channel_message:
            await _fill_deferred(interaction, content, message)
        else:
            await interaction.followup.send(content, ephemeral=ephemeral, **message)
    except discord.HTTPException as error:
        if error.code == ALREADY_ACKNOWLEDGED:
            await _fill_deferred(interaction, content, message)
        elif is_expired(error):
            await send_directly(interaction.user, content)
        else:
            raise


async def answer_message(message: discord.Message, content: str, key: str) -> discord.Message:
    """Reply to a message without pinging anybody.

    A call that Discord did not answer is repeated: the nonce keeps it from posting twice.

    Args:
        message: What is answered; if it is gone, the answer stands alone.
        content: What to say.
        key: Names the answer, so that a repeated call finds the one that is there.

    Raises:
        discord.HTTPException: Discord refused.
        aiohttp.ClientError: It cannot be reached.
    """
    post = partial(
        message.channel.send,
        shorten(content),
        reference=message.to_reference(fail_if_not_exists=False),
        mention_author=False,
        allowed_mentions=discord.AllowedMentions.none(),
        nonce=hashlib.sha256(key.encode()).hexdigest()[:_NONCE_LENGTH],
    )
    for pause_s in _PAUSES_S:
        try:
            return await post()
        except (discord.DiscordServerError, aiohttp.ClientError, TimeoutError) as error:
            _log.info("a reply is posted again in %.0f s: %s", pause_s, error)
            await asyncio.sleep(pause_s)
    return await post()


def is_expired(error: discord.HTTPException) -> bool:
    """Return whether Discord refused because the interaction's time is over."""
    return error.code in _EXPIRED


def shorten(content: str) -> str:
    """Return a text that fits into one message; a cut shows as an ellipsis."""
    return content if len(content) <= CONTENT_LIMIT else content[: CONTENT_LIMIT - 1] + "…"


async def _fill_deferred(
    interaction: discord.Interaction[Any], content: str, message: dict[str, Any]
) -> None:
    files = [message.pop("file")] if "file" in message else []
    await interaction.edit_original_response(content=content, attachments=files, **message)


async def send_directly(person: discord.User | discord.Member, content: str) -> None:
    """Send a direct message, if the person takes any."""
    try:
        await person.send(shorten(content))
    except discord.HTTPException:
        _log.info("user %d could not be told anything", person.id)
