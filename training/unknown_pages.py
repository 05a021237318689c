"""Pages: text, screens, charts and maps, as screenshots and scans show them.

This module owns pictures of what is written or measured. They are drawn large and reduced.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.things import mixed
from training.unknown_patterns import colour, ramp

Chance = np.random.Generator
Maker = Callable[[Chance], Image.Image]
Colour = tuple[int, int, int]

_SIDE = 256
_LETTERS = np.array(list(string.ascii_letters * 3 + string.digits + ".,:-()"))


def any_page(chance: Chance) -> Image.Image:
    """Return a page of any kind."""
    return MAKERS[int(chance.integers(len(MAKERS)))](chance)


@lru_cache(maxsize=64)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _words(chance: Chance, count: int) -> str:
    lengths = chance.integers(1, 11, count)
    return " ".join("".join(chance.choice(_LETTERS, length)) for length in lengths)


def _paper(chance: Chance) -> tuple[Colour, Colour]:
    """Return the colours of paper and ink."""
    way = chance.random()
    if way < 0.5:
        return (int(chance.integers(235, 256)),) * 3, (int(chance.integers(0, 90)),) * 3
    if way < 0.75:
        return (int(chance.integers(10, 50)),) * 3, (int(chance.integers(170, 256)),) * 3
    return colour(chance), colour(chance)


def _lines(
    draw: ImageDraw.ImageDraw, chance: Chance, box: tuple[int, int, int, int], ink: Colour
) -> None:
    """Write lines of text into a box."""
    left, top, right, bottom = box
    size = int(chance.integers(8, 22))
    y = top
    while y + size < bottom:
        if chance.random() < 0.85:
            text = _words(chance, max(1, int((right - left) / size / 2.6 * chance.uniform(0.4, 1))))
            draw.text((left, y), text[: max(1, int((right - left) / size * 1.9))], ink, _font(size))
        y += round(size * 1.4)


def _text(chance: Chance) -> Image.Image:
    paper, ink = _paper(chance)
    picture = Image.new("RGB", (_SIDE, _SIDE), paper)
    draw = ImageDraw.Draw(picture)
    columns, margin = int(chance.choice([1, 1, 2, 3])), int(chance.integers(2, 30))
    wide = (_SIDE - margin) // columns
    for column in range(columns):
        left = margin + column * wide
        _lines(draw, chance, (left, margin, left + wide - 8, _SIDE - margin), ink)
    return picture


def _sign(chance: Chance) -> Image.Image:
    """Return a word or two in large letters: a sign, a meme, a title."""
    paper, ink = colour(chance), colour(chance)
    picture = Image.new("RGB", (_SIDE, _SIDE), paper)
    draw = ImageDraw.Draw(picture)
    if chance.random() < 0.4:
        inset = int(chance.integers(4, 40))
        box = (inset, inset, _SIDE - inset, _SIDE - inset)
        draw.rounded_rectangle(box, int(chance.integers(0, 60)), colour(chance), colour(chance), 4)
    for _ in range(int(chance.integers(1, 4))):
        place = (int(chance.integers(-20, 90)), int(chance.integers(0, 200)))
        draw.text(place, _words(chance, 2), ink, _font(int(chance.integers(24, 110))))
    return picture


def _screen(chance: Chance) -> Image.Image:
    """Return a window of a program or a page of the web."""
    paper, ink = _paper(chance)
    picture = Image.new("RGB", (_SIDE, _SIDE), paper)
    draw = ImageDraw.Draw(picture)
    accent, shade = colour(chance), mixed(paper, ink, 0.1)
    top = int(chance.integers(0, 46))
    draw.rectangle((0, 0, _SIDE, top), accent if chance.random() < 0.5 else shade)
    left = int(chance.choice([0, 0, 50, 80]))
    draw.rectangle((0, top, left, _SIDE), shade)
    if left:
        _lines(draw, chance, (6, top + 8, left, _SIDE), ink)
    y = top + 8
    while y < _SIDE - 12:
        high = int(chance.integers(14, 110))
        _card(draw, chance, (left + 8, y, _SIDE - 8, y + high), (accent, shade, ink))
        y += high + int(chance.integers(3, 14))
    return picture


def _card(
    draw: ImageDraw.ImageDraw,
    chance: Chance,
    box: tuple[int, int, int, int],
    shades: tuple[Colour, ...],
) -> None:
    """Draw a part of a screen: text, a picture, a button, a message or a table."""
    left, top, right, bottom = box
    accent, shade, ink = shades
    way = chance.integers(5)
    if way == 0:
        _lines(draw, chance, box, ink)
    elif way == 1:
        draw.rounded_rectangle(box, 8, shade, accent)
        _lines(draw, chance, (left + 8, top + 6, right - 8, bottom - 4), ink)
    elif way == 2:
        size = min(30, bottom - top)
        draw.ellipse((left, top, left + size, top + size), colour(chance))
        _lines(draw, chance, (left + size + 8, top, right, bottom), ink)
    elif way == 3:
        wide = int(chance.integers(30, max(31, right - left)))
        draw.rounded_rectangle((left, top, left + wide, min(bottom, top + 26)), 6, accent)
    else:
        rows, columns = max(1, (bottom - top) // 14), int(chance.integers(2, 6))
        for row in range(rows + 1):
            draw.line((left, top + row * 14, right, top + row * 14), shade)
        for column in range(columns + 1):
            x = left + column * (right - left) // columns
            draw.line((x, top, x, top + rows * 14), shade)
            draw.text((x + 3, top + 2), _words(chance, 1), ink, _font(10))


def _chart(chance: Chance) -> Image.Image:
    """Return bars, lines, points or a pie, with axes and words."""
    paper, ink = _paper(chance)
    picture = Image.new("RGB", (_SIDE, _SIDE), paper)
    draw = ImageDraw.Draw(picture)
    shades, way, count = ramp(chance, 7), chance.integers(4), int(chance.integers(3, 24))
    heights = np.clip(np.cumsum(chance.normal(0, 30, count)) + 110, 5, 210)
    places = np.linspace(34, 240, count)
    draw.text((70, 4), _words(chance, 3), ink, _font(14))
    if way == 3:
        angles = np.concatenate([[0], np.sort(chance.uniform(0, 360, count - 1)), [360]])
        for number in range(count):
            shade = shades[number % len(shades)]
            draw.pieslice((40, 30, 220, 210), angles[number], angles[number + 1], shade, paper)
        return picture
    if chance.random() < 0.5:
        for y in range(30, 230, 33):
            draw.line((30, y, 246, y), mixed(paper, ink, 0.2))
    draw.line((30, 20, 30, 226, 246, 226), ink, 2)
    line = [(x, 226 - y) for x, y in zip(places, heights, strict=True)]
    for number, (x, y) in enumerate(line):
        shade = shades[number % len(shades) if way == 0 else 0]
        if way == 0:
            half = 0.42 * 206 / count
            draw.rectangle((x - half, y, x + half, 226), shade)
        elif way == 1:
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), shade)
    if way == 2:
        draw.line(line, shades[0], int(chance.integers(2, 7)), joint="curve")
    return picture


def _map(chance: Chance) -> Image.Image:
    """Return a plan of streets."""
    picture = Image.new("RGB", (_SIDE, _SIDE), colour(chance))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(chance.integers(1, 6))):
        corners = chance.uniform(0, _SIDE, 2) + chance.uniform(-80, 80, (6, 2))
        draw.polygon([tuple(corner) for corner in corners], colour(chance))
    road = colour(chance)
    for _ in range(int(chance.integers(4, 22))):
        ends = chance.uniform(-20, _SIDE + 20, 4)
        draw.line(tuple(ends), road, int(chance.integers(1, 12)))
    for _ in range(int(chance.integers(0, 9))):
        draw.text(tuple(chance.integers(0, 230, 2)), _words(chance, 1), (30, 30, 30), _font(12))
    return picture


MAKERS: tuple[Maker, ...] = (_text, _sign, _screen, _screen, _chart, _map)
