"""BLIP and TrOCR: tiny ones that learnt a handful of drawings, loaded as real ones are."""

from __future__ import annotations

import gc
import itertools
import json
import pickle
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageDraw, ImageFont

from models.catalog import ModelSpec
from models.contracts import MediaInput, Notice, TextDelta, VisionRequest, VisionResult
from models.errors import (
    BackendError,
    InputTooLong,
    ModelLoadFailed,
    OutOfMemory,
    UnsupportedOption,
)
from models.vision.handler import VisionHandler
from models.vision.image_text import load
from tests.models.checkpoints_vision import COLOURS, LINES, SHAPES, drawing, written
from tests.models.control import ScratchControl, result_of, stages, streamed

MakeSpec = Callable[..., ModelSpec]
MakeMedia = Callable[..., MediaInput]
Checkpoint = Callable[[str], Path]
Answers = Callable[..., list[str]]

THINGS = list(itertools.product(COLOURS, SHAPES))


@pytest.fixture
def answers(control: ScratchControl) -> Answers:
    """Return a function: handler, request -> the text about each picture."""

    def answers(handler: VisionHandler, *images: MediaInput, **request: Any) -> list[str]:
        result = result_of(handler.run(VisionRequest(images, **request), control))
        assert isinstance(result, VisionResult)
        return [answer.text for answer in result.answers]

    return answers


# --------------------------------------------------------------------------- BLIP


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("task", ["caption", "alt_text"])
def test_blip_captions_each_picture(
    num_beams: int,
    task: str,
    checkpoint: Checkpoint,
    spec: MakeSpec,
    media: MakeMedia,
    answers: Answers,
) -> None:
    row = spec("caption", "alt_text", num_beams=num_beams)
    handler = load(row, str(checkpoint("captioner")), "cpu")
    images = [media(drawing(*thing, side_px=200)) for thing in THINGS]
    expected = [f"A {colour} {shape}" for colour, shape in THINGS]
    assert answers(handler, *images, task=task) == expected
    assert answers(handler, *images, task=task) == expected


def test_a_captioner_says_that_it_cannot_answer(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, answers: Answers
) -> None:
    row = spec("caption", "question")  # whatever the catalogue says
    handler = load(row, str(checkpoint("captioner")), "cpu")
    with pytest.raises(UnsupportedOption, match="BLIP VQA"):
        answers(handler, media(drawing("red", "circle")), task="question", question="why?")


@pytest.mark.parametrize("num_beams", [1, 3])
def test_blip_answers_questions(
    num_beams: int, checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, answers: Answers
) -> None:
    handler = load(spec("question", num_beams=num_beams), str(checkpoint("answerer")), "cpu")
    images = [media(drawing(*thing)) for thing in THINGS]
    colours = answers(handler, *images, task="question", question="What colour\nis it?")
    shapes = answers(handler, *images, task="question", question="what shape is it?")
    assert list(zip(colours, shapes, strict=True)) == [
        (colour.capitalize(), shape.capitalize()) for colour, shape in THINGS
    ]


def test_a_question_that_blip_cannot_read_to_its_end_is_refused(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, answers: Answers
) -> None:
    handler = load(spec("question"), str(checkpoint("answerer")), "cpu")
    picture = media(drawing("red", "circle"))
    assert answers(handler, picture, task="question", question="what " * 62)
    with pytest.raises(InputTooLong, match="shorten"):
        answers(handler, picture, task="question", question="what " * 63)


def test_an_answerer_does_nothing_else(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, answers: Answers
) -> None:
    handler = load(spec("question"), str(checkpoint("answerer")), "cpu")
    with pytest.raises(UnsupportedOption, match="can't write captions"):
        answers(handler, media(drawing("red", "circle")), task="caption")


LIMITS = {"knows": "simple drawings", "unknown": "I do not know it", "better": "big-one"}


