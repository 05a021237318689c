"""What the tour takes for a picture, a clip and a description."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bot.demo import checks
from bot.demo.checks import StepFailed
from models.errors import HandlerError
from models.video.mp4 import encode
from tests.fake_pictures import picture


def sailing(frames: int, px_per_frame: int) -> bytes:
    """Return a clip of a red square on blue that moves so fast."""
    shown = []
    for number in range(frames):
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[..., 2] = 200
        left = 4 + px_per_frame * number
        frame[20:36, left : left + 16] = (220, 20, 20)
        shown.append(frame)
    return encode(shown, 8, {}).data


def test_a_clip_in_which_something_moves() -> None:
    seconds, middle = checks.moving_s(sailing(17, 2))
    assert seconds == pytest.approx(17 / 8)
    red, _, blue = middle.getpixel((28, 28))  # 4 + 2 * 8 + half of the square
    assert red > 150 > 100 > blue


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (sailing(17, 0), "nothing moves in the clip"),
        (sailing(4, 2), "the clip has 4 frames"),
    ],
)
def test_a_clip_that_is_none(clip: bytes, message: str) -> None:
    with pytest.raises(StepFailed, match=message):
        checks.moving_s(clip)
    with pytest.raises(HandlerError):
        checks.moving_s(clip[:200])


def test_a_picture() -> None:
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (50, 1)))
    file = io.BytesIO()
    ramp.save(file, "PNG")
    assert checks.shown_px(file.getvalue()) == (200, 50)
    with pytest.raises(StepFailed, match="all but one colour"):
        checks.shown_px(picture("red"))
    with pytest.raises(HandlerError):
        checks.shown_px(file.getvalue()[:60])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A big red boat on the sea at sunset, under a clear sky", True),
        ("A sailboat, painted RED.", True),
        ("A red ball on the grass", False),
        ("A boat that is covered with snow", False),
        ("I do not know this kind of picture.", False),
    ],
)
def test_a_description_names_colour_and_kind(text: str, names: bool) -> None:
    assert checks.names(text, "red", "boat") is names
