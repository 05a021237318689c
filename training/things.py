"""How each thing is drawn: simple shapes in a box of its own.

This module owns the outlines of things. Places in the box go from 0 to 1, from its left lower
corner; nothing here knows pictures or scenes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from training.scenes import Colour, Kind, Thing

Rgb = tuple[int, int, int]
_Place = tuple[float, float]

RGB: dict[Colour, Rgb] = {
    Colour.RED: (222, 30, 38),
    Colour.ORANGE: (255, 134, 10),
    Colour.YELLOW: (255, 224, 30),
    Colour.GREEN: (24, 148, 52),
    Colour.BLUE: (30, 70, 220),
    Colour.PURPLE: (128, 40, 178),
    Colour.PINK: (255, 130, 190),
    Colour.BROWN: (124, 72, 30),
    Colour.BLACK: (24, 24, 28),
    Colour.WHITE: (250, 250, 250),
}
_PALE_EDGE: Rgb = (150, 152, 160)
_WOOD: Rgb = (96, 62, 36)
_GLASS: Rgb = (176, 222, 244)
_DARK: Rgb = (40, 36, 44)


def mixed(first: Rgb, second: Rgb, share: float) -> Rgb:
    """Mix two colours; ``share`` is that of the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


class Pen:
    """Draws in the box of one thing, into a picture and into the mask of the thing."""

    def __init__(self, image: Image.Image, mask: Image.Image, thing: Thing, scale: int) -> None:
        """Set the box; ``scale`` is the picture's pixels for each pixel of a scene."""
        self._draws = (ImageDraw.Draw(image), ImageDraw.Draw(mask))
        self._thing = thing
        self._scale = scale
        self.turn = thing.turn
        self.main = RGB[thing.colour]
        self.edge = (
            _PALE_EDGE if thing.colour is Colour.BLACK else mixed(self.main, (0, 0, 0), 0.55)
        )
        dark = thing.colour is Colour.BLACK
        self.second = mixed(self.main, (255, 255, 255) if dark else (0, 0, 0), 0.25)
        self.light = mixed(self.main, (255, 255, 255), 0.25)
        self._width = max(2, round(scale * 0.9))

    def polygon(self, places: Sequence[_Place], fill: Rgb | None = None) -> None:
        points = [self._at(place) for place in places]
        for draw, colour, edge in self._inks(fill):
            draw.polygon(points, fill=colour, outline=edge, width=self._width)

    def ellipse(self, middle: _Place, radii: _Place, fill: Rgb | None = None) -> None:
        (x0, y0), (x1, y1) = (
            self._at((middle[0] - radii[0], middle[1] + radii[1])),
            self._at((middle[0] + radii[0], middle[1] - radii[1])),
        )
        box = (min(x0, x1), y0, max(x0, x1), y1)
        for draw, colour, edge in self._inks(fill):
            draw.ellipse(box, fill=colour, outline=edge, width=self._width)

    def line(self, places: Sequence[_Place], fill: Rgb, width: float) -> None:
        """Draw a line; ``width`` is a share of the box."""
        points = [self._at(place) for place in places]
        thick = max(self._width, round(width * self._thing.px * self._scale))
        for draw, colour, _ in self._inks(fill):
            draw.line(points, fill=colour, width=thick, joint="curve")

    def _inks(self, fill: Rgb | None) -> list[tuple[ImageDraw.ImageDraw, Rgb | int, Rgb | int]]:
        picture, mask = self._draws
        return [(picture, self.main if fill is None else fill, self.edge), (mask, 255, 255)]

    def _at(self, place: _Place) -> _Place:
        thing = self._thing
        across = (0.5 - place[0]) if thing.mirrored else (place[0] - 0.5)
        return (
            (thing.x + across * thing.px) * self._scale,
            (thing.y - place[1] * thing.px) * self._scale,
        )


def _box(left: float, low: float, right: float, high: float) -> list[_Place]:
    return [(left, low), (right, low), (right, high), (left, high)]


