"""Short answers to interactions, whatever state those are in.

This module owns how a sentence reaches the person who pressed or typed: at once, in the deferred
reply, behind an earlier answer, or in a direct message when the interaction has expired. It must
not be used for results: those go through the outbox.
"""

from __future__ import annotations

import logging
from typing import Any

import discord

_log = logging.getLogger(__name__)

CONTENT_LIMIT = 2000

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
            await _tell_directly(interaction, content)
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
            await _tell_directly(interaction, content)
        else:
            raise


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


async def _tell_directly(interaction: discord.Interaction[Any], content: str) -> None:
    try:
        await interaction.user.send(content)
    except discord.HTTPException:
        _log.info("nobody could be told: interaction %d expired", interaction.id)
