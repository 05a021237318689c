"""Trains the captioner: a sentence about a drawn scene, and to say so of a picture that is none.

Run it with ``python -m training.captioner``; it goes on where it was stopped.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from training.caption_model import CELLS, UNKNOWN, WIDTH, new_captioner, new_tokenizer
from training.captions import full_caption
from training.drawing import Drawing, draw
from training.running import Run, optimizer_for, parser_for, rate_at
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

BATCH = 48
STEPS = 7000
PEAK_RATE = 1e-3
_UNKNOWN_IN_BATCH = 11
_CROWDED_IN_BATCH = 15
_CROWDED_UNTIL = 0.65
"""Share of the steps in which crowded pictures help."""

_NONE = -100
_SEEN = 0.3
_CROWD_X, _CROWD_Y = (11, 32, 53), (26, 56)
_KINDS, _COLOURS = tuple(Kind), tuple(Colour)
_TIMES, _GROUNDS, _WEATHERS = tuple(Time), tuple(Ground), tuple(Weather)
_EXTRAS = ("sun", "moon", "stars", "mountains")
_TURNED = {Relation.LEFT: Relation.RIGHT, Relation.RIGHT: Relation.LEFT}


def new_hints() -> Any:
    """Return what reads from the patches which thing is where, and the rest from their mean.

    The captioner learns much faster with these to help; nothing of them is kept.
    """
    from torch import nn

    whole = 1 + len(_TIMES) + len(_GROUNDS) + len(_WEATHERS) + len(_EXTRAS)
    return nn.ModuleDict(
        {
            "cells": nn.Linear(WIDTH, len(_KINDS) + 1 + len(_COLOURS)),
            "whole": nn.Linear(WIDTH, whole),
        }
    )


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pictures, and what is true of them. The last ones are crowded, and have no caption.

    Attributes:
        pixels: n × 3 × 64 × 64, between -1 and 1.
        words, attention: Tokens of the captions, of as many pictures as have one.
        kinds, colours: By patch, n × patches; the last kind is none, and then no colour counts.
        known: 1 for a scene, 0 for any other picture, of as many as have a caption.
        surroundings: Time, ground and weather, n × 3; ``_NONE`` where there are none.
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
    kinds = np.full((len(scenes), CELLS, CELLS), len(_KINDS))
    colours = np.full((len(scenes), CELLS, CELLS), _NONE)
    for number, scene in enumerate(scenes):
        if scene is None:
            pictures.append(unknown_picture(split, chance.randrange(10**9)))
            continue
        drawing = draw(scene)
        pictures.append(drawing.image)
        _name_cells(scene, drawing, kinds[number], colours[number])
        if chance.random() < 0.5:
            pictures[number] = ImageOps.mirror(drawing.image)
            scenes[number] = _mirrored(scene)
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


def loss_of(captioner: Any, hints: Any, given: Lesson) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of the words, and that of the hints."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

    with torch.autocast("cpu", torch.bfloat16):
        patches = captioner.vision_model(pixel_values=given.pixels).last_hidden_state
        written = captioner.text_decoder(
            input_ids=given.words,
            attention_mask=given.attention,
            encoder_hidden_states=patches[: len(given.words)],
            labels=given.words.masked_fill(given.attention == 0, _NONE),
        )
        cells = hints["cells"](patches[:, 1:])
        whole = hints["whole"](patches.mean(dim=1))
    kinds, colours = cells.float().split([len(_KINDS) + 1, len(_COLOURS)], dim=-1)
    sizes = [1, len(_TIMES), len(_GROUNDS), len(_WEATHERS), len(_EXTRAS)]
    known, times, grounds, weathers, extras = whole.float().split(sizes, dim=-1)
    loss = cross_entropy(kinds.flatten(0, 1), given.kinds.flatten(), _weights())
    loss = loss + cross_entropy(colours.flatten(0, 1), given.colours.flatten(), ignore_index=_NONE)
    captioned = known.squeeze(1)[: len(given.known)]
    loss = loss + binary_cross_entropy_with_logits(captioned, given.known)
    scenes = given.surroundings[:, 0] != _NONE
    loss = loss + binary_cross_entropy_with_logits(extras[scenes], given.extras[scenes])
    for number, scores in enumerate((times, grounds, weathers)):
        truth = given.surroundings[:, number]
        loss = loss + 0.5 * cross_entropy(scores, truth, ignore_index=_NONE)
    return written.loss.float(), loss


def worn(pictures: list[Image.Image], chance: random.Random) -> torch.Tensor:
    """Return pixels with faults: saved as JPEG, blurred, grainy, a little off in colour.

    Pictures that a model drew, or that were enlarged and sent on, have such faults.
    """
    import numpy as np
    import torch
    from torch.nn.functional import interpolate

    saved = [_saved(picture, chance) if chance.random() < 0.2 else picture for picture in pictures]
    batch = torch.from_numpy(np.stack([np.asarray(picture) for picture in saved]))
    batch = batch.permute(0, 3, 1, 2).float() / 127.5 - 1
    for number in range(len(batch)):
        if chance.random() < 0.4:
            share = chance.uniform(0.45, 0.9)
            small = interpolate(batch[number : number + 1], scale_factor=share, mode="area")
            side = (SIDE_PX, SIDE_PX)
            batch[number] = interpolate(small, size=side, mode="bilinear", antialias=True)[0]
    each = (len(batch), 1, 1, 1)
    grain = torch.rand(each).pow(2) * 0.12
    tint = 0.05 * torch.randn(len(batch), 3, 1, 1)
    contrast = 1 + 0.08 * torch.randn(each)
    return (batch * contrast + tint + grain * torch.randn_like(batch)).clamp(-1, 1)


def _saved(picture: Image.Image, chance: random.Random) -> Image.Image:
    side = chance.choice((SIDE_PX, 2 * SIDE_PX))
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
                    kind=chance.choice(_KINDS),
                    colour=chance.choice(_COLOURS),
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
        kinds[covered > _SEEN] = _KINDS.index(thing.kind)
        colours[covered > _SEEN] = _COLOURS.index(thing.colour)


def _mirrored(scene: Scene) -> Scene:
    relation = scene.relation
    return replace(scene, relation=_TURNED.get(relation, relation) if relation else None)


def _surroundings(scene: Scene | None) -> tuple[int, int, int]:
    if scene is None:
        return _NONE, _NONE, _NONE
    return _TIMES.index(scene.time), _GROUNDS.index(scene.ground), _WEATHERS.index(scene.weather)


def _extras(scene: Scene | None) -> list[float]:
    return [float(scene is not None and getattr(scene, name)) for name in _EXTRAS]


def _weights() -> torch.Tensor:
    """Return how much each kind counts in a patch: nothing counts little, for most are empty."""
    import torch

    weights = torch.ones(len(_KINDS) + 1)
    weights[-1] = 0.2
    return weights


def main() -> None:
    """Train, or go on."""
    import torch

    options = parser_for("Train the captioner.", STEPS).parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    train(options.steps, *started(options))


def started(options: Any) -> tuple[Run, dict[str, Any]]:
    """Return the run as it was left, or a new one, and what it trains."""
    modules = {"captioner": new_captioner(), "hints": new_hints()}
    optimizer = optimizer_for(modules, PEAK_RATE, 2e-2)
    return Run(options.folder / "captioner.pt", modules, optimizer), modules


def train(steps: int, run: Run, modules: dict[str, Any]) -> None:
    """Train until so many steps are done."""
    words = hints = 0.0
    while run.step < steps:
        crowded = _CROWDED_IN_BATCH if run.step < _CROWDED_UNTIL * steps else 0
        mixture = Mixture(BATCH - _UNKNOWN_IN_BATCH - crowded, _UNKNOWN_IN_BATCH, crowded)
        given = lesson(Split.TRAIN, random.Random(run.step), mixture)  # noqa: S311
        written, hinted = loss_of(modules["captioner"], modules["hints"], given)
        (written + hinted).backward()
        run.stepped(rate_at(run.step, steps, PEAK_RATE))
        words, hints = words + float(written.detach()), hints + float(hinted.detach())
        if run.step % 50 == 0:
            run.log(words=words / 50, hints=hints / 50)
            words = hints = 0.0
    run.save()


if __name__ == "__main__":
    main()
