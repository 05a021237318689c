"""What clips from any source say about themselves, and how they are looked at.

This module owns the metadata of clips. It must not put a member's words into a file.

Source: https://iptc.org/standards/photo-metadata/ (Digital Source Type)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LOOKED_AT: Final = 5
"""Frames of a clip that the safety classifier looks at."""

CROPPED: Final = "The first frame has another shape than the clip, so its edges were cut off."

_XMP = "XML:com.adobe.xmp"


def clip_metadata(entries: Mapping[str, str]) -> dict[str, str]:
    """Return what an MP4 should say, from what a picture would; see ``metadata_of``.

    What players show is the comment; XMP has no place that FFmpeg can write, so that the type of
    the source gets a line of its own.
    """
    found = {key.lower(): value for key, value in entries.items() if key != _XMP}
    found["comment"] = found["source"]
    found["digitalsourcetype"] = (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    return found
