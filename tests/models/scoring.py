"""A safety classifier that finds explicit what is blue."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from models.contracts import MediaInput
from models.image.safety import SafetyClassifier
from tests.models.control import ScratchControl

EXPLICIT, HARMLESS = 0.9, 0.1


class DislikesBlue(SafetyClassifier):
    """Scores blue pictures 0.9, all others 0.1."""

    def __init__(self) -> None: ...

    def score(self, image: Image.Image) -> float:
        red, _, blue = image.convert("RGB").resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
        return EXPLICIT if blue > 2 * red + 40 else HARMLESS


def dislike_blue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every backend that is loaded with a ``safety_dir`` use that classifier."""
    monkeypatch.setattr(SafetyClassifier, "load", lambda place: DislikesBlue() if place else None)


def plain(control: ScratchControl, colour: str) -> MediaInput:
    """Store a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return control.store(file.getvalue(), f"{colour}.png", "image/png")
