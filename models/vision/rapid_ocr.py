"""RapidOCR: text in pictures, in reading order or as it stands on the page.

This module owns the backend ``rapidocr``. It must not fetch anything: the wheel brings its models.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.catalog import ModelSpec
from models.contracts import Control, PictureText, Progress, TextLine, VisionRequest
from models.errors import BackendError
from models.vision.handler import Reading, VisionHandler
from models.vision.lines import Page
from models.vision.options import VisionOptions
from models.vision.tasks import Task
from models.vision.text_models import Strip, TextFinder, TextReader, bundled_folder

if TYPE_CHECKING:
    from PIL import Image


def load(spec: ModelSpec, location: str, device: str) -> VisionHandler:
    """Load the models of the wheel.

    Args:
        spec: Row of the catalogue.
        location: Folder with the three models.
        device: Ignored: they run on the CPU.

    Raises:
        ModelLoadFailed: The library or a file is missing, or damaged.
    """
    options = VisionOptions.of(spec)
    bundled_folder()  # says so where the library is missing
    folder = Path(location)
    reader = PageReader(TextFinder(folder, options.threads), TextReader(folder, options.threads))
    return VisionHandler(spec, reader, options.safety_dir)


class PageReader:
    """Reads a page: all its lines, then their order. See ``models.vision.handler.Reader``."""

    tasks: frozenset[Task] = frozenset({"ocr"})

    def __init__(self, finder: TextFinder, reader: TextReader) -> None:
        self._models: tuple[TextFinder, TextReader] | None = (finder, reader)

    def read(self, picture: Image.Image, request: VisionRequest, control: Control) -> Reading:
        """Find the lines, then read them some at a time."""
        if self._models is None:
            raise BackendError from RuntimeError("the model is closed")
        finder, reader = self._models
        strips = finder.find(picture)
        found: dict[int, tuple[str, float]] = {}
        for some in reader.read(strips, request.languages):
            if control.cancelled:
                return None
            found |= some
            yield Progress(f"line {len(found)} of {len(strips)}", len(found) / len(strips))
        return page_text(strips, [found[i] for i in range(len(strips))], layout=request.layout)

    def close(self) -> None:
        """Free the models."""
        self._models = None


def page_text(strips: list[Strip], read: list[tuple[str, float]], *, layout: bool) -> PictureText:
    """Put the lines of a page into order; leave out those without text."""
    kept = [(strip.span, *line) for strip, line in zip(strips, read, strict=True) if line[0]]
    page = Page([span for span, _, _ in kept])
    texts = [text for _, text, _ in kept]
    lines = tuple(
        TextLine(texts[i], kept[i][0].box, min(1.0, max(0.0, kept[i][2]))) for i in page.order
    )
    return PictureText(page.layout(texts) if layout else page.text(texts), lines)
