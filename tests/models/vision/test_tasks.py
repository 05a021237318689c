"""A model refuses what it cannot do, and says which kind can."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.catalog import ModelSpec
from models.contracts import MediaInput, VisionRequest
from models.errors import EmptyInput, UnsupportedOption
from models.vision.tasks import TASKS, Task, check_task, tasks_of

PICTURE = MediaInput("a", "a.png", "image/png", 1, "0" * 64)
MakeSpec = Callable[..., ModelSpec]


def test_does_what_kind_and_catalogue_agree_on(spec: MakeSpec) -> None:
    assert tasks_of(spec("caption", "ocr", "layout"), {"caption", "question"}) == {"caption"}


@pytest.mark.parametrize(
    ("task", "who"),
    [
        ("caption", "BLIP"),
        ("detailed", "SmolVLM"),
        ("alt_text", "BLIP"),
        ("ocr", "RapidOCR"),
        ("question", "BLIP VQA"),
    ],
)
def test_says_who_can(task: Task, who: str, spec: MakeSpec) -> None:
    request = VisionRequest((PICTURE,), task, question="why?")
    with pytest.raises(UnsupportedOption, match=who) as refused:
        check_task(spec(), TASKS - {task}, request)
    assert refused.value.user_message.startswith("Tiny can't ")
    check_task(spec(), TASKS, request)


def test_layout_is_a_capability(spec: MakeSpec) -> None:
    request = VisionRequest((PICTURE,), "ocr", layout=True)
    with pytest.raises(UnsupportedOption, match="layout"):
        check_task(spec(), TASKS, request)
    check_task(spec("layout"), TASKS, request)


@pytest.mark.parametrize("question", ["", " \n"])
def test_a_question_needs_words(question: str, spec: MakeSpec) -> None:
    with pytest.raises(EmptyInput, match="no question"):
        check_task(spec(), TASKS, VisionRequest((PICTURE,), "question", question=question))


def test_languages_that_it_cannot_read_are_refused(spec: MakeSpec) -> None:
    latin = spec(languages=("en", "zh-Hant"))
    check_task(latin, TASKS, VisionRequest((PICTURE,), "ocr", languages=("en-GB", "zh")))
    with pytest.raises(UnsupportedOption, match="`th`"):
        check_task(latin, TASKS, VisionRequest((PICTURE,), "ocr", languages=("th",)))
    check_task(spec(), TASKS, VisionRequest((PICTURE,), "ocr", languages=("th",)))
