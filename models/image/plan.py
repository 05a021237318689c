"""What will be drawn: a member's wishes, as far as the model can follow them.

This module owns the rounding of wishes, and the sentences about it. It is pure, and knows no
library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from models.contracts import ImageRequest
from models.errors import UnsupportedOption
from models.image.options import DiffusionOptions

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
    notices: list[str] = []
    width, height = _fit_size(request, abilities, options)
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
    strength = None
    if request.reference is not None:
        strength = request.strength
        steps = max(steps, math.ceil(1 / strength))  # fewer would leave no step to draw
    return Plan(width, height, steps, guidance, negative, strength, tuple(notices))


def _guidance(
    request: ImageRequest,
    abilities: Abilities,
    options: DiffusionOptions,
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


def _fit_size(
    request: ImageRequest, abilities: Abilities, options: DiffusionOptions
) -> tuple[int, int]:
    """Return the nearest size of about the same shape that the model makes."""
    width, height = float(request.width_px), float(request.height_px)
    multiple = abilities.multiple_px
    shrink = min(1.0, math.sqrt(options.max_pixels / (width * height)))
    width, height = width * shrink, height * shrink
    grow = max(1.0, options.min_side_px / min(width, height))
    # A long strip cannot have both a side of the least length and a bounded area.
    grow = max(1.0, min(grow, math.sqrt(options.max_pixels / (width * height))))
    return _rounded(width * grow, height * grow, multiple, options.max_pixels)


def _rounded(width: float, height: float, multiple: int, max_pixels: int) -> tuple[int, int]:
    sides = [max(multiple, round(side / multiple) * multiple) for side in (width, height)]
    while sides[0] * sides[1] > max_pixels and max(sides) > multiple:
        longer = sides.index(max(sides))
        sides[longer] -= multiple
    return sides[0], sides[1]
