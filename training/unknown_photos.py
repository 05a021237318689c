"""Pictures that are built as photos are: leaves over leaves, light, blur, grain and texture.

This module owns stand-ins for photos. No photo is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from training.unknown_patterns import SIDE, colour, field, painted, ramp

Chance = np.random.Generator
Maker = Callable[[Chance], Image.Image]
Pixels = npt.NDArray[np.floating[Any]]

_DRAWN = 128


def any_photo(chance: Chance) -> Image.Image:
    """Return a stand-in for a photo, of any kind."""
    return MAKERS[int(chance.integers(len(MAKERS)))](chance)


def _muted(chance: Chance, strength: float = 0.55) -> tuple[int, int, int]:
    """Return a colour as things in photos have: seldom pure."""
    pure = np.asarray(colour(chance), float)
    grey = pure.mean()
    red, green, blue = (int(v) for v in grey + (pure - grey) * strength * chance.random())
    return red, green, blue


def _finished(chance: Chance, picture: Image.Image) -> Image.Image:
    """Return a picture with a lens's blur, the fall of light and grain."""
    if chance.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 2.5)))
    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), float)
    light = 1 + chance.uniform(0, 0.5) * (field(chance, 2.2)[..., None] - 0.5)
    grain = chance.normal(0, chance.uniform(0, 10), pixels.shape)
    return _image((pixels * light + grain) * chance.uniform(0.7, 1.2))


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _leaves(chance: Chance) -> Image.Image:
    """Return things over things, few of them large and many small, as most photos show them."""
    picture = Image.new("RGB", (_DRAWN, _DRAWN), _muted(chance))
    draw = ImageDraw.Draw(picture)
    shades = [_muted(chance, 0.9) for _ in range(int(chance.integers(4, 14)))]
    smallest, round_things = chance.uniform(3, 20), chance.random()
    for _ in range(int(chance.integers(20, 130))):
        size = min(90.0, smallest * float(chance.pareto(1.6) + 1))
        x, y = chance.uniform(-20, _DRAWN + 20, 2)
        base = np.asarray(shades[int(chance.integers(len(shades)))])
        shade = tuple(int(v) for v in np.clip(base * chance.uniform(0.6, 1.3), 0, 255))
        high = size * chance.uniform(0.3, 1)
        if chance.random() < round_things:
            draw.ellipse((x - size / 2, y - high / 2, x + size / 2, y + high / 2), shade)
        else:
            corners = chance.normal(0, 0.5, (int(chance.integers(3, 7)), 2)) * (size, high) + (x, y)
            draw.polygon([tuple(corner) for corner in corners], shade)
    return _finished(chance, picture)


def _landscape(chance: Chance) -> Image.Image:
    """Return sky, ridges and ground with the textures of photos."""
    sky = _ramp_down(chance, [_muted(chance, 0.8) for _ in range(2)])
    clouds = field(chance, chance.uniform(1.2, 2), stretch=chance.choice([0.4, 0.7, 1]))[..., None]
    pixels = sky + chance.uniform(0, 130) * (clouds - 0.3)
    down = np.arange(SIDE)[:, None]
    horizon = chance.uniform(8, 50)
    for layer in range(int(chance.integers(1, 5))):
        ridge = np.cumsum(chance.normal(0, chance.uniform(0.1, 2.2), SIDE))
        under = down > horizon + layer * chance.uniform(3, 14) + ridge[None, :]
        texture = field(chance, chance.uniform(0.3, 1.4), stretch=chance.choice([0.3, 1, 1]))
        base = np.asarray(_muted(chance, 0.9), float)
        shaded = base * (1 + chance.uniform(0.2, 1.1) * (texture[..., None] - 0.5))
        pixels = np.where(under[..., None], shaded, pixels)
    return _finished(chance, _image(pixels))


def _ramp_down(chance: Chance, shades: list[tuple[int, int, int]]) -> Pixels:
    steps = np.linspace(0, 1, SIDE)[:, None, None]
    first, second = (np.asarray(shade, float) for shade in shades)
    return np.broadcast_to(first * (1 - steps) + second * steps, (SIDE, SIDE, 3)).copy()


def _round_things(chance: Chance) -> Image.Image:
    """Return lit, rounded things on a table or before a wall."""
    down, across = np.mgrid[:SIDE, :SIDE].astype(float)
    wall = field(chance, chance.uniform(0.8, 2))[..., None]
    pixels = np.asarray(_muted(chance), float) * (0.7 + 0.6 * wall)
    edge = chance.uniform(20, 60)
    table = np.asarray(_muted(chance), float) * (0.6 + 0.8 * field(chance, 1.2)[..., None])
    pixels = np.where((down > edge)[..., None], table, pixels)
    light = chance.normal(0, 1, 3)
    light /= np.linalg.norm(light)
    for _ in range(int(chance.integers(1, 9))):
        x, y = chance.uniform(4, SIDE - 4, 2)
        wide, high = chance.uniform(4, 26, 2)
        dx, dy = (across - x) / wide, (down - y) / high
        inside = dx**2 + dy**2 < 1
        up = np.sqrt(np.clip(1 - dx**2 - dy**2, 0, 1))
        lit = np.clip(dx * light[0] + dy * light[1] + up * abs(light[2]), 0, 1)
        base = np.asarray(_muted(chance, 1.0), float)
        texture = 0.8 + 0.4 * field(chance, chance.uniform(0.5, 2))
        shaded = base * ((0.25 + 0.9 * lit) * texture)[..., None] + 160 * (lit**20)[..., None]
        pixels = np.where(inside[..., None], shaded, pixels)
    return _finished(chance, _image(pixels))


