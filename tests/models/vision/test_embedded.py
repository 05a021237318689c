"""The captioner that this project trains, from the weights that ship."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from bot.settings import CONFIG_FOLDER
from models.catalog import Catalog, ModelSpec
from models.contracts import Notice, PictureText, VisionRequest, VisionResult
from models.vision.handler import VisionHandler
from models.vision.image_text import load
from models.weights import WeightStore
from tests.models.control import ScratchControl, media_of, result_of
from training.claims import claims_of, same_relation, same_things, truth_of
from training.drawing import draw
from training.scenes import Split, scene_of
from training.unknown import HELD_OUT

DEMO = Path(__file__).parents[3] / "docs" / "demo.png"
UNKNOWN = "I do not know this kind of picture."
SCENES = 32


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return Catalog.read(CONFIG_FOLDER).get("drawings-captioner")


@pytest.fixture(scope="module")
def handler(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisionHandler]:
    store = WeightStore(tmp_path_factory.mktemp("models"))
    assert store.verify(spec) == []
    handler = load(spec, store.locate(spec), "cpu")
    yield handler
    handler.close()


def described(
    handler: VisionHandler, control: ScratchControl, pictures: list[Image.Image]
) -> list[PictureText]:
    answers: list[PictureText] = []
    for picture in pictures:
        picture.save(control.folder / "picture.png")
        media = media_of(control.folder / "picture.png", "image/png")
        result = result_of(handler.run(VisionRequest((media,), "caption"), control))
        assert isinstance(result, VisionResult)
        answers += result.answers
    return answers


def sent(picture: Image.Image) -> Image.Image:
    """Return a drawing as Discord hands it on: enlarged, and saved as a JPEG."""
    file = io.BytesIO()
    picture.resize((512, 512), Image.Resampling.LANCZOS).save(file, "JPEG", quality=80)
    return Image.open(file)


def test_it_describes_drawn_scenes(handler: VisionHandler, control: ScratchControl) -> None:
    scenes = [scene_of(Split.DEV, number) for number in range(SCENES)]
    answers = described(handler, control, [sent(draw(scene).image) for scene in scenes])
    said = [claims_of(answer.text) for answer in answers]
    true = [truth_of(scene) for scene in scenes]
    pairs = list(zip(said, true, strict=True))
    assert sum(same_things(*pair) for pair in pairs) >= SCENES - 2, answers
    lying = [same_relation(*pair) for pair in pairs if pair[1].relation]
    assert len(lying) > 8
    assert sum(lying) >= len(lying) - 2, answers
    around = [(one.time, one.ground) == (two.time, two.ground) for one, two in pairs]
    assert sum(around) >= SCENES - 1, answers


def test_it_says_that_it_does_not_know_other_pictures(
    handler: VisionHandler, control: ScratchControl
) -> None:
    chance = np.random.default_rng(1)
    pictures = [make(chance) for make in HELD_OUT.values() for _ in range(3)]
    pictures += [
        Image.open(DEMO).convert("RGB").resize((640, 400)),
        Image.fromarray(chance.integers(0, 256, (300, 300, 3)).astype(np.uint8)),
        Image.new("RGB", (400, 300), "white"),
    ]
    answers = described(handler, control, pictures)
    known = [answer.text for answer in answers if answer.text != UNKNOWN]
    assert len(known) <= 1, known


def test_it_reads_the_text_of_a_picture_that_it_does_not_know(
    handler: VisionHandler, control: ScratchControl
) -> None:
    sign = Image.new("RGB", (640, 360), (250, 250, 245))
    pen = ImageDraw.Draw(sign)
    for number, line in enumerate(("Closed on Monday", "We open at nine")):
        pen.text((40, 80 + 100 * number), line, (20, 20, 20), ImageFont.load_default(size=56))
    sign.save(control.folder / "sign.png")
    request = VisionRequest((media_of(control.folder / "sign.png", "image/png"),), "caption")
    events = list(handler.run(request, control))
    result = result_of(events)
    assert isinstance(result, VisionResult)
    (answer,) = result.answers
    assert answer.text == UNKNOWN
    assert [line.text for line in answer.lines] == ["Closed on Monday", "We open at nine"]
    (notice,) = [event.message for event in events if isinstance(event, Notice)]
    assert notice.startswith("This model only knows simple drawings.")


def test_the_model_that_it_names_instead_describes_photos(spec: ModelSpec) -> None:
    better = Catalog.read(CONFIG_FOLDER).get(spec.options["limits"]["better"])
    assert "caption" in better.capabilities
    assert better.commercial_use
