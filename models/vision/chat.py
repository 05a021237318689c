"""Models that talk about pictures: captions, descriptions, alt text, answers.

This module owns what such a model is asked for each task. It must not load weights.

Source: https://huggingface.co/docs/transformers/main/en/chat_templating_multimodal
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from models.contracts import Control, Notice, PictureText, VisionRequest
from models.errors import BackendError, InputTooLong
from models.torch_errors import translated
from models.vision.generation import Decoding, Writer
from models.vision.handler import Reading
from models.vision.options import VisionOptions
from models.vision.tasks import TASKS, Task

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PreTrainedModel

_PROMPTS: Final[dict[Task, tuple[str, int]]] = {
    "caption": ("Describe this picture in one short sentence.", 64),
    "detailed": (
        "Describe this picture in detail: what is in it, where things are, what happens, the"
        " colours and the mood. Describe only what can be seen.",
        512,
    ),
    "alt_text": (
        "Write alt text for this picture, for people who cannot see it: one or two plain sentences"
        " on what matters in it, without words like 'image of'.",
        128,
    ),
    "ocr": (
        "Write down all text in this picture exactly as it stands there, line by line, and nothing"
        " else. If there is no text in it, answer: no text",
        2048,
    ),
}
"""What to say for a task, and the longest answer to it in tokens."""

_NO_TEXT: Final = re.compile(r"\W*(there is )?no text\W*", re.IGNORECASE)


class Talker:
    """Answers in words. See ``models.vision.handler.Reader``."""

    tasks: frozenset[Task] = TASKS

    def __init__(self, model: PreTrainedModel, processor: Any, options: VisionOptions) -> None:
        self._writer = Writer(model, lambda ids: processor.decode(ids, skip_special_tokens=True))
        self._processor = processor
        self._options = options
        text = model.config.get_text_config()
        self._context_tokens = int(getattr(text, "max_position_embeddings", None) or 2**20)

    def read(self, picture: Image.Image, request: VisionRequest, control: Control) -> Reading:
        """Ask about a picture, and tell the answer as it comes.

        Raises:
            InputTooLong: Picture and question do not fit into the model's context.
        """
        prompt, most = _PROMPTS.get(request.task, (request.question.strip(), 4096))
        if request.task == "ocr" and request.languages:
            prompt += f" Languages (BCP 47) of the text: {', '.join(request.languages)}"
        with translated(BackendError):
            inputs = self._inputs(picture, prompt)
        room = self._context_tokens - int(inputs["input_ids"].shape[1])
        if room < 1:
            raise InputTooLong("The picture and the question are more than this model can take.")
        options = self._options
        decoding = Decoding(
            min(most, options.max_new_tokens, room),
            repetition_penalty=options.repetition_penalty,
            streams=True,
        )
        written = yield from self._writer.write(inputs, decoding, lambda: control.cancelled)
        if written is None:
            return None
        if written.cut:
            yield Notice(f"The answer was cut off at {decoding.max_new_tokens} tokens.")
        if request.task == "ocr" and _NO_TEXT.fullmatch(written.text):
            return PictureText("")
        return PictureText(written.text)

    def _inputs(self, picture: Image.Image, prompt: str) -> Any:
        content = [{"type": "image"}, {"type": "text", "text": self._harmless(prompt)}]
        chat = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return self._processor(text=[chat], images=[picture], return_tensors="pt")

    def _harmless(self, text: str) -> str:
        """Take out of a member's text what the model would read as control tokens."""
        tokenizer = self._processor.tokenizer
        added = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
        control = [token for token in added if token.strip()]
        while any(token in text for token in control):
            for token in control:
                text = text.replace(token, "")
        return text

    def close(self) -> None:
        """Free the memory of the model."""
        self._writer.close()
