"""What a member gives a command to work on: a file, or a link to one.

This module owns that it is one of the two, and whether links are open in a place. Fetching it is
``bot.attachments`` and ``bot.links``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import discord

from bot.delivery.intake import place_of
from bot.incoming import Wanted
from bot.links import Link
from bot.services.container import Services
from models.contracts import MediaInput
from models.errors import InvalidRequest, UnsupportedOption

Given = discord.Attachment | Link


def given(
    services: Services,
    interaction: discord.Interaction[Any],
    url: str | None,
    *files: discord.Attachment | None,
) -> list[Given]:
    """Return the files of a command, or its link; nothing where it has neither.

    Looks into memory alone.

    Raises:
        InvalidRequest: It has both.
        InvalidMedia: The link is none.
        UnsupportedOption: Links are not open here, or not this one.
    """
    sent: list[Given] = [file for file in files if file is not None]
    if url is None:
        return sent
    if sent:
        raise InvalidRequest("Give me a file or a link, not both.")
    if not services.server_settings.get("links.enabled", *place_of(interaction)):
        raise UnsupportedOption("Links are switched off here. Please upload the file instead.")
    return [services.links.read(url)]


async def fetch(services: Services, what: Given, kinds: Collection[Wanted]) -> MediaInput:
    """Bring a file, or what a link leads to, into the spool.

    Raises:
        HandlerError: See ``AttachmentService.fetch`` and ``LinkService.fetch``.
    """
    if isinstance(what, Link):
        return await services.links.fetch(what, kinds)
    return await services.attachments.fetch(what, kinds)
