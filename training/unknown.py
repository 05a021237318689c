"""Pictures that are no drawn scenes: what the captioner must say that it does not know.

This module owns which kinds there are, and scenes that were spoiled. All are made by code; no
picture comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from training import unknown_pages as pages
from training import unknown_patterns as patterns
from training import unknown_photos as photos
from training.caption_model import PICTURE_PX
from training.drawing import draw
from training.scenes import SIDE_PX, Split, scene_of

Chance = np.random.Generator
Maker = Callable[[Chance], Image.Image]


def unknown_picture(split: Split, number: int) -> Image.Image:
    """Return a picture that is no scene: the same one for the same number.

    The development split holds kinds of its own, which training never sees.
    """
    seed = (number, 1 if split is Split.TRAIN else 2)
    chance = np.random.default_rng(seed)
    makers = KINDS if split is Split.TRAIN else {**KINDS, **HELD_OUT}
    names = sorted(makers)
    picture = makers[names[int(chance.integers(len(names)))]](chance)
    if chance.random() < 0.1:
        picture = picture.convert("L")
    if chance.random() < 0.1:
        picture = ImageOps.mirror(picture)
    side = PICTURE_PX if chance.random() < 0.6 else SIDE_PX
    return picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)


def _scene(chance: Chance) -> Image.Image:
    return draw(scene_of(Split.TRAIN, int(chance.integers(10**9)))).image


def _turned(chance: Chance) -> Image.Image:
    ways = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    return _scene(chance).transpose(ways[int(chance.integers(3))])


def _recoloured(chance: Chance) -> Image.Image:
    picture = _scene(chance)
    way = chance.integers(3)
    if way == 0:
        return ImageOps.invert(picture)
    if way == 1:
        return ImageOps.grayscale(picture)
    dark, light = (tuple(int(v) for v in chance.integers(0, 256, 3)) for _ in range(2))
    return ImageOps.colorize(ImageOps.grayscale(picture), dark, light)


def _shuffled(chance: Chance) -> Image.Image:
    """Return a scene cut into squares that lie in another order."""
    picture, side = _scene(chance), int(chance.choice([8, 16, 32]))
    squares = [
        picture.crop((x, y, x + side, y + side))
        for y in range(0, SIDE_PX, side)
        for x in range(0, SIDE_PX, side)
    ]
    numbers = chance.permutation(len(squares)) if side < 32 else np.arange(4)
    order = np.roll(numbers, int(chance.integers(1, 4)))
    mixed = Image.new("RGB", picture.size)
    for place, number in enumerate(order):
        row, column = divmod(place, SIDE_PX // side)
        mixed.paste(squares[number], (column * side, row * side))
    return mixed


def _collage(chance: Chance) -> Image.Image:
    """Return several scenes in one picture, with or without frames."""
    count, gap = int(chance.integers(2, 5)), int(chance.integers(0, 5))
    side = SIDE_PX // count
    ground = tuple(int(v) for v in chance.integers(0, 256, 3))
    mixed = Image.new("RGB", (SIDE_PX, SIDE_PX), ground)
    for y in range(count):
        for x in range(count):
            small = _scene(chance).resize((max(4, side - gap), max(4, side - gap)))
            mixed.paste(small, (x * side + gap // 2, y * side + gap // 2))
    return mixed


def _zoomed(chance: Chance) -> Image.Image:
    """Return a small part of a scene, too near to tell what it is, above or below the horizon."""
    picture, side = _scene(chance), int(chance.integers(8, 20))
    left = int(chance.integers(0, SIDE_PX - side))
    low, high = (0, 30 - side) if chance.random() < 0.5 else (42, SIDE_PX - side)
    top = int(chance.integers(low, high + 1))
    part = picture.crop((left, top, left + side, top + side))
    return part.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)


def _ruined(chance: Chance) -> Image.Image:
    """Return a scene that is too blurred or too coarse to tell anything."""
    picture = _scene(chance)
    if chance.random() < 0.5:
        return picture.filter(ImageFilter.GaussianBlur(chance.uniform(7, 14)))
    coarse = picture.resize((int(chance.integers(2, 7)),) * 2)
    return coarse.resize(picture.size, Image.Resampling.NEAREST)


def _overlaid(chance: Chance) -> Image.Image:
    """Return a scene under another picture, too strong to see through."""
    other = patterns.any_pattern(chance) if chance.random() < 0.6 else photos.any_photo(chance)
    if chance.random() < 0.3:
        other = ImageOps.flip(_scene(chance))
    other = other.convert("RGB").resize((SIDE_PX, SIDE_PX))
    return Image.blend(_scene(chance), other, chance.uniform(0.65, 0.9))


def _outlined(chance: Chance) -> Image.Image:
    edges = _scene(chance).filter(ImageFilter.FIND_EDGES)
    return ImageOps.invert(edges) if chance.random() < 0.5 else edges


def _inside(chance: Chance) -> Image.Image:
    """Return a page or a pattern that shows a scene as one small part of it."""
    around = pages.any_page(chance) if chance.random() < 0.7 else patterns.any_pattern(chance)
    around = around.convert("RGB").resize((SIDE_PX, SIDE_PX))
    side = int(chance.integers(14, 36))
    left, top = (int(v) for v in chance.integers(0, SIDE_PX - side, 2))
    around.paste(_scene(chance).resize((side, side)), (left, top))
    return around


KINDS: dict[str, Maker] = {
    "turned": _turned,
    "recoloured": _recoloured,
    "shuffled": _shuffled,
    "collage": _collage,
    "zoomed": _zoomed,
    "ruined": _ruined,
    "overlaid": _overlaid,
    "outlined": _outlined,
    "inside": _inside,
    **{f"pattern-{n}": maker for n, maker in enumerate(patterns.MAKERS)},
    **{f"page-{n}": maker for n, maker in enumerate(pages.MAKERS)},
    **{f"photo-{n}": maker for n, maker in enumerate(photos.MAKERS)},
}
"""What training sees. Each is as likely as any other."""

HELD_OUT: dict[str, Maker] = {
    **{f"new-pattern-{n}": maker for n, maker in enumerate(patterns.HELD_OUT)},
    **{f"new-photo-{n}": maker for n, maker in enumerate(photos.HELD_OUT)},
}
"""What training never sees: it shows whether others are known to be unknown, too."""
