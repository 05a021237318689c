"""Patterns: noise, ramps, gratings, fractals, codes and shapes.

This module owns pictures that show nothing, or shapes without a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Chance = np.random.Generator
Field = npt.NDArray[np.floating[Any]]
Maker = Callable[[Chance], Image.Image]

SIDE = 64
_DRAWN = 128


def any_pattern(chance: Chance) -> Image.Image:
    """Return a pattern of any kind."""
    return MAKERS[int(chance.integers(len(MAKERS)))](chance)


def colour(chance: Chance) -> tuple[int, int, int]:
    """Return any colour, now and then black, white or grey."""
    if chance.random() < 0.25:
        return (int(chance.choice([0, 20, 128, 200, 245, 255])),) * 3
    red, green, blue = (int(v) for v in chance.integers(0, 256, 3))
    return red, green, blue


def field(chance: Chance, power: float, side: int = SIDE, stretch: float = 1.0) -> Field:
    """Return noise between 0 and 1 whose spectrum falls with a power of the frequency.

    Args:
        chance: Where it comes from.
        power: 0 is white; 1 to 2 is like clouds, walls and leaves.
        side: Of the square.
        stretch: More than 1 makes bands that lie.
    """
    across, down = np.fft.fftfreq(side)[None, :] * stretch, np.fft.fftfreq(side)[:, None]
    size = np.maximum(np.hypot(across, down), 1 / side)
    waves = np.fft.fft2(chance.normal(size=(side, side))) / size**power
    values = np.fft.ifft2(waves).real
    low, high = np.percentile(values, (1, 99))
    return cast("Field", np.clip((values - low) / max(1e-9, high - low), 0, 1))


def painted(values: Field, stops: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Colour values between 0 and 1 along a ramp of colours."""
    places = np.linspace(0, 1, len(stops))
    table = np.asarray(stops, float)
    layers = [np.interp(values, places, table[:, n]) for n in range(3)]
    return Image.fromarray(np.stack(layers, axis=-1).astype(np.uint8))


def ramp(chance: Chance, most: int = 5) -> list[tuple[int, int, int]]:
    """Return some colours."""
    return [colour(chance) for _ in range(int(chance.integers(2, most)))]


def _noise(chance: Chance) -> Image.Image:
    side = int(chance.choice([4, 8, 16, 32, 64, 64, 64]))
    way = chance.integers(4)
    if way == 0:
        pixels = chance.integers(0, 256, (side, side, 3))
    elif way == 1:
        pixels = chance.integers(0, 256, (side, side, 1)).repeat(3, axis=2)
    elif way == 2:
        pixels = (chance.random((side, side, 1)) < chance.uniform(0.1, 0.9)).repeat(3, axis=2) * 255
    else:
        spread = chance.uniform(10, 80)
        pixels = np.clip(chance.normal(colour(chance), spread, (side, side, 3)), 0, 255)
    smooth = Image.Resampling.NEAREST if chance.random() < 0.5 else Image.Resampling.BICUBIC
    return Image.fromarray(pixels.astype(np.uint8)).resize((SIDE, SIDE), smooth)


def _clouds(chance: Chance) -> Image.Image:
    power, stretch = chance.uniform(0.4, 2.2), chance.choice([1, 1, 1, 3, 8, 1 / 4])
    if chance.random() < 0.5:
        return painted(field(chance, power, stretch=stretch), ramp(chance))
    layers = np.stack([field(chance, power, stretch=stretch) for _ in range(3)], axis=-1)
    share = chance.uniform(0, 0.8)
    layers = layers * (1 - share) + layers.mean(axis=2, keepdims=True) * share
    return Image.fromarray((layers * 255).astype(np.uint8))


def _flat(chance: Chance) -> Image.Image:
    """Return one colour, or a ramp in any direction, or from the middle."""
    if chance.random() < 0.25:
        return Image.new("RGB", (SIDE, SIDE), colour(chance))
    down, across = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    angle = chance.uniform(0, 2 * np.pi)
    if chance.random() < 0.4:
        across, down = across - chance.random(), down - chance.random()
        values = np.hypot(across, down)
    else:
        values = across * np.cos(angle) + down * np.sin(angle)
    values = (values - values.min()) / max(1e-9, np.ptp(values))
    return painted(values, ramp(chance))


def _grating(chance: Chance) -> Image.Image:
    down, across = np.mgrid[:SIDE, :SIDE].astype(float)
    values = np.zeros((SIDE, SIDE))
    for _ in range(int(chance.integers(1, 4))):
        angle, period = chance.uniform(0, np.pi), chance.uniform(2.5, 40)
        bend = chance.uniform(0, 6) * np.sin(across / chance.uniform(4, 20))
        way = across * np.cos(angle) + (down + bend) * np.sin(angle)
        values += np.sin(2 * np.pi * way / period + chance.uniform(0, 6))
    values = (values - values.min()) / np.ptp(values)
    if chance.random() < 0.5:
        values = (values > 0.5).astype(float)
    return painted(values, ramp(chance, 4))


