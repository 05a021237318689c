"""What can be asked about a picture, and which kind of model can answer.

This module owns the refusal of a task that a model cannot do. It must not know a library.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from models.catalog import ModelSpec
from models.contracts import VisionRequest
from models.errors import EmptyInput, UnsupportedOption

Task = Literal["caption", "detailed", "alt_text", "ocr", "question"]

TASKS: Final[frozenset[Task]] = frozenset({"caption", "detailed", "alt_text", "ocr", "question"})

LAYOUT: Final = "layout"
"""Capability of a model whose text keeps its place on the page."""

_WHO: Final[dict[Task, tuple[str, str]]] = {
    "caption": ("write captions", "A captioning model (BLIP) or one that talks (SmolVLM, Qwen-VL)"),
    "detailed": ("describe pictures in detail", "A model that talks (SmolVLM, Qwen-VL)"),
    "alt_text": (
        "write alt text",
        "A captioning model (BLIP) or one that talks (SmolVLM, Qwen-VL)",
    ),
    "ocr": ("read text in pictures", "A reading model (RapidOCR, TrOCR)"),
    "question": (
        "answer questions about pictures",
        "A question answering model (BLIP VQA) or one that talks (SmolVLM, Qwen-VL)",
    ),
}


def tasks_of(spec: ModelSpec, able: Collection[Task]) -> frozenset[Task]:
    """Return what a model does: what its kind is able to and the catalogue says of it."""
    return frozenset(able) & frozenset(spec.capabilities)


def check_task(spec: ModelSpec, tasks: Collection[Task], request: VisionRequest) -> None:
    """Refuse what the model cannot do, before anything is computed.

    Raises:
        UnsupportedOption: With a sentence that names the kind of model that can.
        EmptyInput: There is no question to answer.
    """
    if request.task not in tasks:
        what, who = _WHO[request.task]
        raise UnsupportedOption(f"{spec.name} can't {what}. {who} can; `/models` lists them.")
    if request.layout and request.task == "ocr" and LAYOUT not in spec.capabilities:
        raise UnsupportedOption(
            f"{spec.name} can't keep the layout of a page. RapidOCR and TrOCR can."
        )
    if request.task == "question" and not request.question.strip():
        raise EmptyInput("There is no question: what should be answered about the picture?")
    if request.task == "ocr" and spec.languages:
        known = {code.split("-")[0] for code in spec.languages}
        strange = [code for code in request.languages if code.split("-")[0].lower() not in known]
        if strange:
            raise UnsupportedOption(f"{spec.name} can't read the language `{strange[0][:20]}`.")
