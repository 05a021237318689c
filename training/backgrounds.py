"""Sky, ground and weather of drawn scenes.

This module owns everything but the things. Weather lies over them, the rest behind them.
"""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image, ImageDraw

from training.scenes import SIDE_PX, Ground, Scene, Time, Weather
from training.things import Rgb, mixed

_SKIES: dict[Time, tuple[Rgb, Rgb]] = {
    Time.DAY: ((84, 160, 240), (186, 224, 252)),
    Time.SUNSET: ((120, 50, 120), (255, 132, 36)),
    Time.NIGHT: ((10, 12, 44), (40, 46, 104)),
    Time.DAWN: ((132, 152, 222), (255, 206, 200)),
}
_OVERCAST: dict[Time, Rgb] = {
    Time.DAY: (164, 172, 182),
    Time.SUNSET: (150, 96, 96),
    Time.NIGHT: (40, 42, 60),
    Time.DAWN: (196, 178, 192),
}
_CLOUDS: dict[Time, Rgb] = {
    Time.DAY: (240, 242, 246),
    Time.SUNSET: (255, 186, 130),
    Time.NIGHT: (84, 88, 112),
    Time.DAWN: (255, 232, 230),
}
_GROUNDS: dict[Ground, Rgb] = {
    Ground.GRASS: (110, 190, 80),
    Ground.SAND: (238, 214, 152),
    Ground.SNOW: (236, 242, 250),
    Ground.WATER: (40, 128, 190),
    Ground.ROAD: (122, 122, 128),
}
_TINTS: dict[Time, tuple[Rgb, float]] = {
    Time.DAY: ((255, 255, 255), 0.0),
    Time.SUNSET: ((220, 110, 60), 0.14),
    Time.NIGHT: ((14, 18, 60), 0.5),
    Time.DAWN: ((190, 170, 215), 0.25),
}
_OVERCAST_SHARE = {Weather.CLEAR: 0.0, Weather.CLOUDY: 0.35}
_USUAL_OVERCAST = 0.7
_RAIN_PX, _SNOW_PX = 128.0, 64.0
"""How far they fall in a clip: a token of a transformer in each of 16 frames, and half of one."""


def draw_background(image: Image.Image, scene: Scene, scale: int, moment: float) -> None:
    """Draw what lies behind the things, over the whole picture.

    Args:
        image: RGB, ``SIDE_PX * scale`` on both sides.
        scene: What to draw.
        scale: Pixels of the picture for each pixel of the scene.
        moment: From 0 to 1; at 0 the scene is at rest.
    """
    draw = ImageDraw.Draw(image)
    chance = random.Random(scene.seed)  # noqa: S311
    image.paste(_sky(scene, scale), (0, 0))
    if scene.stars:
        _stars(draw, scene, chance, scale, moment)
    place = (chance.choice((chance.uniform(9, 18), chance.uniform(46, 55))), chance.uniform(8, 13))
    if scene.sun:
        _disc(draw, _sun_place(scene, place, moment), 5.5, _sun_colour(scene.time), scale)
    if scene.moon:
        _crescent(draw, scene, place, scale)
    if scene.weather is not Weather.CLEAR and scene.weather is not Weather.FOG:
        _clouds(draw, scene, chance, scale, moment)
    if scene.mountains:
        _mountains(draw, scene, chance, scale)
    _ground(draw, scene, chance, scale, moment)


def draw_weather(image: Image.Image, scene: Scene, scale: int, moment: float) -> Image.Image:
    """Return the picture with what falls, or the fog, over it."""
    draw = ImageDraw.Draw(image)
    chance = random.Random(scene.seed + 1)  # noqa: S311
    if scene.weather is Weather.RAIN:
        for x, y in _falling(chance, 16, _RAIN_PX * moment):
            line = (x * scale, y * scale, (x - 2) * scale, (y + 6) * scale)
            draw.line(line, fill=(206, 222, 244), width=scale)
    elif scene.weather is Weather.SNOW:
        for x, y in _falling(chance, 24, _SNOW_PX * moment):
            _disc(draw, (x, y), 1.1, (255, 255, 255), scale)
    elif scene.weather is Weather.FOG:
        veil = Image.new("RGB", image.size, _overcast(scene))
        return Image.blend(image, veil, 0.18)
    return image


