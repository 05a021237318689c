"""/imagine: pictures from words.

This cog owns what the command offers and how a wish becomes a request. What can be done with a
picture afterwards is ``bot.views.pictures``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.intake import place_of
from bot.services.choices import choices, model_options
from bot.services.container import Services
from bot.services.given import Given, given
from bot.services.pictures import LIKENESS, starting_from
from bot.services.sizes import fitted, size_for, size_of
from bot.services.styles import Style
from bot.services.texts import is_blank
from models.catalog import ModelSpec
from models.contracts import ImageRequest, Modality, make_request
from models.errors import EmptyInput, InvalidRequest, UnsupportedOption

if TYPE_CHECKING:
    from bot.client import Sextant

_SIDE_PX = 1024
_REFERENCE = "reference"
"""Capability of a model that may start from a picture."""


class Image(commands.Cog):
    """Makes pictures."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    async def imagine(
        self,
        interaction: discord.Interaction,
        prompt: app_commands.Range[str, 1, 4000],
        negative_prompt: app_commands.Range[str, 1, 4000] = "",
        style: str | None = None,
        aspect: Literal["1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16", "21:9"] | None = None,
        size: app_commands.Range[str, 3, 12] | None = None,
        count: app_commands.Range[int, 1, 4] = 1,
        steps: app_commands.Range[int, 1, 150] | None = None,
        guidance: app_commands.Range[float, 0.0, 30.0] | None = None,
        seed: app_commands.Range[int, 0, 2**32 - 1] | None = None,
        reference: discord.Attachment | None = None,
        url: app_commands.Range[str, 1, 2000] | None = None,
        strength: app_commands.Range[float, 0.05, 1.0] | None = None,
        model: str | None = None,
    ) -> None:
        """Have a picture made from your words.

        Args:
            prompt: What the picture shows.
            negative_prompt: What it does not show.
            style: A preset that is added to your words.
            aspect: The shape: width to height.
            size: Width x height in pixels, such as 768x512, instead of a shape.
            count: How many pictures, each with a seed of its own.
            steps: More steps take longer and give more detail, up to a point.
            guidance: How closely your words are followed; too much looks burnt.
            seed: A number that makes the same words give the same picture again.
            reference: A picture to start from.
            url: A link to that picture, instead of the file.
            strength: How far to leave the reference: 0.05 keeps it, 1 ignores it.
            model: Which model draws. /models tells more about each.
        """
        if is_blank(prompt):
            raise EmptyInput("Tell me what the picture should show.")
        start = next(iter(given(self._services, interaction, url, reference)), None)
        spec = self._services.admission.model_for(
            Modality.IMAGE, *place_of(interaction), model, able=_REFERENCE if start else ""
        )
        _require_supported(spec, seed=seed, reference=start, strength=strength)
        width, height = _size(spec, aspect, size, reference)
        words, unwanted = self._style(interaction, style).apply(prompt, negative_prompt)
        request = make_request(
            ImageRequest,
            prompt=words,
            negative_prompt=unwanted,
            width_px=width,
            height_px=height,
            count=count,
            num_inference_steps=steps,
            guidance_scale=guidance,
            seed=seed,
            **({"strength": strength} if strength else {}),
        )
        await self._services.intake.from_interaction(
            interaction,
            starting_from(self._services, request, start),
            model=spec,
            purpose="imagine",
            presentation={
                "quote": prompt,
                "negative": negative_prompt,
                "style": style,
                "notes": [LIKENESS] if start else [],
            },
        )

    @imagine.autocomplete("model")
    async def _complete_model(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        return choices(model_options(self._services, Modality.IMAGE), current)

    @imagine.autocomplete("style")
    async def _complete_style(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        styles = self._services.styles.of(interaction.guild_id or 0)
        return choices(((name, name) for name in styles), current)

    def _style(self, interaction: discord.Interaction, name: str | None) -> Style:
        if name is None:
            return Style("")
        return self._services.styles.get(interaction.guild_id or 0, name)


def _size(
    spec: ModelSpec, aspect: str | None, size: str | None, like: discord.Attachment | None
) -> tuple[int, int]:
    """Return the size to wish for; where nothing is said, a reference gives the shape."""
    if aspect and size:
        raise InvalidRequest("Give me a shape or a size, not both.")
    if size:
        return size_of(size)
    pixels = int(spec.options.get("side_px", _SIDE_PX)) ** 2
    if like is not None and not aspect and like.width and like.height:
        return fitted(like.width, like.height, pixels)
    return size_for(aspect or "1:1", pixels)


def _require_supported(
    spec: ModelSpec,
    *,
    seed: int | None,
    reference: Given | None,
    strength: float | None,
) -> None:
    """Refuse at once what the model can't do; what it merely ignores, the answer will say."""
    if seed is not None and "seed" not in spec.capabilities:
        raise UnsupportedOption(f"{spec.name} can't repeat a picture: leave the seed out.")
    if reference is not None and _REFERENCE not in spec.capabilities:
        raise UnsupportedOption(f"{spec.name} can't start from a picture. Pick another model.")
    if strength is not None and reference is None:
        raise InvalidRequest("The strength is about a reference picture: add one, or leave it out.")


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Image(bot.services))
