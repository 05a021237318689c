"""Which attachments are recordings, and what they are called.

This module owns the first guess, from what Discord says of a file. The bytes decide later
(``bot.attachments``).
"""

from __future__ import annotations

import discord

_ENDINGS = (
    ".aac", ".aif", ".aiff", ".amr", ".avi", ".flac", ".m4a", ".m4v", ".mka", ".mkv", ".mov",
    ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".opus", ".wav", ".weba", ".webm", ".wma",
)  # fmt: skip


def recordings(message: discord.Message) -> list[discord.Attachment]:
    """Return the sound and video files of a message, voice messages included."""
    return [file for file in message.attachments if _is_recording(file)]


def title_of(file: discord.Attachment) -> str:
    """Return what a recording is called in its transcript."""
    return "Voice message" if file.is_voice_message() else file.filename


def _is_recording(file: discord.Attachment) -> bool:
    if file.content_type:
        return file.content_type.startswith(("audio/", "video/"))
    return file.filename.lower().endswith(_ENDINGS)
