"""/video: short clips from words.

This cog owns what the command offers and how a wish becomes a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.intake import place_of
from bot.services.choices import choices, model_options
from bot.services.container import Services
from bot.services.given import given
from bot.services.house_rules import FIRST_FRAME
from bot.services.pictures import LIKENESS, starting_from
from bot.services.sizes import fitted, size_of
from bot.services.texts import is_blank
from models.catalog import ModelSpec
from models.contracts import Modality, VideoRequest, make_request
from models.errors import EmptyInput, UnsupportedOption

if TYPE_CHECKING:
    from bot.client import Sextant

_WIDTH_PX, _HEIGHT_PX = 832, 480
_SECONDS = 4.0


class Video(commands.Cog):
    """Makes clips."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    async def video(
        self,
        interaction: discord.Interaction,
        prompt: app_commands.Range[str, 1, 4000],
        negative_prompt: app_commands.Range[str, 1, 4000] = "",
        seconds: app_commands.Range[float, 0.5, 60.0] | None = None,
        size: app_commands.Range[str, 3, 12] | None = None,
        seed: app_commands.Range[int, 0, 2**32 - 1] | None = None,
        first_frame: discord.Attachment | None = None,
        url: app_commands.Range[str, 1, 2000] | None = None,
        model: str | None = None,
    ) -> None:
        """Have a short clip made from your words.

        Args:
            prompt: What happens in it.
            negative_prompt: What it does not show.
            seconds: How long it is; the model rounds to what it can make.
            size: Width x height in pixels, such as 832x480.
            seed: A number that makes the same words give the same clip again.
            first_frame: A picture that the clip begins with.
            url: A link to that picture, instead of the file.
            model: Which model films. /models tells more about each.
        """
        if is_blank(prompt):
            raise EmptyInput("Tell me what happens in the clip.")
        start = next(iter(given(self._services, interaction, url, first_frame)), None)
        spec = self._services.admission.model_for(
            Modality.VIDEO, *place_of(interaction), model, able=FIRST_FRAME if start else ""
        )
        if seed is not None and "seed" not in spec.capabilities:
            raise UnsupportedOption(f"{spec.name} can't repeat a clip: leave the seed out.")
        if start is not None and FIRST_FRAME not in spec.capabilities:
            raise UnsupportedOption(f"{spec.name} can't begin with a picture. Pick another model.")
        width, height = _size(spec, size, first_frame)
        request = make_request(
            VideoRequest,
            prompt=prompt,
            negative_prompt=negative_prompt,
            seconds=seconds or _usual_seconds(spec),
            width_px=width,
            height_px=height,
            seed=seed,
        )

        await self._services.intake.from_interaction(
            interaction,
            starting_from(self._services, request, start),
            model=spec,
            purpose="video",
            presentation={"quote": prompt, "notes": [LIKENESS] if start else []},
        )

    @video.autocomplete("model")
    async def _complete_model(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        return choices(model_options(self._services, Modality.VIDEO), current)


def _size(spec: ModelSpec, size: str | None, like: discord.Attachment | None) -> tuple[int, int]:
    """Return the size to wish for; where nothing is said, a first frame gives the shape."""
    if size:
        return size_of(size)
    if like is not None and like.width and like.height:
        return fitted(like.width, like.height, _WIDTH_PX * _HEIGHT_PX)
    side_px = int(spec.options.get("side_px", 0))
    return (side_px, side_px) if side_px else (_WIDTH_PX, _HEIGHT_PX)


def _usual_seconds(spec: ModelSpec) -> float:
    """Return the length to wish for where nothing is said: less where a model makes no more."""
    frames, fps = (float(spec.options.get(name, 0)) for name in ("max_frames", "fps"))
    return min(_SECONDS, frames / fps) if frames and fps else _SECONDS


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Video(bot.services))
