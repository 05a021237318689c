"""Draws scenes: pictures and the masks of their things.

This module owns the order of drawing and the reduction to the size of a scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.backgrounds import draw_background, draw_weather
from training.motion import moved
from training.scenes import SIDE_PX, Scene
from training.things import DRAWN, Pen

_SCALE = 4
"""Drawn larger and reduced, so that edges are smooth."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn scene.

    Attributes:
        image: RGB, ``SIDE_PX`` on both sides.
        masks: One for each thing, in their order: 255 where it is seen.
    """

    image: Image.Image
    masks: tuple[Image.Image, ...]

    @property
    def boxes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Left, upper, right and lower edge of each thing."""
        return tuple(
            mask.point(lambda v: 255 * (v > 127)).getbbox() or (0, 0, 0, 0) for mask in self.masks
        )

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """Where any thing is seen: height × width."""
        whole = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        for mask in self.masks:
            whole = np.maximum(whole, np.asarray(mask))
        return whole


def draw(scene: Scene, moment: float = 0.0, behind: float | None = None) -> Drawing:
    """Draw a scene at a moment between 0 and 1; at 0 it is at rest.

    Args:
        scene: What to draw.
        moment: When.
        behind: When, for what lies behind the things; left out, at the same moment.
    """
    size = (SIDE_PX * _SCALE, SIDE_PX * _SCALE)
    image = Image.new("RGB", size)
    draw_background(image, scene, _SCALE, moment if behind is None else behind)
    masks = []
    for thing in sorted(scene.things, key=lambda thing: thing.y):
        mask = Image.new("L", size)
        DRAWN[thing.kind](Pen(image, mask, moved(thing, moment), _SCALE))
        masks.append((scene.things.index(thing), mask.reduce(_SCALE)))
    image = draw_weather(image, scene, _SCALE, moment).reduce(_SCALE)
    return Drawing(image, tuple(mask for _, mask in sorted(masks, key=lambda pair: pair[0])))
