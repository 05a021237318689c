"""TrOCR: reads one line of print or handwriting at a time, so a page is cut into lines first.

This module owns the way from a page to lines and back. It must not load weights.

Source: https://huggingface.co/docs/transformers/model_doc/trocr
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from models.contracts import Control, Progress, TextDelta, VisionRequest
from models.errors import BackendError
from models.torch_errors import translated
from models.vision.generation import Decoding, Writer, Written
from models.vision.handler import Reading
from models.vision.lines import Page
from models.vision.options import VisionOptions
from models.vision.rapid_ocr import page_text
from models.vision.tasks import Task
from models.vision.text_models import Strip, TextFinder, bundled_folder

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PreTrainedModel

_LINE_TOKENS: Final = 128


class LineReader:
    """Reads the lines of a page. See ``models.vision.handler.Reader``."""

    tasks: frozenset[Task] = frozenset({"ocr"})

    def __init__(self, model: PreTrainedModel, processor: Any, options: VisionOptions) -> None:
        self._writer = Writer(model, lambda ids: processor.decode(ids, skip_special_tokens=True))
        self._processor = processor
        self._finder = TextFinder(bundled_folder(), options.threads)
        positions = int(model.config.decoder.max_position_embeddings)
        self._decoding = Decoding(min(_LINE_TOKENS, positions - 1))

    def read(self, picture: Image.Image, request: VisionRequest, control: Control) -> Reading:
        """Find the lines, then read them in the order of the page, telling each as it comes."""
        strips = self._finder.find(picture)
        read = [("", 0.0)] * len(strips)
        told = False
        order = Page([strip.span for strip in strips]).order
        for number, index in enumerate(order, start=1):
            if control.cancelled:
                return None
            yield Progress(f"line {number} of {len(strips)}", (number - 1) / len(strips))
            line = self._line(strips[index], control)
            if line is None:
                return None
            read[index] = (line.text, line.confidence)
            if line.text and not request.layout:
                yield TextDelta(f"\n{line.text}" if told else line.text)
                told = True
        return page_text(strips, read, layout=request.layout)

    def _line(self, strip: Strip, control: Control) -> Written | None:
        from PIL import Image

        with translated(BackendError):
            line = Image.fromarray(strip.pixels[:, :, ::-1])
            inputs = {"pixel_values": self._processor(line, return_tensors="pt").pixel_values}
        return self._writer.whole(inputs, self._decoding, lambda: control.cancelled)

    def close(self) -> None:
        """Free the memory of the models."""
        self._writer.close()
