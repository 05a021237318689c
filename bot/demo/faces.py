"""Avatars for the demo: a sextant for the bot, an initial for each member.

This module owns how they look. They are drawn at four times their size, so that edges are smooth.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image, ImageDraw, ImageFont

_SIZE: Final = 128
_DRAWN: Final = _SIZE * 4
_INK: Final = "#fff7e6"


def bot_face() -> bytes:
    """Return the bot's avatar as PNG."""
    image, draw = _disc("#8a5a00")
    wide = _DRAWN // 22

    def at(x: float, y: float) -> tuple[float, float]:
        return x * _DRAWN, y * _DRAWN

    apex, left, right = at(0.5, 0.2), at(0.27, 0.7), at(0.73, 0.7)
    draw.line([left, apex, right], fill=_INK, width=wide, joint="curve")
    draw.arc([*at(0.12, -0.02), *at(0.88, 0.8)], 52, 128, fill=_INK, width=wide)
    draw.line([at(0.37, 0.49), at(0.63, 0.49)], fill=_INK, width=wide)
    draw.line([apex, at(0.56, 0.79)], fill=_INK, width=wide // 2)
    dot = 0.055
    draw.ellipse([*at(0.5 - dot, 0.2 - dot), *at(0.5 + dot, 0.2 + dot)], fill=_INK)
    return _png(image)


def member_face(name: str, colour: str) -> bytes:
    """Return a member's avatar as PNG: the initial on a disc."""
    image, draw = _disc(colour)
    font = ImageFont.load_default(_DRAWN * 0.5)
    draw.text((_DRAWN / 2, _DRAWN / 2), name[0], fill="white", font=font, anchor="mm")
    return _png(image)


def _disc(colour: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGBA", (_DRAWN, _DRAWN), colour)
    return image, ImageDraw.Draw(image)


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.resize((_SIZE, _SIZE), Image.Resampling.LANCZOS).save(file, "PNG")
    return file.getvalue()