def _tiles(chance: Chance) -> Image.Image:
    """Return chequers, bricks or a quilt."""
    picture = Image.new("RGB", (_DRAWN, _DRAWN), colour(chance))
    draw = ImageDraw.Draw(picture)
    wide, high = int(chance.integers(8, 48)), int(chance.integers(8, 48))
    shades, gap = ramp(chance, 7), int(chance.integers(0, 4))
    bricks = chance.random() < 0.5
    for row in range(_DRAWN // high + 1):
        for column in range(-1, _DRAWN // wide + 1):
            left = column * wide + (wide // 2 if bricks and row % 2 else 0)
            shade = shades[int(chance.integers(len(shades)))]
            draw.rectangle((left, row * high, left + wide - gap, (row + 1) * high - gap), shade)
    return picture


def _fractal(chance: Chance) -> Image.Image:
    """Return a part of a Julia set."""
    angle, zoom = chance.uniform(0, 2 * np.pi), chance.uniform(0.3, 1.6)
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    point = zoom * (across + 1j * down) + chance.uniform(-0.4, 0.4) * (1 + 1j)
    step = 0.7885 * np.exp(1j * angle)
    count = np.zeros((SIDE, SIDE))
    for _ in range(28):
        inside = np.abs(point) < 2
        point = np.where(inside, point * point + step, point)
        count += inside
    return painted((count / 28) ** chance.uniform(0.5, 2), ramp(chance, 6))


def _code(chance: Chance) -> Image.Image:
    """Return a square or a barred code, or the pixels of a small sprite."""
    count, way = int(chance.integers(7, 30)), chance.integers(3)
    dark, light = ((0, 0, 0), (255, 255, 255)) if chance.random() < 0.6 else ramp(chance, 3)[:2]
    if way == 0:
        cells = chance.random((count, count)) < 0.5
    elif way == 1:
        cells = np.repeat(chance.random((1, count)) < 0.5, count, axis=0)
    else:
        half = chance.random((8, 4)) < 0.55
        cells = np.pad(np.concatenate([half, half[:, ::-1]], axis=1), 2)
    pixels = np.where(cells[..., None], np.asarray(dark), np.asarray(light)).astype(np.uint8)
    margin = int(chance.integers(0, 12))
    inner = Image.fromarray(pixels).resize((SIDE - 2 * margin,) * 2, Image.Resampling.NEAREST)
    picture = Image.new("RGB", (SIDE, SIDE), light)
    picture.paste(inner, (margin, margin))
    return picture


def _shapes(chance: Chance) -> Image.Image:
    """Return shapes on a plain ground: a few or many, filled or as outlines."""
    picture = Image.new("RGB", (_DRAWN, _DRAWN), colour(chance))
    draw = ImageDraw.Draw(picture)
    largest = chance.uniform(20, 110)
    for _ in range(int(chance.choice([1, 2, 3, 5, 12, 40]))):
        x, y = chance.uniform(-10, _DRAWN, 2)
        wide, high = chance.uniform(6, largest, 2)
        fill = colour(chance) if chance.random() < 0.8 else None
        edge = colour(chance) if fill is None or chance.random() < 0.4 else None
        box, way = (x, y, x + wide, y + high), chance.integers(4)
        if way == 0:
            draw.ellipse(box, fill, edge, int(chance.integers(1, 6)))
        elif way == 1:
            draw.rectangle(box, fill, edge, int(chance.integers(1, 6)))
        elif way == 2:
            corners = chance.uniform(0, 1, (int(chance.integers(3, 8)), 2)) * (wide, high) + (x, y)
            draw.polygon([tuple(corner) for corner in corners], fill, edge)
        else:
            width = int(chance.integers(1, 9))
            draw.line((x, y, x + wide, y + high * chance.choice([-1, 1])), colour(chance), width)
    return picture


def _scribble(chance: Chance) -> Image.Image:
    """Return lines as a hand draws them: a figure, a face, or nothing."""
    paper = (255, 255, 255) if chance.random() < 0.6 else colour(chance)
    picture = Image.new("RGB", (_DRAWN, _DRAWN), paper)
    draw = ImageDraw.Draw(picture)
    ink = (0, 0, 0) if chance.random() < 0.6 else colour(chance)
    for _ in range(int(chance.integers(1, 8))):
        steps = np.cumsum(chance.normal(0, chance.uniform(3, 14), (30, 2)), axis=0)
        line = steps + chance.uniform(20, 108, 2)
        draw.line([tuple(place) for place in line], ink, int(chance.integers(1, 5)))
        if chance.random() < 0.4:
            x, y, size = *chance.uniform(15, 110, 2), chance.uniform(5, 40)
            draw.ellipse((x - size, y - size, x + size, y + size), None, ink, 2)
    return picture


def _rings(chance: Chance) -> Image.Image:
    down, across = np.mgrid[:SIDE, :SIDE] - chance.uniform(0, SIDE, (2, 1, 1))
    turns = int(chance.integers(0, 9)) * np.arctan2(down, across)
    values = 0.5 + 0.5 * np.sin(np.hypot(across, down) / chance.uniform(0.8, 6) + turns)
    return painted(values, ramp(chance, 4))


def _cells(chance: Chance) -> Image.Image:
    """Return what lies nearest to scattered points."""
    points = chance.uniform(0, SIDE, (int(chance.integers(4, 60)), 2))
    down, across = np.mgrid[:SIDE, :SIDE]
    far = np.hypot(across[..., None] - points[:, 0], down[..., None] - points[:, 1])
    if chance.random() < 0.5:
        nearest = far.min(axis=-1)
        return painted(nearest / nearest.max(), ramp(chance, 4))
    table = chance.integers(0, 256, (len(points), 3)).astype(np.uint8)
    return Image.fromarray(table[far.argmin(axis=-1)])


MAKERS: tuple[Maker, ...] = (
    _noise,
    _clouds,
    _flat,
    _grating,
    _tiles,
    _fractal,
    _code,
    _shapes,
    _scribble,
)

HELD_OUT: tuple[Maker, ...] = (_rings, _cells)
"""What training never sees."""
