"""What pictures and clips have in common while they form: their start, their steps, looks at them.

This module owns the picture that one starts from, and what is told after each step. It must not
call a library that computes, and knows no requests.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from models.contracts import Control, MediaInput, Notice, Preview
from models.image.pictures import JPEG, encode_preview, read_picture
from models.image.safety import SafetyClassifier, screened

if TYPE_CHECKING:
    import torch
    from PIL import Image

_ALIKE = 0.05
"""Shapes that differ by less are alike."""


@dataclass(frozen=True, slots=True)
class Start:
    """A picture to start from, and what the safety check says of it."""

    image: Image.Image
    unsafe_score: float | None

    def fitted(self, width_px: int, height_px: int) -> Image.Image:
        """Return it at a size, without the edges that are too much."""
        from PIL import ImageOps

        return ImageOps.fit(self.image, (width_px, height_px))


@dataclass(frozen=True, slots=True)
class Step:
    """What the pipeline's thread tells after a step; ``look`` is what there is to see, if asked."""

    number: int
    total: int
    look: Image.Image | None = None

    @property
    def fraction(self) -> float:
        return min(1.0, self.number / self.total)

    def stage(self, what: str) -> str:
        """Return what is done now to a picture or clip."""
        last = self.number >= self.total
        return f"developing the {what}" if last else f"step {self.number} of {self.total}"


class Colours(Protocol):
    """Shows latents; see ``models.image.latents``."""

    def picture(self, latents: torch.Tensor, width_px: int, height_px: int) -> Image.Image:
        """Show what the latents will be, of which the size is that of the result."""


class Looks:
    """Tells of each step, with a look at the latents now and then: a callback of the pipeline.

    Args:
        tell: Called with each step.
        colours: None where the latents cannot be shown.
        every_s: Shortest time between two looks, in seconds.
        size: Of the picture or clip to come.
    """

    def __init__(
        self,
        tell: Callable[[Step], None],
        colours: Colours | None,
        every_s: float,
        size: tuple[int, int],
    ) -> None:
        self._tell = tell
        self._colours = colours
        self._every_s = every_s
        self._size = size
        self._last = time.monotonic()

    def __call__(self, number: int, total: int, latents: torch.Tensor) -> None:
        """Tell of a step; numbers are from 1."""
        look = None
        due = time.monotonic() - self._last >= self._every_s
        if due and self._colours is not None and number < total:
            look = self._colours.picture(latents, *self._size)
            self._last = time.monotonic()
        self._tell(Step(number, total, look))


def start_from(
    media: MediaInput | None,
    control: Control,
    safety: SafetyClassifier | None,
    blocked_from: float | None,
) -> Generator[Notice, None, Start | None]:
    """Open the picture to start from, if there is one; the value is that picture.

    Raises:
        InvalidMedia: It is not a picture, is damaged, or may not be used.
    """
    if media is None:
        return None
    read = read_picture(control.open(media))
    yield from (Notice(sentence) for sentence in read.notices)
    return Start(read.image, screened(safety, read.image, blocked_from))


def is_cut(start: Start, width_px: int, height_px: int) -> bool:
    """Return whether a picture of that size loses edges of the one that it starts from."""
    ratio = (width_px / height_px) / (start.image.width / start.image.height)
    return not 1 - _ALIKE < ratio < 1 + _ALIKE


def score_of(start: Start | None) -> float | None:
    """Return how explicit the picture is that one starts from, if that is known."""
    return start.unsafe_score if start else None


def look_at(
    step: Step, control: Control, safety: SafetyClassifier | None, start: Start | None
) -> Iterator[Preview]:
    """Show what there is to see after a step, unless the safety check is against it."""
    look, score = step.look, score_of(start)
    if look is not None and (safety is None or safety.allows_preview(look, score)):
        yield Preview(control.store(encode_preview(look), "preview.jpg", JPEG))


def seed_or_new(seed: int | None) -> int:
    """Return a seed, drawn anew where none is wished."""
    return secrets.randbits(32) if seed is None else seed
