"""What will be drawn: a member's wishes, as far as the model can follow them.

This module owns the rounding of wishes, and the sentences about it. It is pure, and knows no
library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from models.contracts import ImageRequest, VideoRequest
from models.errors import UnsupportedOption
from models.image.options import DiffusionOptions
from models.options import PipelineOptions

_SMALLEST_SIDE_PX = 64
"""Below this a retry at half the size is no picture any more."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a loaded pipeline can do.

    Attributes:
        num_inference_steps, guidance_scale: The pipeline's own usual values.
        multiple_px: Both sides are multiples of this.
        takes_guidance: Whether ``guidance_scale`` changes anything.
        takes_negative: Whether a negative prompt does, given enough guidance.
        takes_reference: Whether it can start from a picture.
    """

    num_inference_steps: int
    guidance_scale: float
    multiple_px: int
    takes_guidance: bool
    takes_negative: bool
    takes_reference: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes that a model makes.

    Attributes:
        multiple_px: Both sides are multiples of this.
        min_pixels, max_pixels: Bounds of the area.
        max_ratio: The longer side divided by the shorter one, at most.
    """

    multiple_px: int
    min_pixels: int
    max_pixels: int
    max_ratio: float = 4.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the pipeline is called with. ``strength`` is None where there is no reference."""

    width_px: int
    height_px: int
    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str
    strength: float | None
    notices: tuple[str, ...] = ()

    def smaller(self, abilities: Abilities) -> Plan | None:
        """Return the same at half the size, None where that would be too small to show."""
        if min(self.width_px, self.height_px) < 2 * _SMALLEST_SIDE_PX:
            return None
        multiple = abilities.multiple_px
        width, height = (
            max(multiple, side // 2 // multiple * multiple)
            for side in (self.width_px, self.height_px)
        )
        if (width, height) == (self.width_px, self.height_px):
            return None
        return replace(self, width_px=width, height_px=height)


def plan_for(
    request: ImageRequest, abilities: Abilities, options: DiffusionOptions, name: str
) -> Plan:
    """Fit a request to a model.

    Args:
        request: The wishes.
        abilities: What the pipeline can do.
        options: What the catalogue says of the model.
        name: The model's name, for the notices.

    Raises:
        UnsupportedOption: There is a reference, and it cannot start from one.
    """
    if request.reference is not None and not abilities.takes_reference:
        raise UnsupportedOption(f"{name} can't start from a picture. Please choose another model.")
    plan = fit_plan(request, abilities, options, name)
    if request.reference is None:
        return plan
    # Fewer steps would leave none to draw.
    steps = max(plan.num_inference_steps, math.ceil(1 / request.strength))
    return replace(plan, num_inference_steps=steps, strength=request.strength)


def fit_plan(
    request: ImageRequest | VideoRequest, abilities: Abilities, options: PipelineOptions, name: str
) -> Plan:
    """Fit to a model what pictures and clips have in common; see ``plan_for``."""
    notices: list[str] = []
    bounds = Bounds(abilities.multiple_px, options.min_pixels, options.max_pixels)
    width, height = fit_size(request.width_px, request.height_px, bounds)
    if (width, height) != (request.width_px, request.height_px):
        notices.append(
            f"{name} does not make {request.width_px} × {request.height_px} pixels, "
            f"so this is {width} × {height}."
        )
    guidance = _guidance(request, abilities, options, name, notices)
    negative = request.negative_prompt.strip()
    if negative and not abilities.takes_negative:
        notices.append(f"{name} takes no negative prompt, so yours was not used.")
        negative = ""
    elif negative and guidance <= 1:
        notices.append("With a guidance of 1 or less a negative prompt has no effect.")
        negative = ""
    usual = options.num_inference_steps or abilities.num_inference_steps
    steps = request.num_inference_steps or usual
    return Plan(width, height, steps, guidance, negative, None, tuple(notices))


def _guidance(
    request: ImageRequest | VideoRequest,
    abilities: Abilities,
    options: PipelineOptions,
    name: str,
    notices: list[str],
) -> float:
    usual = options.guidance_scale
    usual = abilities.guidance_scale if usual is None else usual
    wished = request.guidance_scale
    if wished is None or wished == usual:
        return usual
    if not abilities.takes_guidance:
        notices.append(f"{name} was trained for a guidance of its own, so yours was not used.")
        return usual
    return wished


def fit_size(width_px: float, height_px: float, bounds: Bounds) -> tuple[int, int]:
    """Return the nearest size of about the same shape within bounds."""
    wide = width_px >= height_px
    longer, shorter = max(width_px, height_px), min(width_px, height_px)
    shorter = max(shorter, longer / bounds.max_ratio)
    area = longer * shorter
    scale = math.sqrt(min(max(area, bounds.min_pixels), bounds.max_pixels) / area)
    # From here on in steps of the model, a few of which the rounding may be off.
    step, ratio = bounds.multiple_px, bounds.max_ratio
    long = max(1, round(longer * scale / step))
    short = max(1, round(shorter * scale / step), math.ceil(long / ratio))
    while long * short * step**2 > bounds.max_pixels and long > 1:
        long, short = (long - 1, short) if long > short else (long, short - 1)
        long = min(long, math.floor(short * ratio))
    while long * short * step**2 < bounds.min_pixels:
        long, short = (long, short + 1) if short < long else (long + 1, short)
        short = max(short, math.ceil(long / ratio))
    return (long * step, short * step) if wide else (short * step, long * step)