@pytest.mark.parametrize(
    "limits", [{"unknown": "A red circle."}, {"sure_from": 1.0}], ids=["it-says-so", "it-is-unsure"]
)
def test_a_picture_beyond_a_captioner_is_read(
    limits: dict[str, Any],
    checkpoint: Checkpoint,
    spec: MakeSpec,
    media: MakeMedia,
    control: ScratchControl,
) -> None:
    row = spec("caption", limits=LIMITS | limits)
    handler = load(row, str(checkpoint("captioner")), "cpu")
    with_text = drawing("red", "circle", side_px=400)
    ImageDraw.Draw(with_text).text((60, 20), "closed", "black", ImageFont.load_default(size=60))
    like_text = drawing("red", "circle", side_px=400)
    ImageDraw.Draw(like_text).text((160, 20), "42", "black", ImageFont.load_default(size=60))
    images = media(with_text), media(drawing("red", "circle")), media(like_text)
    events = list(handler.run(VisionRequest(images, "caption"), control))
    handler.close()
    result = result_of(events)
    assert isinstance(result, VisionResult)
    said = (LIMITS | limits)["unknown"].rstrip(".") + "."
    assert [answer.text for answer in result.answers] == [said] * 3
    lines = [[line.text for line in answer.lines] for answer in result.answers]
    assert lines == [["closed"], [], []]
    told = {event.message for event in events if isinstance(event, Notice)}
    assert told == {
        "This model only knows simple drawings. The owner gets one for photos with "
        "`python -m bot models pull big-one`."
    }


def test_a_captioner_with_limits_describes_what_it_knows(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, answers: Answers
) -> None:
    row = spec("caption", limits=LIMITS | {"sure_from": 0.5})
    handler = load(row, str(checkpoint("captioner")), "cpu")
    assert answers(handler, media(drawing("blue", "square")), task="caption") == ["A blue square"]


# --------------------------------------------------------------------------- TrOCR


