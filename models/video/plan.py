"""What clip will be made: a member's wishes, as far as the model can follow them.

This module owns the rounding of lengths, and the sentences about it. It is pure, and knows no
library.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from models.contracts import VideoRequest
from models.errors import UnsupportedOption
from models.image.plan import Abilities, Plan, fit_plan
from models.video.options import ClipOptions

_SAID_FROM_S = 0.1
"""A difference in length that is worth a sentence."""


@dataclass(frozen=True, slots=True)
class ClipAbilities:
    """What a loaded pipeline can do.

    Attributes:
        still: What it can do with each frame.
        frame_step: A clip has a multiple of this many frames, and one more where it is above 1.
        most_frames: What it can remember at once; None where nothing tells.
        first_frame: Whether it takes a picture to begin with.
    """

    still: Abilities
    frame_step: int
    most_frames: int | None
    first_frame: Literal["no", "may", "must"]


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """What the pipeline is called with. ``still`` has what concerns each frame."""

    still: Plan
    frames: int
    fps: float
    notices: tuple[str, ...] = ()

    def smaller(self, abilities: ClipAbilities) -> ClipPlan | None:
        """Return the same at half the size, None where that would be too small to show."""
        still = self.still.smaller(abilities.still)
        return None if still is None else replace(self, still=still)


def clip_plan_for(
    request: VideoRequest, abilities: ClipAbilities, options: ClipOptions, name: str
) -> ClipPlan:
    """Fit a request to a model.

    Args:
        request: The wishes.
        abilities: What the pipeline can do.
        options: What the catalogue says of the model.
        name: The model's name, for the notices.

    Raises:
        UnsupportedOption: A first frame is given or missing against what it can do.
    """
    if request.first_frame is not None and abilities.first_frame == "no":
        raise UnsupportedOption(
            f"{name} can't begin with a picture. Please choose another model, or leave it out."
        )
    if request.first_frame is None and abilities.first_frame == "must":
        raise UnsupportedOption(f"{name} needs a picture to begin with. Please add a first frame.")
    still = fit_plan(request, abilities.still, options, name)
    frames = _frames(request.seconds, abilities, options)
    notices = still.notices
    length_s = frames / options.fps
    if abs(length_s - request.seconds) >= _SAID_FROM_S:
        notices += (length_notice(name, request.seconds, length_s),)
    return ClipPlan(still, frames, options.fps, notices)


def length_notice(name: str, wished_s: float, length_s: float) -> str:
    """Say that a clip is longer or shorter than wished."""
    return f"{name} does not make {wished_s:.3g} seconds, so this is {length_s:.3g} seconds long."


def _frames(seconds: float, abilities: ClipAbilities, options: ClipOptions) -> int:
    """Return the number of frames nearest to a length that the model can make."""
    step = abilities.frame_step
    extra = int(step > 1)
    most = min(options.max_frames, abilities.most_frames or options.max_frames)
    least = min(options.min_frames, most)
    wanted = min(max(seconds * options.fps, least), most)
    count = round((wanted - extra) / step) * step + extra
    while count > most:
        count -= step
    while count < least:
        count += step
    return max(1, count)
