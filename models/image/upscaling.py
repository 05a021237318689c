"""Making a finished picture larger with a resampler.

This module owns the enlargement. What a picture says about its making goes along.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.errors import UnsupportedOption
from models.image.pictures import fit_bytes, open_picture, said_by

FACTOR: Final = 2
MAX_SIDE_PX: Final = 4096


@dataclass(frozen=True, slots=True)
class Enlarged:
    """A larger picture: its bytes and type, its size before and after."""

    data: bytes
    content_type: str
    from_px: tuple[int, int]
    to_px: tuple[int, int]


def enlarge(file: Path, max_bytes: int) -> Enlarged:
    """Double the sides of a picture; takes a second or so of one core.

    Args:
        file: The picture.
        max_bytes: Bound of the file that is made.

    Raises:
        UnsupportedOption: It is as large already as it gets.
        HandlerError: It cannot be read, or the larger one does not fit.
    """
    from PIL import Image

    image = open_picture(file)
    width, height = image.width * FACTOR, image.height * FACTOR
    if max(width, height) > MAX_SIDE_PX:
        raise UnsupportedOption(
            f"This picture has {image.width} × {image.height} pixels; up to {MAX_SIDE_PX} a side "
            "can be made, so it stays as it is."
        )
    larger = image.resize((width, height), Image.Resampling.LANCZOS)
    data, content_type = fit_bytes(larger, max_bytes, said_by(file))
    return Enlarged(data, content_type, image.size, larger.size)
