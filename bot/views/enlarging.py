"""The Upscale button: a model draws the larger picture where one is installed, else a resampler.

This module owns that choice, and the message that a resampled picture goes into: a resampler needs
no model, so that is no job. What models make is shown by ``bot.delivery.gallery``.
"""

from __future__ import annotations

import asyncio
import io

import discord

from bot.delivery.intake import place_of, requester_of
from bot.delivery.wording import subtext
from bot.engine.job import new_job_id
from bot.services.pictures import POINTERS, fetched, pointers
from bot.views.base import Press, services_of
from bot.views.ids import delete_id
from models.catalog import ModelSpec
from models.contracts import Modality, Request, UpscalingRequest, make_request
from models.errors import ModelUnavailable

_ALT_CHARS = 1024
_RESAMPLED = "Enlarged by a resampler, since no upscaling model is installed here."


async def upscale(interaction: Press, message: discord.Message, file: discord.Attachment) -> None:
    """Post a picture of a message at twice its size.

    Raises:
        ModelUnavailable: Making pictures larger is switched off here.
        LimitReached: The member, the channel or the server has as many jobs as it may.
    """
    admission, place = services_of(interaction).admission, place_of(interaction)
    admission.check(requester_of(interaction), Modality.UPSCALING)
    try:
        model = admission.model_for(Modality.UPSCALING, *place)
    except ModelUnavailable:
        await _resample(interaction, file)
    else:
        await _submit(interaction, message, file, model)


async def _submit(
    interaction: Press, message: discord.Message, file: discord.Attachment, model: ModelSpec
) -> None:
    services = services_of(interaction)

    async def build() -> Request:
        [media] = await fetched(services, [file])
        words = (file.description or "")[:_ALT_CHARS]
        return make_request(UpscalingRequest, picture=media, alt_text=words)

    await services.intake.from_interaction(
        interaction,
        build,
        model=model,
        purpose="upscale",
        presentation={POINTERS: pointers(message, [file])},
    )


async def _resample(interaction: Press, file: discord.Attachment) -> None:
    from models.upscaling.resampling import enlarge

    services, requester = services_of(interaction), requester_of(interaction)
    with services.admission.allowances.entering(requester):
        await interaction.response.defer(thinking=True)
        [media] = await fetched(services, [file])
        try:
            path = services.spool.path(media)
            made = await asyncio.to_thread(enlarge, path, interaction.filesize_limit)
        finally:
            await asyncio.to_thread(services.spool.discard, [media.path])
    ending = made.content_type.partition("/")[2]
    name = f"{file.filename.rpartition('.')[0] or 'picture'}-x2.{ending}"
    upload = discord.File(io.BytesIO(made.data), name, description=file.description)
    view = discord.ui.View(timeout=None)
    custom_id = delete_id(requester.user_id, new_job_id())  # of no job: this message alone goes
    view.add_item(discord.ui.Button(label="Delete", emoji="🗑️", custom_id=custom_id))
    view.stop()
    sizes = " → ".join(f"{width} × {height}" for width, height in (made.from_px, made.to_px))
    content = f"🔍 {sizes}\n{subtext(_RESAMPLED)}"
    await interaction.edit_original_response(content=content, attachments=[upload], view=view)
