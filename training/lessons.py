"""Lessons of the captioner: pictures with all that is true of them.

This module owns what is drawn for a step of training, and how pictures are worn. It trains nothing.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from training.caption_model import CELLS, PICTURE_PX, UNKNOWN, new_tokenizer
from training.captions import full_caption
from training.drawing import Drawing, draw
from training.scenes import (
    SIDE_PX,
    SIZES_PX,
    Colour,
    Ground,
    Kind,
    Relation,
    Scene,
    Size,
    Split,
    Thing,
    Time,
    Weather,
    scene_of,
)
from training.unknown import unknown_picture

if TYPE_CHECKING:
    import numpy as np
    import torch

KINDS, COLOURS = tuple(Kind), tuple(Colour)
TIMES, GROUNDS, WEATHERS = tuple(Time), tuple(Ground), tuple(Weather)
EXTRAS = ("sun", "moon", "stars", "mountains")
NONE = -100
"""Stands for what has no truth, such as the colour of a patch without a thing."""

_SEEN = 0.3
_CROWD_X, _CROWD_Y = (11, 32, 53), (26, 56)
_TURNED = {Relation.LEFT: Relation.RIGHT, Relation.RIGHT: Relation.LEFT}


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pictures, and what is true of them. The last ones are crowded, and have no caption.

    Attributes:
        pixels: n × 3 × 128 × 128, between -1 and 1.
        words, attention: Tokens of the captions, of as many pictures as have one.
        kinds, colours: By patch, n × patches; the last kind is none, and then no colour counts.
        known: 1 for a scene, 0 for any other picture, of as many as have a caption.
        surroundings: Time, ground and weather, n × 3; ``NONE`` where there are none.
        extras: Sun, moon, stars and mountains, n × 4, 0 or 1.
    """

    pixels: torch.Tensor
    words: torch.Tensor
    attention: torch.Tensor
    kinds: torch.Tensor
    colours: torch.Tensor
    known: torch.Tensor
    surroundings: torch.Tensor
    extras: torch.Tensor


@dataclass(frozen=True, slots=True)
class Mixture:
    """How many pictures of each kind a lesson holds.

    Attributes:
        scenes: With captions.
        strange: Pictures that are no scenes.
        crowded: Scenes full of things, so that more is learnt from each picture.
    """

    scenes: int
    strange: int
    crowded: int = 0


def lesson(split: Split, chance: random.Random, mixture: Mixture) -> Lesson:
    """Draw scenes, and pictures that are none, and say what is true of them."""
    import numpy as np
    import torch

    scenes: list[Scene | None] = []
    for number in range(mixture.scenes + mixture.crowded):
        scene = scene_of(split, chance.randrange(10**9))
        scenes.append(scene if number < mixture.scenes else _crowded(scene, chance))
    scenes[mixture.scenes : mixture.scenes] = [None] * mixture.strange
    pictures = []
    kinds = np.full((len(scenes), CELLS, CELLS), len(KINDS))
    colours = np.full((len(scenes), CELLS, CELLS), NONE)
    for number, shown in enumerate(scenes):
        if shown is None:
            pictures.append(unknown_picture(split, chance.randrange(10**9)))
            continue
        drawing = draw(shown)
        pictures.append(drawing.image)
        _name_cells(shown, drawing, kinds[number], colours[number])
        if chance.random() < 0.5:
            pictures[number] = ImageOps.mirror(drawing.image)
            scenes[number] = _mirrored(shown)
            kinds[number], colours[number] = kinds[number, :, ::-1], colours[number, :, ::-1]
    captioned = scenes[: mixture.scenes + mixture.strange]
    words, attention = _tokens([full_caption(scene) if scene else UNKNOWN for scene in captioned])
    return Lesson(
        pixels=worn(pictures, chance),
        words=words,
        attention=attention,
        kinds=torch.from_numpy(kinds).flatten(1),
        colours=torch.from_numpy(colours).flatten(1),
        known=torch.tensor([float(scene is not None) for scene in captioned]),
        surroundings=torch.tensor([_surroundings(scene) for scene in scenes]),
        extras=torch.tensor([_extras(scene) for scene in scenes]),
    )