# --------------------------------------------------------------------------- sky


def _sky(scene: Scene, scale: int) -> Image.Image:
    upper, lower = _SKIES[scene.time]
    share = _OVERCAST_SHARE.get(scene.weather, _USUAL_OVERCAST)
    upper, lower = (mixed(colour, _overcast(scene), share) for colour in (upper, lower))
    rows = round(scene.horizon * scale) + 1
    ramp = np.linspace(0, 1, rows)[:, None, None]
    column = np.asarray(upper) * (1 - ramp) + np.asarray(lower) * ramp
    side = SIDE_PX * scale
    return Image.fromarray(np.repeat(column.astype(np.uint8), side, axis=1))


def _overcast(scene: Scene) -> Rgb:
    grey = _OVERCAST[scene.time]
    return mixed(grey, (236, 238, 240), 0.4) if scene.weather is Weather.FOG else grey


def _sun_colour(time: Time) -> Rgb:
    return (255, 232, 70) if time is Time.DAY else (255, 244, 150)


def _sun_place(scene: Scene, place: tuple[float, float], moment: float) -> tuple[float, float]:
    """Return where the sun is: low at both ends of the day, sinking in the evening."""
    x, y = place
    if scene.time is Time.DAY:
        return place
    low = scene.horizon - 9
    travel = 12 * moment
    return (x, low + travel) if scene.time is Time.SUNSET else (x, max(y, low - travel))


def _stars(
    draw: ImageDraw.ImageDraw, scene: Scene, chance: random.Random, scale: int, moment: float
) -> None:
    for _ in range(16):
        x, y = chance.uniform(2, 62), chance.uniform(2, scene.horizon - 6)
        phase, rate = chance.random(), chance.choice((1, 2))
        glow = 0.5 + 0.5 * math.cos(2 * math.pi * (phase + rate * moment)) if moment else 1.0
        _disc(draw, (x, y), 0.9, mixed((60, 64, 110), (255, 250, 220), 0.3 + 0.7 * glow), scale)


def _crescent(
    draw: ImageDraw.ImageDraw, scene: Scene, place: tuple[float, float], scale: int
) -> None:
    _disc(draw, place, 5.5, (246, 242, 214), scale)
    upper, lower = _SKIES[Time.NIGHT]
    share = _OVERCAST_SHARE.get(scene.weather, _USUAL_OVERCAST)
    behind = mixed(mixed(upper, lower, place[1] / scene.horizon), _OVERCAST[Time.NIGHT], share)
    _disc(draw, (place[0] + 3, place[1] - 1.5), 4.6, behind, scale)


def _clouds(
    draw: ImageDraw.ImageDraw, scene: Scene, chance: random.Random, scale: int, moment: float
) -> None:
    wet = scene.weather is not Weather.CLOUDY
    colour = mixed(_CLOUDS[scene.time], _overcast(scene), 0.55 if wet else 0.0)
    if scene.weather is Weather.RAIN:
        colour = mixed(colour, (60, 62, 74), 0.35)
    for number in range(3):
        x = (chance.uniform(0, 20) + 22 * number + 14 * moment) % 72 - 4
        y = chance.uniform(5, 15)
        for dx, dy, radius in ((-5, 1, 3.6), (0, -1, 4.8), (5, 1, 3.8)):
            _disc(draw, (x + dx, y + dy), radius, colour, scale)