def _house(pen: Pen) -> None:
    pen.polygon(_box(0.1, 0, 0.9, 0.56))
    pen.polygon([(0, 0.52), (1, 0.52), (0.5, 1)], pen.second)
    pen.polygon(_box(0.4, 0, 0.6, 0.34), _WOOD)
    for left in (0.17, 0.69):
        pen.polygon(_box(left, 0.2, left + 0.15, 0.38), _GLASS)


def _tree(pen: Pen) -> None:
    pen.polygon(_box(0.41, 0, 0.59, 0.42), _WOOD)
    for middle, radius in (((0.27, 0.56), 0.23), ((0.73, 0.56), 0.23), ((0.5, 0.74), 0.26)):
        pen.ellipse(middle, (radius, radius))
    pen.ellipse((0.5, 0.58), (0.24, 0.2), pen.main)


def _boat(pen: Pen) -> None:
    pen.line([(0.5, 0.2), (0.5, 1)], _WOOD, 0.06)
    pen.polygon([(0.55, 0.34), (0.95, 0.34), (0.55, 0.98)], pen.light)
    pen.polygon([(0.45, 0.34), (0.14, 0.34), (0.45, 0.86)], pen.light)
    pen.polygon([(0, 0.28), (1, 0.28), (0.8, 0), (0.2, 0)])


def _car(pen: Pen) -> None:
    pen.polygon([(0.2, 0.36), (0.32, 0.62), (0.7, 0.62), (0.84, 0.36)])
    pen.polygon([(0.3, 0.38), (0.37, 0.55), (0.49, 0.55), (0.49, 0.38)], _GLASS)
    pen.polygon([(0.55, 0.38), (0.55, 0.55), (0.66, 0.55), (0.74, 0.38)], _GLASS)
    pen.polygon([(0, 0.12), (0, 0.36), (0.1, 0.4), (0.92, 0.38), (1, 0.3), (1, 0.12)])
    for middle in (0.24, 0.76):
        pen.ellipse((middle, 0.12), (0.125, 0.125), _DARK)
        pen.ellipse((middle, 0.12), (0.05, 0.05), (190, 190, 196))


def _cat(pen: Pen) -> None:
    pen.line([(0.7, 0.08), (0.92, 0.14), (0.95, 0.34), (0.86, 0.46)], pen.main, 0.1)
    pen.ellipse((0.48, 0.26), (0.27, 0.27))
    pen.polygon([(0.18, 0.64), (0.16, 1), (0.4, 0.84)])
    pen.polygon([(0.78, 0.64), (0.8, 1), (0.56, 0.84)])
    pen.ellipse((0.48, 0.66), (0.32, 0.25))
    _face(pen, (0.36, 0.7), (0.6, 0.7), (0.48, 0.58))


def _dog(pen: Pen) -> None:
    pen.line([(0.14, 0.5), (0.03, 0.74)], pen.main, 0.09)
    for left in (0.12, 0.28, 0.52, 0.66):
        pen.polygon(_box(left, 0, left + 0.11, 0.34))
    pen.ellipse((0.43, 0.42), (0.36, 0.17))
    pen.ellipse((0.78, 0.66), (0.19, 0.18))
    pen.ellipse((0.91, 0.59), (0.1, 0.08))
    pen.ellipse((0.66, 0.6), (0.075, 0.18), pen.second)
    _eye(pen, (0.82, 0.71))
    pen.ellipse((0.97, 0.62), (0.035, 0.035), _DARK)


def _flower(pen: Pen) -> None:
    stem = (28, 120, 50)
    pen.line([(0.5, 0), (0.5, 0.5)], stem, 0.07)
    pen.ellipse((0.33, 0.18), (0.16, 0.08), stem)
    pen.ellipse((0.67, 0.18), (0.16, 0.08), stem)
    for number in range(6):
        angle = math.radians(60 * number + 30)
        middle = (0.5 + 0.2 * math.cos(angle), 0.68 + 0.2 * math.sin(angle))
        pen.ellipse(middle, (0.135, 0.135))
    warm = pen.main in (RGB[Colour.YELLOW], RGB[Colour.ORANGE], RGB[Colour.WHITE])
    pen.ellipse((0.5, 0.68), (0.12, 0.12), (150, 84, 20) if warm else (255, 226, 60))