def worn(pictures: list[Image.Image], chance: random.Random) -> torch.Tensor:
    """Return pixels with faults: saved as JPEG, blurred, grainy, a little off in colour.

    Pictures that a model drew, or that were enlarged and sent on, have such faults.
    """
    import numpy as np
    import torch
    from torch.nn.functional import interpolate

    saved = [_saved(picture, chance) if chance.random() < 0.2 else picture for picture in pictures]
    size = (PICTURE_PX, PICTURE_PX)
    larger = [picture.resize(size, Image.Resampling.BICUBIC) for picture in saved]
    batch = torch.from_numpy(np.stack([np.asarray(picture) for picture in larger]))
    batch = batch.permute(0, 3, 1, 2).float() / 127.5 - 1
    for number in range(len(batch)):
        if chance.random() < 0.4:
            share = chance.uniform(0.22, 0.6)
            small = interpolate(batch[number : number + 1], scale_factor=share, mode="area")
            batch[number] = interpolate(small, size=size, mode="bilinear")[0]
    each = (len(batch), 1, 1, 1)
    grain = torch.rand(each).pow(2) * 0.12
    tint = 0.05 * torch.randn(len(batch), 3, 1, 1)
    contrast = 1 + 0.08 * torch.randn(each)
    noise = interpolate(torch.randn(len(batch), 3, SIDE_PX, SIDE_PX), size=size)
    batch = (batch * contrast + tint + grain * noise).clamp(-1, 1)
    return batch.contiguous(memory_format=torch.channels_last)


def _saved(picture: Image.Image, chance: random.Random) -> Image.Image:
    side = chance.choice((SIDE_PX, PICTURE_PX))
    file = io.BytesIO()
    larger = picture.resize((side, side), Image.Resampling.LANCZOS)
    larger.save(file, "JPEG", quality=chance.randint(40, 95))
    return Image.open(file).resize(picture.size, Image.Resampling.BICUBIC)


def _tokens(sentences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    tokenizer = new_tokenizer()
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    batch["input_ids"][:, 0] = tokenizer.bos_token_id
    return batch["input_ids"], batch["attention_mask"]


def _crowded(scene: Scene, chance: random.Random) -> Scene:
    """Return a scene with six things in it."""
    things = []
    for x in _CROWD_X:
        for y in _CROWD_Y:
            size = chance.choice((Size.SMALL, Size.MIDDLE))
            things.append(
                Thing(
                    kind=chance.choice(KINDS),
                    colour=chance.choice(COLOURS),
                    size=size,
                    x=x + chance.uniform(-3, 3),
                    y=y + chance.uniform(-4, 4),
                    px=chance.uniform(*SIZES_PX[size]),
                    mirrored=chance.random() < 0.5,
                )
            )
    return replace(scene, things=tuple(things), relation=None)


def _name_cells(
    scene: Scene, drawing: Drawing, kinds: np.ndarray[Any, Any], colours: np.ndarray[Any, Any]
) -> None:
    """Write into each patch which thing covers enough of it."""
    import numpy as np

    side = SIDE_PX // CELLS
    for thing, mask in zip(scene.things, drawing.masks, strict=True):
        covered = np.asarray(mask).reshape(CELLS, side, CELLS, side).mean(axis=(1, 3)) / 255
        kinds[covered > _SEEN] = KINDS.index(thing.kind)
        colours[covered > _SEEN] = COLOURS.index(thing.colour)


def _mirrored(scene: Scene) -> Scene:
    relation = scene.relation
    return replace(scene, relation=_TURNED.get(relation, relation) if relation else None)


def _surroundings(scene: Scene | None) -> tuple[int, int, int]:
    if scene is None:
        return NONE, NONE, NONE
    return TIMES.index(scene.time), GROUNDS.index(scene.ground), WEATHERS.index(scene.weather)


def _extras(scene: Scene | None) -> list[float]:
    return [float(scene is not None and getattr(scene, name)) for name in EXTRAS]