def _mountains(draw: ImageDraw.ImageDraw, scene: Scene, chance: random.Random, scale: int) -> None:
    rock = _tinted(scene, (116, 112, 134))
    snow = _tinted(scene, (240, 240, 248))
    for middle in (chance.uniform(4, 16), chance.uniform(46, 60), chance.uniform(24, 40)):
        height, half = chance.uniform(12, 18), chance.uniform(13, 18)
        top = scene.horizon - height
        slope = [
            (middle - half, scene.horizon + 1),
            (middle, top),
            (middle + half, scene.horizon + 1),
        ]
        cap = [(middle - half * 0.28, top + height * 0.28), (middle, top)]
        cap += [(middle + half * 0.28, top + height * 0.28)]
        draw.polygon([(x * scale, y * scale) for x, y in slope], fill=rock)
        draw.polygon([(x * scale, y * scale) for x, y in cap], fill=snow)


# --------------------------------------------------------------------------- ground


def _ground(
    draw: ImageDraw.ImageDraw, scene: Scene, chance: random.Random, scale: int, moment: float
) -> None:
    side = SIDE_PX * scale
    colour = _tinted(scene, _GROUNDS[scene.ground])
    draw.rectangle((0, round(scene.horizon * scale), side, side), fill=colour)
    if scene.ground is Ground.WATER:
        crest = mixed(colour, (255, 255, 255), 0.35)
        for number in range(9):
            x = (chance.uniform(-4, 60) + 10 * moment) % 68 - 4
            y = scene.horizon + 3 + (60 - scene.horizon) * number / 9
            arc = (x * scale, y * scale, (x + 8) * scale, (y + 3) * scale)
            draw.arc(arc, 200, 340, fill=crest, width=scale)
    elif scene.ground is Ground.ROAD:
        verge = _tinted(scene, (96, 150, 84))
        top = scene.horizon * scale
        draw.rectangle((0, round(top), side, round(top + 3 * scale)), fill=verge)
        line = _tinted(scene, (250, 250, 250))
        y = scene.horizon + (64 - scene.horizon) * 0.55
        for number in range(-1, 5):
            x = 4 + 16 * number
            box = (x * scale, y * scale, (x + 9) * scale, (y + 1.8) * scale)
            draw.rectangle(box, fill=line)
    else:
        _dots(draw, scene, chance, colour, scale)


def _dots(
    draw: ImageDraw.ImageDraw, scene: Scene, chance: random.Random, colour: Rgb, scale: int
) -> None:
    """Draw blades of grass, or the small waves of sand and snow."""
    darker = mixed(colour, (0, 0, 0), 0.16)
    for _ in range(10):
        x, y = chance.uniform(0, 62), chance.uniform(scene.horizon + 3, 61)
        if scene.ground is Ground.GRASS:
            for lean in (-1.2, 0.0, 1.2):
                line = (x * scale, (y + 2) * scale, (x + lean) * scale, y * scale)
                draw.line(line, fill=darker, width=max(1, round(scale * 0.7)))
        else:
            arc = (x * scale, y * scale, (x + 7) * scale, (y + 2.4) * scale)
            draw.arc(arc, 190, 350, fill=darker, width=max(1, round(scale * 0.7)))


def _tinted(scene: Scene, colour: Rgb) -> Rgb:
    tint, share = _TINTS[scene.time]
    colour = mixed(colour, tint, share)
    return mixed(colour, _overcast(scene), 0.3) if scene.weather is Weather.FOG else colour


# --------------------------------------------------------------------------- parts


def _disc(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], radius: float, fill: Rgb, scale: int
) -> None:
    (x, y), reach = (place[0] * scale, place[1] * scale), radius * scale
    draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)


def _falling(chance: random.Random, count: int, fallen_px: float) -> list[tuple[float, float]]:
    """Return where drops are; they come in again above when they have left below."""
    places = []
    for number in range(count):
        x = (number + chance.random()) * 66 / count
        y = (chance.uniform(0, 70) + fallen_px) % 70 - 6
        places.append((x, y))
    return places
