"""What all vision models share: order, progress, bad pictures among good ones, safety."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from models.catalog import Catalog, ModelSpec
from models.contracts import (
    Control,
    Finished,
    MediaInput,
    Modality,
    PictureText,
    Progress,
    VisionRequest,
    VisionResult,
)
from models.errors import InvalidMedia, ModelLoadFailed, OutOfMemory
from models.vision.handler import Reading, VisionHandler
from models.vision.options import VisionOptions
from models.vision.tasks import LAYOUT, TASKS, Task
from tests.models.checkpoints_vision import drawing
from tests.models.conftest import ROOT
from tests.models.control import ScratchControl, notices, result_of, stages, streamed
from tests.models.scoring import EXPLICIT, dislike_blue, plain

if TYPE_CHECKING:
    from PIL import Image

MakeSpec = Callable[..., ModelSpec]
MakeMedia = Callable[..., MediaInput]


class SizeReader:
    """Tells how large a picture is."""

    tasks: frozenset[Task] = frozenset({"caption"})
    closed = False

    def read(self, picture: Image.Image, request: VisionRequest, control: Control) -> Reading:
        yield Progress("measuring", 0.5)
        if control.cancelled:
            return None
        if picture.width == 13:
            raise OutOfMemory
        return PictureText(f"{picture.width} wide")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def handler(spec: MakeSpec) -> VisionHandler:
    return VisionHandler(spec("caption"), SizeReader())


def result(events: list[Any]) -> VisionResult:
    found = result_of(events)
    assert isinstance(found, VisionResult)
    return found


def test_progress_runs_from_the_first_picture_to_the_last(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    images = tuple(media(drawing("red", "circle", side)) for side in (20, 40))
    events = list(handler.run(VisionRequest(images), control))
    assert [(e.stage, e.fraction) for e in events if isinstance(e, Progress)] == [
        ("picture 1 of 2", 0.0),
        ("picture 1 of 2: measuring", 0.25),
        ("picture 2 of 2", 0.5),
        ("picture 2 of 2: measuring", 0.75),
    ]
    assert streamed(events) == "20 wide\n\n40 wide"
    assert [answer.text for answer in result(events).answers] == ["20 wide", "40 wide"]


def test_one_picture_needs_no_number(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    events = list(handler.run(VisionRequest((media(drawing("red", "circle")),)), control))
    assert stages(events) == ["looking at the picture", "measuring"]


def test_a_bad_picture_does_not_cost_the_others(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    images = (media(b"no picture at all"), media(drawing("red", "circle", 40)))
    events = list(handler.run(VisionRequest(images), control))
    assert [answer.text for answer in result(events).answers] == ["", "40 wide"]
    [notice] = notices(events)
    assert notice.startswith("Picture 1 of 2: This is not a picture that can be read")


@pytest.mark.parametrize("count", [1, 2])
def test_bad_pictures_alone_fail_the_job(
    count: int, handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    """With one sentence, which nothing else repeats."""
    images = tuple(media(b"no picture at all") for _ in range(count))
    events: list[Any] = []
    with pytest.raises(InvalidMedia, match="not a picture"):
        events.extend(handler.run(VisionRequest(images), control))
    assert events
    assert notices(events) == []


def test_a_lack_of_memory_fails_the_job(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    images = (media(drawing("red", "circle", 40)), media(drawing("red", "circle", 13)))
    with pytest.raises(OutOfMemory):
        list(handler.run(VisionRequest(images), control))


def test_what_a_picture_hid_is_said(
    handler: VisionHandler, control: ScratchControl, media: MakeMedia
) -> None:
    moving = media(drawing("red", "circle", 40))
    frames = [drawing("red", "circle", 40), drawing("blue", "circle", 40)]
    frames[0].save(
        control.folder / moving.path, "GIF", save_all=True, append_images=frames[1:], duration=99
    )
    assert "moves" in notices(handler.run(VisionRequest((moving,)), control))[0]


@pytest.mark.parametrize("after", ["picture 1 of 3: measuring", "picture 2 of 3"])
def test_a_cancel_between_pictures_ends_the_job(
    after: str, handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    images = tuple(media(drawing("red", "circle", 40)) for _ in range(3))
    events = []
    for event in handler.run(VisionRequest(images), control):
        events.append(event)
        control.cancelled = control.cancelled or getattr(event, "stage", "") == after
    assert not any(isinstance(event, Finished) for event in events)
    assert "picture 3 of 3" not in stages(events)


def test_pictures_are_scored_where_the_classifier_is_installed(
    spec: MakeSpec,
    media: MakeMedia,
    control: ScratchControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Classifier:
        @classmethod
        def load(cls, location: str | None) -> Classifier | None:
            return cls() if location == "somewhere" else None

        def score(self, image: Image.Image) -> float:
            return image.width / 100

    monkeypatch.setattr("models.vision.handler.SafetyClassifier", Classifier)
    images = tuple(media(drawing("red", "circle", side)) for side in (20, 40))
    for folder, expected in (("somewhere", [0.2, 0.4]), ("", [None, None])):
        handler = VisionHandler(spec("caption"), SizeReader(), folder)
        events = list(handler.run(VisionRequest(images), control))
        assert [answer.unsafe_score for answer in result(events).answers] == expected


def test_a_blocked_picture_is_not_looked_at(
    spec: MakeSpec, media: MakeMedia, control: ScratchControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    dislike_blue(monkeypatch)
    images = plain(control, "blue"), plain(control, "red")
    handler = VisionHandler(spec("caption"), SizeReader(), "somewhere")
    request = VisionRequest(images, copies=True, blocked_from=0.7)
    blocked, shown = result(list(handler.run(request, control))).answers
    assert (blocked.text, blocked.copy, blocked.unsafe_score) == ("", None, EXPLICIT)
    assert shown.text == "64 wide"
    assert shown.copy is not None
    anything = list(handler.run(VisionRequest(images), control))
    assert result(anything).answers[0].text == "64 wide"


def test_a_classifier_that_is_gone_is_no_silent_pass(
    spec: MakeSpec, control: ScratchControl
) -> None:
    with pytest.raises(ModelLoadFailed, match="safety"):
        VisionHandler(spec("caption"), SizeReader(), str(control.folder / "gone"))


def test_close_closes_the_reader(spec: MakeSpec) -> None:
    reader = SizeReader()
    VisionHandler(spec("caption"), reader).close()
    assert reader.closed


def test_the_rows_of_the_catalogue_fit() -> None:
    rows = Catalog.read(ROOT / "config").of(Modality.VISION)
    assert {row.backend for row in rows} == {"rapidocr", "transformers-vision"}
    for row in rows:
        assert row.capabilities <= TASKS | {LAYOUT}, row.id
        assert row.capabilities & TASKS, row.id
        VisionOptions.of(row)