def test_trocr_reads_lines_in_their_order(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    handler = load(spec("ocr"), str(checkpoint("trocr")), "cpu")
    shuffled = [LINES[2], LINES[0], LINES[1], LINES[0]]
    events = list(handler.run(VisionRequest((media(written(shuffled)),), "ocr"), control))
    result = result_of(events)
    assert isinstance(result, VisionResult)
    [answer] = result.answers
    assert answer.text == "\n".join(shuffled)
    assert [line.text for line in answer.lines] == shuffled
    assert all(0.5 < line.confidence <= 1 for line in answer.lines)
    tops = [line.box[1] for line in answer.lines]
    assert tops == sorted(tops)
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(deltas) == answer.text
    assert len(deltas) == 4
    assert stages(events)[1:] == [f"line {number} of 4" for number in range(1, 5)]


def test_trocr_reads_a_page_on_its_head(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    handler = load(spec("ocr"), str(checkpoint("trocr")), "cpu")
    request = VisionRequest((media(written(LINES).rotate(180)),), "ocr")
    events = list(handler.run(request, control))
    assert streamed(events) == "\n".join(LINES)


def test_trocr_keeps_layout(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    handler = load(spec("ocr", "layout"), str(checkpoint("trocr")), "cpu")
    request = VisionRequest((media(written(LINES[:2])),), "ocr", layout=True)
    events = list(handler.run(request, control))
    result = result_of(events)
    assert isinstance(result, VisionResult)
    assert [line for line in result.answers[0].text.split("\n") if line] == list(LINES[:2])
    assert [e.text for e in events if isinstance(e, TextDelta)] == [result.answers[0].text]


def test_a_picture_without_text_has_none_for_trocr(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, answers: Answers
) -> None:
    handler = load(spec("ocr"), str(checkpoint("trocr")), "cpu")
    assert answers(handler, media(drawing("white", "square")), task="ocr") == [""]


# --------------------------------------------------------------------------- stopping and bounds


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_cancel_is_heard_between_tokens(
    num_beams: int,
    checkpoint: Checkpoint,
    spec: MakeSpec,
    media: MakeMedia,
    control: ScratchControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever thread says so: the generation asks after each token."""
    handler = load(spec("caption", num_beams=num_beams), str(checkpoint("captioner")), "cpu")
    asked = 0

    class Impatient(ScratchControl):
        @property
        def cancelled(self) -> bool:
            nonlocal asked
            asked += 1
            return asked > 3  # before the picture, and after two tokens

        @cancelled.setter
        def cancelled(self, _: bool) -> None:
            pass

    images = (media(drawing("red", "circle")), media(drawing("red", "circle")))
    events = list(handler.run(VisionRequest(images, "caption"), Impatient(control.folder)))
    assert stages(events) == ["picture 1 of 2"]
    assert len(events) == 1
    assert asked == 4
    assert list(handler.run(VisionRequest(images, "caption"), control))[-1].type == "finished"


def test_a_cancel_is_heard_between_lines(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    handler = load(spec("ocr"), str(checkpoint("trocr")), "cpu")
    events = []
    for event in handler.run(VisionRequest((media(written(LINES)),), "ocr"), control):
        events.append(event)
        control.cancelled = isinstance(event, TextDelta)
    assert [e.text for e in events if isinstance(e, TextDelta)] == [LINES[0]]
    assert stages(events)[-1] == "line 1 of 3"


def test_a_job_that_is_dropped_frees_the_way(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, control: ScratchControl
) -> None:
    handler = load(spec("ocr"), str(checkpoint("trocr")), "cpu")
    request = VisionRequest((media(written(LINES)),), "ocr")
    job = handler.run(request, control)
    next(job)
    job.close()  # type: ignore[attr-defined]
    assert result_of(handler.run(request, control))


# --------------------------------------------------------------------------- loading


def test_close_frees_the_memory(
    checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, answers: Answers
) -> None:
    handler = load(spec("caption"), str(checkpoint("captioner")), "cpu")
    picture = media(drawing("red", "circle"))
    answers(handler, picture)
    model = weakref.ref(handler._reader._writer._model)  # type: ignore[attr-defined]
    assert model() is not None
    handler.close()
    gc.collect()
    assert model() is None
    with pytest.raises(BackendError):
        answers(handler, picture)


@pytest.mark.parametrize("name", ["captioner", "answerer", "trocr"])
def test_many_jobs_leave_nothing_behind(
    name: str, checkpoint: Checkpoint, spec: MakeSpec, media: MakeMedia, answers: Answers
) -> None:
    handler = load(spec("caption", "question", "ocr"), str(checkpoint(name)), "cpu")
    task = {"captioner": "caption", "answerer": "question", "trocr": "ocr"}[name]
    picture = media(written(LINES[:1]))

    def tensors() -> int:
        gc.collect()
        return sum(type(thing).__name__ in ("Tensor", "ndarray") for thing in gc.get_objects())

    answers(handler, picture, task=task, question="why?")
    before = tensors()
    for _ in range(5):
        answers(handler, picture, task=task, question="why?")
    assert tensors() <= before


def test_a_pickle_is_refused(checkpoint: Checkpoint, spec: MakeSpec, tmp_path: Path) -> None:
    """A pickle runs code when it is loaded."""
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("captioner"), folder)
    (folder / "model.safetensors").unlink()
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (trap.write_text, ("sprung",))

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelLoadFailed):
        load(spec("caption"), str(folder), "cpu")
    assert not trap.exists()


@pytest.mark.parametrize("damage", ["nothing", "garbage", "code", "text"])
def test_what_is_no_such_model_is_one_clear_error(
    damage: str, checkpoint: Checkpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    if damage != "nothing":
        shutil.copytree(checkpoint("captioner"), folder)
    if damage == "garbage":
        (folder / "model.safetensors").write_bytes(b"rotten")
    config = {
        "code": {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}},
        "text": {"model_type": "llama"},
    }
    if damage in config:
        (folder / "config.json").write_text(json.dumps(config[damage]))
    with pytest.raises(ModelLoadFailed):
        load(spec("caption"), str(folder), "cpu")


def test_unknown_options_are_one_clear_error(checkpoint: Checkpoint, spec: MakeSpec) -> None:
    with pytest.raises(ModelLoadFailed, match="options of `tiny`"):
        load(spec("caption", beams=3), str(checkpoint("captioner")), "cpu")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("can't allocate memory: you tried to allocate 9 bytes"), OutOfMemory),
        (RuntimeError("shapes do not match"), BackendError),
        (MemoryError(), OutOfMemory),
    ],
)
def test_what_the_library_raises_is_translated(
    raised: Exception,
    told: type[Exception],
    checkpoint: Checkpoint,
    spec: MakeSpec,
    media: MakeMedia,
    answers: Answers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = load(spec("caption"), str(checkpoint("captioner")), "cpu")
    picture = media(drawing("red", "circle"))

    def fail(*_: object, **__: object) -> None:
        raise raised

    with monkeypatch.context() as patched:
        patched.setattr(handler._reader._writer._model, "generate", fail)  # type: ignore[attr-defined]
        with pytest.raises(told):
            answers(handler, picture)
    assert answers(handler, picture) == ["A red circle"]


@pytest.mark.parametrize(("wanted", "used"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_weights_are_kept_in_the_type_that_suits(
    wanted: str,
    used: str,
    checkpoint: Checkpoint,
    spec: MakeSpec,
    media: MakeMedia,
    answers: Answers,
) -> None:
    handler = load(spec("caption", dtype=wanted), str(checkpoint("captioner")), "cpu")
    assert str(handler._reader._writer._model.dtype) == f"torch.{used}"  # type: ignore[attr-defined]
    assert answers(handler, media(drawing("blue", "square"))) == ["A blue square"]
