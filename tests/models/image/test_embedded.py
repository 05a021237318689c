"""The picture model that this project trains, from the weights that ship."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from bot.settings import CONFIG_FOLDER
from models.catalog import Catalog, ModelSpec
from models.image.diffusion import DiffusionHandler, load
from models.weights import WeightStore
from tests.models.control import ScratchControl, notices
from tests.models.image.conftest import draw, opened, stored
from training.drawing import draw as drawn
from training.judge import Judge, summary
from training.measure import Asked, judged, prompts
from training.publish import JUDGE
from training.scenes import Kind, Split, composed

PROMPTS = 16


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return Catalog.read(CONFIG_FOLDER).get("drawings")


@pytest.fixture(scope="module")
def handler(
    spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DiffusionHandler]:
    store = WeightStore(tmp_path_factory.mktemp("models"))
    assert store.verify(spec) == []
    made = load(spec, store.locate(spec), "cpu")
    yield made
    made.close()


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(load_file(Path(__file__).parents[3] / JUDGE))


def picture_of(
    handler: DiffusionHandler, control: ScratchControl, prompt: str, **options: object
) -> Image.Image:
    events, result = draw(handler, control, prompt=prompt, width_px=512, height_px=512, **options)
    assert notices(events) == []
    return opened(result.pictures[0], control)


def test_it_draws_what_was_asked_for(
    handler: DiffusionHandler, judge: Judge, control: ScratchControl
) -> None:
    asked = prompts(Split.DEV, PROMPTS)
    pictures = [picture_of(handler, control, one.prompt) for one in asked]
    assert {picture.size for picture in pictures} == {(512, 512)}
    figures = summary(judged(judge, asked, pictures))
    assert figures["things"] >= 0.8, figures
    assert figures["surroundings"] >= 0.9, figures
    assert figures["relation"] >= 0.7, figures


def test_the_judge_is_no_yes_man(judge: Judge) -> None:
    asked = prompts(Split.DEV, 40)
    pictures = [drawn(composed(one.scene)).image for one in asked]
    assert summary(judged(judge, asked, pictures))["things"] >= 0.9
    swapped = [Asked(one.scene, one.prompt) for one in asked[1:] + asked[:1]]
    assert summary(judged(judge, swapped, pictures))["things"] <= 0.1


def test_a_reference_sets_the_scene(
    handler: DiffusionHandler, judge: Judge, control: ScratchControl
) -> None:
    """What the words leave out comes from the reference: its night, not the usual day."""
    night = picture_of(handler, control, "a road at night")
    made = picture_of(handler, control, "a red car", reference=stored(control, night), strength=0.8)
    assert made.getpixel((10, 10))[2] < 110
    assert [thing.kind for thing in judge.look([made])[0].things] == [Kind.CAR]


def test_what_is_not_wanted_is_kept_out(
    handler: DiffusionHandler, judge: Judge, control: ScratchControl
) -> None:
    """A prompt that leaves the hour open, with and without the night among the unwanted."""
    seeds = range(3)
    nights = [
        picture_of(handler, control, "a red car", negative_prompt=unwanted, seed=seed)
        for unwanted in ("by day", "at night")
        for seed in seeds
    ]
    dark = [picture.getpixel((10, 10))[2] < 110 for picture in nights]
    assert sum(dark[:3]) > sum(dark[3:])