def _ball(pen: Pen) -> None:
    pen.ellipse((0.5, 0.47), (0.47, 0.47))
    angle = math.atan2(0.16, -0.13) - pen.turn
    spot = (0.5 + 0.206 * math.cos(angle), 0.47 + 0.206 * math.sin(angle))
    pen.ellipse(spot, (0.13, 0.11), mixed(pen.main, (255, 255, 255), 0.7))


def _bird(pen: Pen) -> None:
    pen.polygon([(0.02, 0.5), (0.02, 0.28), (0.3, 0.34)])
    pen.ellipse((0.46, 0.34), (0.3, 0.16))
    pen.ellipse((0.76, 0.46), (0.15, 0.14))
    pen.polygon([(0.88, 0.5), (1, 0.44), (0.88, 0.38)], (250, 160, 20))
    pen.polygon([(0.34, 0.4), (0.6, 0.4), (0.34, 0.86), (0.2, 0.8)], pen.second)
    _eye(pen, (0.79, 0.5))


def _balloon(pen: Pen) -> None:
    pen.line([(0.5, 0.36), (0.46, 0.24), (0.54, 0.12), (0.5, 0)], _PALE_EDGE, 0.04)
    pen.polygon([(0.42, 0.3), (0.58, 0.3), (0.5, 0.42)], pen.second)
    pen.ellipse((0.5, 0.67), (0.3, 0.33))
    pen.ellipse((0.4, 0.79), (0.07, 0.09), mixed(pen.main, (255, 255, 255), 0.7))


def _kite(pen: Pen) -> None:
    pen.line([(0.5, 0.3), (0.36, 0.2), (0.5, 0.1), (0.34, 0)], _PALE_EDGE, 0.05)
    pen.polygon([(0.5, 1), (0.84, 0.66), (0.5, 0.22), (0.16, 0.66)])
    pen.line([(0.5, 0.97), (0.5, 0.26)], pen.edge, 0.04)
    pen.line([(0.2, 0.66), (0.8, 0.66)], pen.edge, 0.04)


def _mushroom(pen: Pen) -> None:
    pen.polygon([(0.38, 0.5), (0.34, 0), (0.66, 0), (0.62, 0.5)], (240, 226, 200))
    dome = [
        (0.5 + 0.5 * math.cos(math.radians(angle)), 0.42 + 0.48 * math.sin(math.radians(angle)))
        for angle in range(0, 181, 12)
    ]
    pen.polygon(dome)
    dots = (150, 150, 156) if pen.main == RGB[Colour.WHITE] else (250, 250, 250)
    for middle, radius in (((0.28, 0.58), 0.08), ((0.52, 0.72), 0.09), ((0.74, 0.56), 0.075)):
        pen.ellipse(middle, (radius, radius), dots)


def _face(pen: Pen, left: _Place, right: _Place, nose: _Place) -> None:
    _eye(pen, left)
    _eye(pen, right)
    pen.ellipse(nose, (0.045, 0.035), (230, 120, 130))


def _eye(pen: Pen, place: _Place) -> None:
    pale = pen.main == RGB[Colour.BLACK]
    pen.ellipse(place, (0.045, 0.05), (240, 236, 120) if pale else _DARK)


DRAWN: dict[Kind, Callable[[Pen], None]] = {
    Kind.HOUSE: _house,
    Kind.TREE: _tree,
    Kind.BOAT: _boat,
    Kind.CAR: _car,
    Kind.CAT: _cat,
    Kind.DOG: _dog,
    Kind.FLOWER: _flower,
    Kind.BALL: _ball,
    Kind.BIRD: _bird,
    Kind.BALLOON: _balloon,
    Kind.KITE: _kite,
    Kind.MUSHROOM: _mushroom,
}
