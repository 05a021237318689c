"""BLIP: one sentence about a picture, or a short answer to a question about it.

This module owns how BLIP is asked, and any other model that writes but sentences. It must not load
weights.

Source: https://huggingface.co/docs/transformers/model_doc/blip
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from models.contracts import Control, PictureText, VisionRequest
from models.errors import BackendError, InputTooLong
from models.torch_errors import translated
from models.vision.generation import Decoding, Writer, Writing, Written
from models.vision.handler import Reading
from models.vision.limited import Boundary
from models.vision.options import VisionOptions
from models.vision.tasks import Task

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PreTrainedModel

_CAPTION_TOKENS: Final = 50
_ANSWER_TOKENS: Final = 20


class Captioner:
    """Writes one sentence about a picture. See ``models.vision.handler.Reader``."""

    tasks: frozenset[Task] = frozenset({"caption", "alt_text"})

    def __init__(self, model: PreTrainedModel, processor: Any, options: VisionOptions) -> None:
        self._writer = Writer(model, lambda ids: processor.decode(ids, skip_special_tokens=True))
        self._processor = processor
        longest = min(_CAPTION_TOKENS, _room(model))
        self._decoding = Decoding(longest, options.num_beams, options.repetition_penalty)
        self._boundary = Boundary(options.limits, options.threads) if options.limits else None

    def read(self, picture: Image.Image, request: VisionRequest, control: Control) -> Reading:
        """Caption a picture, or say that the model does not know such pictures."""
        written = yield from self.write(picture, lambda: control.cancelled)
        if written is None:
            return None
        if self._boundary is not None and self._boundary.leaves_out(written):
            return (yield from self._boundary.answer(picture, request, control))
        return _sentence(written)

    def write(self, picture: Image.Image, cancelled: Callable[[], bool]) -> Writing:
        """Write a sentence about a picture; see ``models.vision.generation.Writer``."""
        with translated(BackendError):
            inputs = self._processor(images=picture, return_tensors="pt")
        return (yield from self._writer.write(inputs, self._decoding, cancelled))

    def close(self) -> None:
        """Free the memory of the model."""
        self._writer.close()
        if self._boundary is not None:
            self._boundary.close()


class Answerer:
    """Answers a question in a word or two. See ``models.vision.handler.Reader``."""

    tasks: frozenset[Task] = frozenset({"question"})

    def __init__(self, model: PreTrainedModel, processor: Any, options: VisionOptions) -> None:
        self._writer = Writer(model, lambda ids: processor.decode(ids, skip_special_tokens=True))
        self._processor = processor
        self._decoding = Decoding(_ANSWER_TOKENS, options.num_beams, options.repetition_penalty)
        self._longest = int(model.config.text_config.max_position_embeddings)

    def read(self, picture: Image.Image, request: VisionRequest, control: Control) -> Reading:
        """Answer about a picture.

        Raises:
            InputTooLong: The question is longer than the model reads.
        """
        question = " ".join(request.question.split())
        with translated(BackendError):
            inputs = self._processor(images=picture, text=question, return_tensors="pt")
        if inputs["input_ids"].shape[1] > self._longest:
            raise InputTooLong(
                "The question is longer than this model can read. Please shorten it."
            )
        written = yield from self._writer.write(inputs, self._decoding, lambda: control.cancelled)
        return None if written is None else _sentence(written)

    def close(self) -> None:
        """Free the memory of the model."""
        self._writer.close()


def _room(model: PreTrainedModel) -> int:
    """Return how many tokens a model can write at most."""
    text = model.config.get_text_config(decoder=True)
    return int(getattr(text, "max_position_embeddings", _CAPTION_TOKENS))


def _sentence(written: Written) -> PictureText:
    """Give what was written a capital letter. The words come at once: they are few."""
    return PictureText(written.text[:1].upper() + written.text[1:])
