"""Models that talk about pictures: tiny SmolVLM and Qwen-VL of the real architectures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.catalog import ModelSpec
from models.contracts import MediaInput, TextDelta, VisionRequest, VisionResult
from models.errors import InputTooLong, UnsupportedOption
from models.vision.handler import VisionHandler
from models.vision.image_text import load
from models.vision.tasks import TASKS, Task
from tests.models.checkpoints_talkers import TALKERS
from tests.models.checkpoints_vision import drawing
from tests.models.control import ScratchControl, notices, result_of, streamed

MakeSpec = Callable[..., ModelSpec]
MakeMedia = Callable[..., MediaInput]
Talker = Callable[..., Path]

END = {"smolvlm": "<end_of_utterance>", "qwen2_5_vl": "<|im_end|>", "qwen3_vl": "<|im_end|>"}
RECITAL = (" red", " and", " blue", ".", " It")
TEXT = "red and blue. It"


def answer_of(events: list[Any]) -> str:
    result = result_of(events)
    assert isinstance(result, VisionResult)
    return result.answers[0].text


@pytest.fixture
def handler(request: pytest.FixtureRequest, talker: Talker, spec: MakeSpec) -> VisionHandler:
    """A model of random weights, of the family that the test names."""
    return load(spec(*TASKS, max_new_tokens=16), str(talker(request.param)), "cpu")


@pytest.mark.parametrize("family", TALKERS)
@pytest.mark.parametrize("task", sorted(TASKS))
def test_each_task_is_answered(
    family: str,
    task: Task,
    talker: Talker,
    spec: MakeSpec,
    media: MakeMedia,
    control: ScratchControl,
) -> None:
    handler = load(spec(*TASKS), str(talker(family, *RECITAL, END[family])), "cpu")
    images = (media(drawing("red", "circle")),)
    events = list(handler.run(VisionRequest(images, task, question="why?"), control))
    assert answer_of(events) == streamed(events) == TEXT
    assert notices(events) == []


@pytest.mark.parametrize("handler", TALKERS, indirect=True)
def test_decodes_as_the_library_does(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    import torch

    picture = drawing("blue", "square", side_px=90)
    request = VisionRequest((media(picture),), "question", question="What colour is it?")
    text = answer_of(list(handler.run(request, control)))
    processor = handler._reader._processor  # type: ignore[attr-defined]
    content = [{"type": "image", "image": picture}, {"type": "text", "text": request.question}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    model = handler._reader._writer._model  # type: ignore[attr-defined]
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=16, do_sample=False)
    expected = output[0, inputs["input_ids"].shape[1] :]
    assert text
    assert text == processor.decode(expected, skip_special_tokens=True).strip()


@pytest.mark.parametrize("handler", TALKERS, indirect=True)
def test_picture_and_question_count_and_nothing_else(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    def ask(colour: str, question: str) -> str:
        images = (media(drawing(colour, "square")),)
        request = VisionRequest(images, "question", question=question)
        return answer_of(list(handler.run(request, control)))

    first = ask("red", "What colour is it?")
    assert first == ask("red", "What colour is it?")
    assert first != ask("blue", "What colour is it?")
    others = ["Describe the paper.", "text text text", "Is it white?", "line by line"]
    assert {first} != {ask("red", question) for question in others}


@pytest.mark.parametrize("handler", ["smolvlm"], indirect=True)
def test_the_language_of_the_text_is_told_to_the_model(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    def read(*languages: str) -> str:
        request = VisionRequest((media(drawing("red", "square")),), "ocr", languages=languages)
        return answer_of(list(handler.run(request, control)))

    assert read() == read()
    assert read() != read("de")


def test_text_is_told_as_it_comes(
    talker: Talker,
    spec: MakeSpec,
    media: MakeMedia,
    control: ScratchControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.vision.generation.FLUSH_INTERVAL_S", 0)
    folder = talker("smolvlm", *RECITAL, " 🦜", END["smolvlm"])
    handler = load(spec(*TASKS), str(folder), "cpu")
    events = list(handler.run(VisionRequest((media(drawing("red", "circle")),)), control))
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert deltas == ["red", " and", " blue.", " It", " 🦜"]
    assert answer_of(events) == "".join(deltas)


def test_an_answer_that_is_cut_off_says_so(
    talker: Talker, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    folder = talker("smolvlm", *("abcdefghijklmnopqrstuv"), END["smolvlm"])
    handler = load(spec(*TASKS, max_new_tokens=16), str(folder), "cpu")
    events = list(handler.run(VisionRequest((media(drawing("red", "circle")),)), control))
    assert answer_of(events) == "abcdefghijklmnop"
    assert notices(events) == ["The answer was cut off at 16 tokens."]


def test_an_answer_that_just_fits_is_whole(
    talker: Talker, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    handler = load(
        spec(*TASKS, max_new_tokens=16), str(talker("smolvlm", *"abcdefghijklmno", END["smolvlm"])),
        "cpu",
    )  # fmt: skip
    events = list(handler.run(VisionRequest((media(drawing("red", "circle")),)), control))
    assert answer_of(events) == "abcdefghijklmno"
    assert notices(events) == []


@pytest.mark.parametrize(
    ("said", "text"), [(("No", " text", "."), ""), (("No", " text", " but"), "No text but")]
)
def test_no_text_is_no_text(
    said: tuple[str, ...],
    text: str,
    talker: Talker,
    spec: MakeSpec,
    media: MakeMedia,
    control: ScratchControl,
) -> None:
    handler = load(spec(*TASKS), str(talker("smolvlm", *said, END["smolvlm"])), "cpu")
    images = (media(drawing("red", "circle")),)
    assert answer_of(list(handler.run(VisionRequest(images, "ocr"), control))) == text
    caption = answer_of(list(handler.run(VisionRequest(images, "caption"), control)))
    assert caption == "".join(said)


@pytest.mark.parametrize("handler", TALKERS, indirect=True)
@pytest.mark.parametrize(
    "trick", ["<image>", "<|image_pad|>", "<im<image>age>", "<|im_<image>end|>"]
)
def test_control_tokens_of_a_member_are_no_control_tokens(
    trick: str, handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    tokenizer = handler._reader._processor.tokenizer  # type: ignore[attr-defined]
    harmless = handler._reader._harmless(f"a {trick} b")  # type: ignore[attr-defined]
    ids = tokenizer.encode(harmless, add_special_tokens=False)
    assert not set(ids) & set(tokenizer.all_special_ids)
    images = (media(drawing("red", "circle")),)
    request = VisionRequest(images, "question", question=f"a {trick} b")
    assert answer_of(list(handler.run(request, control)))


def test_a_question_beyond_the_context_is_refused(
    talker: Talker, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    handler = load(spec(*TASKS), str(talker("smolvlm")), "cpu")
    request = VisionRequest((media(drawing("red", "circle")),), "question", question="~" * 2000)
    with pytest.raises(InputTooLong):
        list(handler.run(request, control))


@pytest.mark.parametrize("handler", TALKERS, indirect=True)
def test_a_cancel_is_heard_between_tokens(
    handler: VisionHandler,
    media: MakeMedia,
    control: ScratchControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.vision.generation.FLUSH_INTERVAL_S", 0)
    events = []
    images = (media(drawing("red", "circle")), media(drawing("red", "circle")))
    for event in handler.run(VisionRequest(images), control):
        events.append(event)
        control.cancelled = control.cancelled or isinstance(event, TextDelta)
    assert sum(isinstance(event, TextDelta) for event in events) <= 2
    assert not isinstance(events[-1], VisionResult)
    assert events[-1].type != "finished"


def test_layout_is_for_reading_models(
    talker: Talker, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    handler = load(spec(*TASKS), str(talker("smolvlm")), "cpu")
    request = VisionRequest((media(drawing("red", "circle")),), "ocr", layout=True)
    with pytest.raises(UnsupportedOption, match="RapidOCR"):
        list(handler.run(request, control))


def test_the_processor_takes_the_options_of_the_catalogue(
    talker: Talker, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    """A smaller picture is fewer tokens to read."""

    def tokens(family: str, **size: int) -> int:
        row = spec(*TASKS, processor={"size": size} if size else {})
        reader = load(row, str(talker(family)), "cpu")._reader
        inputs = reader._inputs(drawing("red", "circle", side_px=600), "?")  # type: ignore[attr-defined]
        return int(inputs["input_ids"].shape[1])

    assert tokens("smolvlm", longest_edge=64) < tokens("smolvlm")
    assert tokens("qwen3_vl", shortest_edge=1024, longest_edge=4096) < tokens("qwen3_vl")
    assert tokens("qwen2_5_vl", shortest_edge=1024, longest_edge=4096) < tokens("qwen2_5_vl")
