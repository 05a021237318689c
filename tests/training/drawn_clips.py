"""What tests of clips share: drawn ones, and a judge who knows what is in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from training.clip_rules import Frames
from training.clip_scenes import clip_scene_of, frames_of
from training.judge import CELLS, Seen, Verdict
from training.scenes import SIDE_PX, Kind, Scene, Split, Weather

SCENES = [clip_scene_of(split, number) for split in Split for number in range(120)]


def frames(scene: Scene) -> Frames:
    return np.stack([np.asarray(drawing.image) for drawing in frames_of(scene)])


def first(**wished: Any) -> Scene:
    """Return the first scene with such things in it."""
    return next(s for s in SCENES if all(getattr(s, k) == v for k, v in wished.items()))


def one_of(kind: Kind, *, weather: Weather = Weather.CLEAR) -> Scene:
    return next(s for s in SCENES if s.things and s.things[0].kind is kind and s.weather is weather)


class AllSeeing:
    """A judge who knows where everything is."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.drawn = frames_of(scene)

    def look(self, images: list[Image.Image]) -> list[Verdict]:
        cell = SIDE_PX / CELLS
        verdicts = []
        for drawing in self.drawn[: len(images)]:
            seen = [
                Seen(thing.kind, thing.colour, (left + right) / 2 / cell, (top + low) / 2 / cell, 4)
                for thing, (left, top, right, low) in zip(
                    self.scene.things, drawing.boxes, strict=True
                )
            ]
            scene = self.scene
            verdicts.append(Verdict(tuple(seen), scene.time, scene.ground, scene.weather))
        return verdicts
