"""What the bot asks Discord for: its intents, its permissions, the link that invites it.

This module owns those lists, for the client, for /about and for the doctor alike.
"""

from __future__ import annotations

import discord

PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,
    send_voice_messages=True,
)


def intents() -> discord.Intents:
    """Return servers, messages and their content: what the chat and dropped files need."""
    wanted = discord.Intents.none()
    wanted.guilds = True
    wanted.guild_messages = True
    wanted.dm_messages = True
    wanted.message_content = True
    return wanted


def invite_url(application_id: int) -> str:
    """Return the link with which a server's owner adds the bot."""
    return discord.utils.oauth_url(
        application_id, permissions=PERMISSIONS, scopes=("bot", "applications.commands")
    )
