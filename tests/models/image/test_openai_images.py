"""The backend for OpenAI's image models, against a loopback server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from models.catalog import EndpointSource, ModelSpec
from models.contracts import Finished, HandlerEvent, ImageRequest, ImageResult, Preview
from models.errors import BackendError, BackendRefused, HandlerError, ModelLoadFailed, UnsafePicture
from models.image.openai_images import load
from models.image.safety import SafetyClassifier
from models.tasks import TaskStepper
from tests.models.control import ScratchControl, notices, stages
from tests.models.image.conftest import opened
from tests.models.image.image_server import Drawn, ImageServer
from tests.models.loopback import Reply, refuses, run
from tests.models.scoring import EXPLICIT, dislike_blue, plain

MakeSpec = Callable[..., ModelSpec]
Connect = Callable[..., TaskStepper]

PRICES = {"text_input": 5.0, "image_input": 8.0, "output": 30.0, "picture": 0.11}


@pytest.fixture
def server() -> Iterator[ImageServer]:
    server = ImageServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def connect(server: ImageServer, spec: MakeSpec) -> Iterator[Connect]:
    """Return a function that loads the backend; it is closed after the test."""
    open_: list[TaskStepper] = []

    def make(**options: Any) -> TaskStepper:
        url = f"{server.url}/v1"
        source = EndpointSource(url=url, model="gpt-image")
        open_.append(load(spec(source=source, **options), url, "cpu"))
        return open_[-1]

    yield make
    for stepper in open_:
        stepper.close()


def ask(**options: Any) -> ImageRequest:
    return ImageRequest(**{"prompt": "a lighthouse", **options})


def result_of(events: list[HandlerEvent]) -> ImageResult:
    last = events[-1]
    assert isinstance(last, Finished)
    assert isinstance(last.result, ImageResult)
    return last.result


def reference(control: ScratchControl) -> Any:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "Camera of ada"
    Image.new("RGB", (40, 30), "navy").save(file, "JPEG", exif=exif)
    return control.store(file.getvalue(), "reference.jpg", "image/jpeg")


def test_a_picture_is_drawn_with_previews(
    server: ImageServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [Drawn(["black", "gray", "red"], stream=True)]
    events = run(connect(prices=PRICES, quality="high"), ask(), control)
    assert server.paths == ["/v1/images/generations"]
    assert server.requests == [
        {
            "model": "gpt-image",
            "prompt": "a lighthouse",
            "n": 1,
            "size": "1024x1024",
            "quality": "high",
            "output_format": "png",
            "moderation": "auto",
            "stream": True,
            "partial_images": 2,
        }
    ]
    assert stages(events) == ["waiting for the model's server", "drawing", "drawing"]
    looks = [event.media for event in events if isinstance(event, Preview)]
    assert [look.content_type for look in looks] == ["image/jpeg"] * 2
    result = result_of(events)
    (picture,) = result.pictures
    assert opened(picture, control).getpixel((5, 5)) == (255, 0, 0)
    assert (picture.width_px, picture.height_px, picture.seed) == (96, 64, None)
    assert picture.alt_text == "AI-generated picture: a lighthouse"
    assert result.usage.amount == 1
    assert control.charges == [5 * 12 + 110_000, 300 * 5 + 1000 * 8 + 2000 * 30]


def test_a_picture_says_how_it_was_made(
    server: ImageServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [Drawn()]
    (picture,) = result_of(run(connect(partial_images=0), ask(), control)).pictures
    said = opened(picture, control).text
    assert (said["model"], said["revision"]) == ("tiny", "gpt-image")
    assert json.loads(said["recipe"])["quality"] == "auto"
    assert "seed" not in said
    assert "lighthouse" not in str(said)


def test_several_pictures_come_in_one_answer(
    server: ImageServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [Drawn(["red", "lime", "blue"], usage=None)]
    result = result_of(run(connect(prices={"picture": 0.04}), ask(count=3), control))
    colours = [opened(picture, control).getpixel((1, 1)) for picture in result.pictures]
    assert colours == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert result.usage.amount == 3
    assert control.charges[-1] == 120_000
    assert "stream" not in server.requests[0]


def test_a_reference_is_edited(
    server: ImageServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [Drawn(["black", "red"], stream=True)]
    events = run(connect(), ask(reference=reference(control)), control)
    assert server.paths == ["/v1/images/edits"]
    sent = server.requests[0]["image"]
    assert b"ada" not in sent
    with Image.open(io.BytesIO(sent)) as image:
        assert (image.format, image.size) == ("PNG", (40, 30))
    assert len([event for event in events if isinstance(event, Preview)]) == 1
    assert result_of(events).pictures


def test_wishes_without_a_field_are_said_or_put_into_words(
    server: ImageServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [Drawn()]
    request = ask(seed=3, num_inference_steps=9, negative_prompt="people")
    events = run(connect(partial_images=0), request, control)
    assert notices(events) == ["Tiny takes no seed or steps, so yours was not used."]
    assert server.requests[0]["prompt"] == "a lighthouse\n\nLeave out: people"


@pytest.mark.parametrize(
    ("wished", "sizes", "made"),
    [
        ((1920, 1080), (), "1920x1088"),
        ((4096, 4096), (), "1920x1920"),
        ((512, 512), (), "816x816"),
        ((1600, 900), ("1024x1024", "1536x1024", "1024x1536"), "1536x1024"),
        ((900, 1600), ("1024x1024", "1536x1024", "1024x1536"), "1024x1536"),
        ((600, 580), ("1024x1024", "1536x1024", "1024x1536"), "1024x1024"),
    ],
)
def test_sizes_are_rounded_and_said(
    wished: tuple[int, int],
    sizes: tuple[str, ...],
    made: str,
    server: ImageServer,
    connect: Connect,
    control: ScratchControl,
) -> None:
    server.script = [Drawn()]
    request = ask(width_px=wished[0], height_px=wished[1])
    events = run(connect(sizes=sizes, partial_images=0), request, control)
    assert server.requests[0]["size"] == made
    assert made.replace("x", " × ") in notices(events)[0]


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [([], "no picture"), (["!!!"], "damaged picture"), (["aGVsbG8="], "damaged picture")],
)
def test_an_answer_without_a_picture_is_told(
    pictures: list[str],
    sentence: str,
    server: ImageServer,
    connect: Connect,
    control: ScratchControl,
) -> None:
    stepper = connect(partial_images=0)
    server.script = [Drawn(pictures), Drawn()]
    with pytest.raises(BackendError, match=sentence):
        run(stepper, ask(), control)
    assert result_of(run(stepper, ask(), control, "next")).pictures


@pytest.mark.parametrize(
    ("reply", "kind", "sentence"),
    [
        (
            Drawn(
                ["black", "red"], stream=True, error={"code": "moderation_blocked", "message": "No"}
            ),
            BackendRefused,
            "content rules",
        ),
        (Drawn(["black", "red"], stream=True, cut=True), BackendError, "broke off"),
        (refuses(400, "moderation_blocked"), BackendRefused, "content rules"),
    ],
)
def test_a_stream_may_end_badly(
    reply: Drawn | Reply,
    kind: type[HandlerError],
    sentence: str,
    server: ImageServer,
    connect: Connect,
    control: ScratchControl,
) -> None:
    server.script = [reply]
    with pytest.raises(kind, match=sentence):
        run(connect(), ask(), control)


def test_explicit_previews_are_kept_back(
    server: ImageServer,
    connect: Connect,
    control: ScratchControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Strict(SafetyClassifier):
        def __init__(self) -> None: ...
        def score(self, image: Image.Image) -> float:
            return 0.9

    monkeypatch.setattr(SafetyClassifier, "load", lambda _location: Strict())
    server.script = [Drawn(["black", "red"], stream=True)]
    events = run(connect(safety_dir="somewhere"), ask(), control)
    assert not [event for event in events if isinstance(event, Preview)]
    assert result_of(events).pictures[0].unsafe_score == 0.9


def test_a_blocked_reference_is_sent_to_nobody(
    server: ImageServer,
    connect: Connect,
    control: ScratchControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dislike_blue(monkeypatch)
    blue = plain(control, "blue")
    stepper = connect(safety_dir="somewhere")
    with pytest.raises(UnsafePicture):
        run(stepper, ask(reference=blue, blocked_from=0.7), control)
    assert server.requests == []
    server.script = [Drawn(["red"], stream=True)]
    events = run(stepper, ask(reference=blue), control)
    assert result_of(events).pictures[0].unsafe_score == EXPLICIT


def test_an_option_that_there_is_not_fails_to_load(connect: Connect) -> None:
    with pytest.raises(ModelLoadFailed, match="options of `tiny`"):
        connect(quality="best")
