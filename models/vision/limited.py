"""Captioning models that know some kinds of pictures alone: what is said of the others.

This module owns that answer: that the model does not know the picture, what it does know and how
to get one that knows more, and the text in the picture, which RapidOCR reads. It must not know an
architecture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from models.contracts import Control, Notice, PictureText, VisionRequest
from models.errors import ModelLoadFailed
from models.vision.generation import Written
from models.vision.handler import Reading
from models.vision.options import Limits
from models.vision.rapid_ocr import PageReader
from models.vision.text_models import TextFinder, TextReader, bundled_folder

if TYPE_CHECKING:
    from PIL import Image

_LEAST_LETTERS: Final = 3
"""What is shorter is the pattern of a leaf or of fur more often than text."""


class Boundary:
    """Tells pictures that a model knows from others, by what it writes."""

    def __init__(self, limits: Limits, threads: int = 0) -> None:
        self._limits = limits
        self._threads = threads
        self._reader: PageReader | None = None

    def leaves_out(self, written: Written) -> bool:
        """Return whether a sentence says, or is so unsure that it means, "I do not know it"."""
        said, stranger = (text.lower().strip(" .") for text in (written.text, self._limits.unknown))
        return said == stranger or written.confidence < self._limits.sure_from

    def answer(self, picture: Image.Image, request: VisionRequest, control: Control) -> Reading:
        """Say that the picture is unknown, and what text is in it."""
        limits = self._limits
        yield Notice(
            f"This model only knows {limits.knows}. The owner gets one for photos with "
            f"`python -m bot models pull {limits.better}`."
        )
        read = yield from self._read(picture, request, control)
        if read is None:
            return None
        letters = sum(character.isalnum() for character in read.text)
        lines = read.lines if letters >= _LEAST_LETTERS else ()
        return PictureText(f"{limits.unknown.rstrip('.')}.", lines)

    def close(self) -> None:
        """Free the models that read text."""
        if self._reader is not None:
            self._reader.close()

    def _read(self, picture: Image.Image, request: VisionRequest, control: Control) -> Reading:
        if self._reader is None:
            try:
                folder = bundled_folder()
            except ModelLoadFailed:  # an extra that the owner did without
                return PictureText("")
            threads = self._threads
            self._reader = PageReader(TextFinder(folder, threads), TextReader(folder, threads))
        return (yield from self._reader.read(picture, request, control))