def _portrait(chance: Chance) -> Image.Image:
    """Return a head and shoulders before something out of focus."""
    behind = _leaves(chance).resize((_DRAWN, _DRAWN))
    picture = behind.filter(ImageFilter.GaussianBlur(chance.uniform(2, 12)))
    draw = ImageDraw.Draw(picture)
    tone = np.asarray([224, 172, 140]) * chance.uniform(0.35, 1.1)
    skin = tuple(int(v) for v in np.clip(tone + chance.normal(0, 10, 3), 0, 255))
    dark = tuple(int(v * 0.45) for v in skin)
    x, y, size = chance.uniform(40, 88), chance.uniform(40, 72), chance.uniform(18, 44)
    draw.ellipse((x - 2 * size, y + size, x + 2 * size, y + 5 * size), _muted(chance))
    draw.ellipse((x - size, y - 1.35 * size, x + size, y + size), _muted(chance, 0.3))
    draw.ellipse((x - 0.8 * size, y - size, x + 0.8 * size, y + 1.1 * size), skin)
    for side in (-0.33, 0.33):
        eye = x + side * size
        draw.ellipse((eye - 0.1 * size, y - 0.2 * size, eye + 0.1 * size, y - 0.06 * size), dark)
    draw.line((x - 0.25 * size, y + 0.5 * size, x + 0.25 * size, y + 0.5 * size), dark, 2)
    return _finished(chance, picture)


def _lights(chance: Chance) -> Image.Image:
    """Return points that glow in the dark: a town at night, stars, cells under a microscope."""
    pixels = np.asarray(_muted(chance), float) * 0.3 * (0.5 + field(chance, 1.8)[..., None])
    down, across = np.mgrid[:SIDE, :SIDE].astype(float)
    for _ in range(int(chance.integers(3, 70))):
        x, y = chance.uniform(0, SIDE, 2)
        size = chance.uniform(0.6, 4)
        glow = np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * size**2))
        pixels = pixels + glow[..., None] * np.asarray(colour(chance), float)
    return _finished(chance, _image(pixels))


def _street(chance: Chance) -> Image.Image:
    """Return walls with windows that run into the distance."""
    picture = Image.new("RGB", (_DRAWN, _DRAWN), _muted(chance))
    draw = ImageDraw.Draw(picture)
    x = -10.0
    while x < _DRAWN:
        wide, top = chance.uniform(10, 60), chance.uniform(-20, 80)
        wall, glass = _muted(chance), _muted(chance)
        draw.rectangle((x, top, x + wide, _DRAWN), wall)
        gap = chance.uniform(5, 14)
        for left in np.arange(x + 3, x + wide - 4, gap):
            for row in np.arange(top + 4, _DRAWN - 20, gap):
                draw.rectangle((left, row, left + gap * 0.5, row + gap * 0.6), glass)
        x += wide + chance.uniform(-5, 12)
    ground = chance.uniform(85, 125)
    draw.rectangle((0, ground, _DRAWN, _DRAWN), _muted(chance))
    warp = [*chance.uniform(-18, 18, 2), *chance.uniform(-18, 18, 2)]
    corners = (warp[0], warp[1], warp[2], 128 - warp[3], 128 + warp[1], 128, 128 - warp[0], warp[2])
    turned = picture.transform(picture.size, Image.Transform.QUAD, corners)
    return _finished(chance, turned)


def _fur(chance: Chance) -> Image.Image:
    """Return an even texture: fur, wood, cloth, water or stone, with light on it."""
    values = field(chance, chance.uniform(0.2, 1.2), stretch=chance.choice([0.15, 0.4, 1, 3, 7]))
    base = [_muted(chance, 0.7) for _ in range(int(chance.integers(2, 4)))]
    turned = painted(values, base).rotate(chance.uniform(0, 90), Image.Resampling.BILINEAR)
    inner = turned.crop((10, 10, 54, 54)).resize((SIDE, SIDE))
    return _finished(chance, inner)


def _smoke(chance: Chance) -> Image.Image:
    """Return veils of colour that fold into each other."""
    pull = [SIDE * chance.uniform(0.2, 0.8) * (field(chance, 2.2) - 0.5) for _ in range(2)]
    down, across = np.mgrid[:SIDE, :SIDE]
    rows = np.clip(down + pull[0], 0, SIDE - 1).astype(int)
    columns = np.clip(across + pull[1], 0, SIDE - 1).astype(int)
    return _finished(chance, painted(field(chance, 1.6)[rows, columns], ramp(chance, 6)))


MAKERS: tuple[Maker, ...] = (
    _leaves,
    _leaves,
    _landscape,
    _landscape,
    _round_things,
    _portrait,
    _lights,
    _fur,
)

HELD_OUT: tuple[Maker, ...] = (_street, _smoke)
"""What training never sees."""
