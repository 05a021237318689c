"""What the files and words that the bot sends must be, looked at as their reader would.

This module owns decoding and comparing. It knows nothing of the channel, nor of who is asked.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import Image

_LEAST_SHADES: Final = 32
_LEAST_FRAMES: Final = 8
_STILLS: Final = 5
_OTHER_SHADE: Final = 24
_MOVED_SHARE: Final = 0.005
"""A pixel has changed when it is so many shades of 256 off; where so few have, nothing moves."""


class StepFailed(Exception):
    """A step did not bring about what it should. The message says what came instead."""


def spoken_s(data: bytes) -> float:
    """Decode a voice message to its end and return its length in seconds.

    Raises:
        HandlerError: It cannot be decoded.
        StepFailed: It is not Ogg Opus.
    """
    from models.media import SAMPLING_RATE_HZ, decode_audio, probe_audio

    with tempfile.NamedTemporaryFile(suffix=".ogg") as file:
        file.write(data)
        file.flush()
        path = Path(file.name)
        codec = probe_audio(path).codec
        if codec != "opus" or not data.startswith(b"OggS"):
            raise StepFailed(f"the voice message is {codec}, not Ogg Opus")
        return sum(block.size for block in decode_audio(path)) / SAMPLING_RATE_HZ


def shown_px(data: bytes) -> tuple[int, int]:
    """Decode a picture and return its width and height.

    Raises:
        HandlerError: It cannot be decoded.
        StepFailed: It is all but one colour.
    """
    import numpy as np

    from models.image.pictures import open_picture

    image = open_picture(data)
    if np.ptp(np.asarray(image.convert("L"))) < _LEAST_SHADES:
        raise StepFailed("the picture is all but one colour")
    return image.size


def moving_s(data: bytes) -> tuple[float, Image.Image]:
    """Decode a clip to its end and return its length in seconds and the frame in its middle.

    Raises:
        HandlerError: It cannot be decoded.
        StepFailed: It is not H.264, it is too short to be called a clip, or nothing moves in it.
    """
    from models.video.reading import decoded, opened, stills

    with opened(data) as source:
        stream = source.streams.video[0]
        codec, fps = stream.codec_context.name, float(stream.average_rate or 1)
        frames = sum(1 for _ in decoded(source))
    if codec != "h264":
        raise StepFailed(f"the clip is {codec}, not H.264")
    if frames < _LEAST_FRAMES:
        raise StepFailed(f"the clip has {frames} frames")
    images = stills(data, _STILLS)
    if max(_changed(images[0], image) for image in images) < _MOVED_SHARE:
        raise StepFailed("nothing moves in the clip")
    return frames / fps, images[len(images) // 2]


def names(text: str, colour: str, kind: str) -> bool:
    """Return whether a description has both words; a sailboat is a boat, nothing covered is red."""
    said = re.findall(r"\w+", text.lower())
    return colour in said and any(word.endswith(kind) for word in said)


def likeness(one: str, other: str) -> float:
    """Return how alike two sentences are, word by word, from 0 to 1."""
    heard, said = (re.findall(r"\w+", text.lower()) for text in (one, other))
    return difflib.SequenceMatcher(a=heard, b=said).ratio()


def _changed(one: Image.Image, other: Image.Image) -> float:
    """Return the share of pixels that differ, from 0 to 1."""
    import numpy as np

    before, after = (np.asarray(image, np.int16) for image in (one, other))
    return float((np.abs(after - before).max(axis=2) > _OTHER_SHADE).mean())
