"""What an enlargement is to be: its size, the tiles that it is made in, what the file then says.

This module owns that reckoning. It is pure, and knows no library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from typing import Final

from models.errors import UnsupportedOption

MAX_SIDE_PX: Final = 4096
_SMALLEST_SIDE_PX: Final = 64

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture: what is made of it, and the larger part that is looked at for that."""

    kept: Box
    seen: Box

    def kept_of_enlarged(self, factor: int) -> Box:
        """Return where ``kept`` lies in ``seen`` once that has been enlarged."""
        left, top = self.seen[:2]
        x0, y0, x1, y1 = self.kept
        return (x0 - left) * factor, (y0 - top) * factor, (x1 - left) * factor, (y1 - top) * factor


def enlarged_size(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return the size of a picture that is made larger.

    Raises:
        UnsupportedOption: It is as large already as it gets.
    """
    width, height = size
    if max(size) * factor > MAX_SIDE_PX:
        raise UnsupportedOption(
            f"This picture has {width} × {height} pixels; up to {MAX_SIDE_PX} a side can be made, "
            "so it stays as it is."
        )
    return width * factor, height * factor


@dataclass(frozen=True, slots=True)
class Tiling:
    """How pictures are cut into tiles.

    Attributes:
        side_px: What is seen of a tile has at most this many pixels a side.
        overlap_px: How far a tile sees beyond what is kept of it, where the picture goes on.
        window_px: Tiles begin at multiples of this. A network that looks through windows then has
            them where it would have them in the whole picture, and no seam comes of it.
    """

    side_px: int
    overlap_px: int
    window_px: int = 1

    def cuts(self, length: int) -> list[int]:
        """Return where a side is cut, with its two ends: into as few even parts as will do."""
        if length <= self.side_px:
            return [0, length]
        most = (self.side_px - 2 * self.overlap_px) // self.window_px
        windows = ceil(length / self.window_px)
        part = ceil(windows / ceil(windows / most)) * self.window_px
        return [*range(0, length, part), length]

    def smaller(self) -> Tiling | None:
        """Return tiles of half the side; None where that would be too little to see anything."""
        side_px = self.side_px // 2
        least = max(_SMALLEST_SIDE_PX, 2 * self.overlap_px + self.window_px)
        return None if side_px < least else replace(self, side_px=side_px)


def tiles_of(size: tuple[int, int], tiling: Tiling) -> list[Tile]:
    """Cut a picture of so many pixels into tiles, row by row."""
    width, height = size
    columns, rows = (tiling.cuts(length) for length in size)
    overlap_px = tiling.overlap_px
    return [
        Tile(
            (left, top, right, bottom),
            (
                max(0, left - overlap_px),
                max(0, top - overlap_px),
                min(width, right + overlap_px),
                min(height, bottom + overlap_px),
            ),
        )
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def enlarged_metadata(
    said: Mapping[str, str], upscaler: str, from_px: tuple[int, int], how: Mapping[str, str | int]
) -> dict[str, str]:
    """Return what the file of an enlargement says: what the picture said, and what enlarged it.

    Args:
        said: By the picture that was enlarged; its recipe is kept.
        upscaler: What enlarged it.
        from_px: The size before.
        how: What else the enlargement can be repeated with.
    """
    try:
        recipe = json.loads(said.get("recipe", "{}"))
    except ValueError:  # not one of ours
        recipe = {}
    if not isinstance(recipe, dict):
        recipe = {}
    size = "x".join(map(str, from_px))
    recipe["upscaling"] = {"upscaler": upscaler, "from": size, **how}
    return {
        "Software": "Sextant",
        **said,
        "upscaler": upscaler,
        "recipe": json.dumps(recipe, sort_keys=True),
    }
