"""How large a picture or clip is wished: from a shape, from numbers, or from a reference.

This module owns that reading. What a model can make of a size is the backend's business, which
rounds and says so. It is pure.
"""

from __future__ import annotations

import math
import re

from models.errors import InvalidRequest

ASPECTS = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16", "21:9")

_STEP_PX = 16
_SMALLEST_PX, _LARGEST_PX = 16, 4096
_SIZE = re.compile(r"\s*(\d{2,4})\s*[x×*:, ]\s*(\d{2,4})\s*", re.IGNORECASE)


def size_of(text: str) -> tuple[int, int]:
    """Read a size such as ``768x512``.

    Raises:
        InvalidRequest: It is none, or out of bounds.
    """
    match = _SIZE.fullmatch(text)
    width, height = (int(side) for side in match.groups()) if match else (0, 0)
    if not _SMALLEST_PX <= min(width, height) <= max(width, height) <= _LARGEST_PX:
        raise InvalidRequest(
            f"A size is width x height in pixels, such as `768x512`: {_SMALLEST_PX} to "
            f"{_LARGEST_PX} a side."
        )
    return width, height


def size_for(aspect: str, pixels: float) -> tuple[int, int]:
    """Return the size of a shape such as ``16:9`` that has about so many pixels.

    Raises:
        InvalidRequest: It is no shape.
    """
    try:
        wide, high = (float(side) for side in aspect.split(":"))
        return fitted(wide, high, pixels)
    except (ValueError, ZeroDivisionError) as error:
        raise InvalidRequest(f"`{aspect[:20]}` is no shape; one is `3:2`.") from error


def fitted(wide: float, high: float, pixels: float) -> tuple[int, int]:
    """Return a size of about the shape of another one that has about so many pixels."""
    ratio = min(max(wide / high, 1 / 4), 4.0)
    width = math.sqrt(pixels * ratio)
    return _rounded(width), _rounded(width / ratio)


def _rounded(side: float) -> int:
    return min(max(round(side / _STEP_PX) * _STEP_PX, _SMALLEST_PX), _LARGEST_PX)
