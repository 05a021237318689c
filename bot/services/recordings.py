"""Which attachments are recordings, what they are called, and how one becomes a request.

This module owns the first guess, from what Discord says of a file. The bytes decide later
(``bot.attachments``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import discord

from bot.services.container import Services
from bot.services.given import Given
from models.contracts import TranscriptionRequest, make_request

_ENDINGS = (
    ".aac", ".aif", ".aiff", ".amr", ".avi", ".flac", ".m4a", ".m4v", ".mka", ".mkv", ".mov",
    ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".opus", ".wav", ".weba", ".webm", ".wma",
)  # fmt: skip


def recordings(message: discord.Message) -> list[discord.Attachment]:
    """Return the sound and video files of a message, voice messages included."""
    return [file for file in message.attachments if _is_recording(file)]


def title_of(recording: Given) -> str:
    """Return what a recording is called in its transcript."""
    spoken = isinstance(recording, discord.Attachment) and recording.is_voice_message()
    return "Voice message" if spoken else recording.filename


def to_be_written_down(
    services: Services, file: discord.Attachment
) -> Callable[[], Awaitable[TranscriptionRequest]]:
    """Return what fetches a recording and asks for its words, with nothing special about it."""

    async def build() -> TranscriptionRequest:
        media = await services.attachments.fetch(file, kinds={"audio"})
        return make_request(TranscriptionRequest, media=media)

    return build


def _is_recording(file: discord.Attachment) -> bool:
    if file.content_type:
        return file.content_type.startswith(("audio/", "video/"))
    return file.filename.lower().endswith(_ENDINGS)
