"""Which attachments are pictures, and where they can be fetched again.

This module owns the first guess, from what Discord says of a file (the bytes decide later, in
``bot.attachments``), and the pointers to pictures that are kept instead of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import discord

from bot.delivery.intake import RequestSource, settings_channel
from bot.services.container import Services
from bot.services.given import Given, fetch
from bot.services.recipes import kept_names
from models.contracts import (
    ImageRequest,
    MediaInput,
    Modality,
    Request,
    VideoRequest,
    VisionRequest,
    files_of,
    make_request,
    with_files,
)
from models.errors import InvalidMedia

POINTERS = "pictures"
"""Key of a job's presentation: where the pictures that its request reads can be fetched again."""

MOST_PICTURES = 10
"""How many pictures of a message are looked at."""

LIKENESS = (
    "If the reference shows a person: this is made by AI and no photo of them, and they should "
    "have agreed to it."
)

_ENDINGS = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tiff", ".webp")
_GONE = "The picture is not there any more, so this can't be done. Please send it again."


def pictures(message: discord.Message) -> list[discord.Attachment]:
    """Return the pictures among the files of a message."""
    return [file for file in message.attachments if _is_picture(file)]


def shows_something(services: Services, message: discord.Message) -> bool:
    """Return whether a message brings pictures along, and a model here can talk about them."""
    place = message.guild.id if message.guild else 0, settings_channel(message.channel)
    return bool(pictures(message)) and services.admission.is_able(
        Modality.VISION, *place, "question"
    )


def pointers(message: discord.Message, files: Sequence[discord.Attachment]) -> list[list[int]]:
    """Return where the files of a message can be fetched again."""
    return [[message.channel.id, message.id, file.id] for file in files]


async def pointed_at(client: discord.Client, kept: object) -> list[discord.Attachment]:
    """Return the attachments that pointers lead to, with addresses that work now.

    Raises:
        InvalidMedia: One of them is gone, or out of reach.
    """
    places: list[list[int]] = kept if isinstance(kept, list) else []
    files: dict[int, discord.Attachment] = {}
    for channel_id, message_id in dict.fromkeys((place[0], place[1]) for place in places):
        message = await message_at(client, channel_id, message_id)
        files |= {file.id: file for file in message.attachments}
    if not places or any(file_id not in files for *_, file_id in places):
        raise InvalidMedia(_GONE)
    return [files[file_id] for *_, file_id in places]


async def message_at(client: discord.Client, channel_id: int, message_id: int) -> discord.Message:
    """Return a message as it is now.

    Raises:
        InvalidMedia: It is gone, or out of reach.
    """
    try:
        return await client.get_partial_messageable(channel_id).fetch_message(message_id)
    except (discord.NotFound, discord.Forbidden) as error:
        raise InvalidMedia(_GONE) from error


async def fetched(services: Services, files: Sequence[Given]) -> list[MediaInput]:
    """Bring pictures into the spool; none of them stays there when one cannot be fetched."""
    media: list[MediaInput] = []
    try:
        for file in files:
            media.append(await fetch(services, file, {"image"}))
    except BaseException:
        services.spool.discard([one.path for one in media])
        raise
    return media


def starting_from(
    services: Services, request: ImageRequest | VideoRequest, start: Given | None
) -> RequestSource:
    """Return a request, or what makes it once the picture that it starts from was fetched."""
    if start is None:
        return request

    async def build() -> Request:
        [media] = await fetched(services, [start])
        if isinstance(request, ImageRequest):
            return replace(request, reference=media)
        return replace(request, first_frame=media)

    return build


async def looking_at(services: Services, files: Sequence[Given], **fields: Any) -> VisionRequest:
    """Return a request about pictures, which are brought into the spool."""
    return make_request(VisionRequest, images=tuple(await fetched(services, files)), **fields)


async def reading_again(
    services: Services,
    client: discord.Client,
    request: Request,
    presentation: Mapping[str, object],
    answer: discord.Message | None = None,
) -> Request:
    """Return a stored request with the files that it reads fetched again.

    Args:
        services: What the bot is made of.
        client: Finds messages.
        request: The request.
        presentation: How its answer was shown. It tells where its files can be fetched, or under
            which names they are kept.
        answer: What shows them otherwise. It may be one that only its member sees, and that
            nobody can fetch again.

    Raises:
        InvalidMedia: They are gone.
    """
    if not files_of(request):
        return request
    kept = presentation.get(POINTERS)
    if not kept and kept_names(presentation):
        return with_files(request, await services.recipes.bring_files(request, presentation))
    files = pictures(answer) if answer is not None and not kept else await pointed_at(client, kept)
    if len(files) != len(files_of(request)):
        raise InvalidMedia(_GONE)
    return with_files(request, await fetched(services, files))


def _is_picture(file: discord.Attachment) -> bool:
    if file.content_type:
        return file.content_type.startswith("image/") and "svg" not in file.content_type
    return file.filename.lower().endswith(_ENDINGS)
