"""A model of few words and small pictures: the embedded one's shape, before it has learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.contracts import Preview
from models.image.diffusion import DiffusionHandler, load
from models.image.plan import Plan
from tests.models.control import ScratchControl, notices
from tests.models.image.conftest import MakeSpec, draw, opened, pixels, recipe_of, stored
from training.autoencoder import new_autoencoder
from training.picture_model import THIRD_TOKENS, new_modules, save_pipeline

OPTIONS = {
    "num_inference_steps": 2,
    "guidance_scale": 4.0,
    "max_sequence_length": THIRD_TOKENS,
    "side_px": 512,
    "enlarged": 8,
    "multiple_px": 512,
    "min_pixels": 512 * 512,
    "max_pixels": 512 * 512,
    "preview_s": 0,
    "knows": "houses and cats",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("few-words")
    save_pipeline(made, new_modules(), new_autoencoder())
    return made


@pytest.fixture(scope="module")
def handler(folder: Path, spec: MakeSpec) -> Iterator[DiffusionHandler]:
    made = load(spec(**OPTIONS), str(folder), "cpu")
    yield made
    made.close()


def test_small_pictures_are_shown_large(handler: DiffusionHandler, control: ScratchControl) -> None:
    events, result = draw(handler, control, prompt="a red cat", width_px=512, height_px=512)
    assert notices(events) == []
    (picture,) = result.pictures
    image = opened(picture, control)
    assert image.size == (picture.width_px, picture.height_px) == (512, 512)
    assert recipe_of(picture, control)["width"] == 512
    steps = np.abs(np.diff(np.asarray(image).astype(int), axis=1)).mean(axis=(0, 2))
    assert steps[7::8].mean() < 1.5 * steps[3::8].mean()  # no edges of blocks
    assert any(isinstance(event, Preview) for event in events)


def test_every_shape_becomes_the_one_that_it_draws(
    handler: DiffusionHandler, control: ScratchControl
) -> None:
    events, result = draw(handler, control, prompt="a red cat", width_px=768, height_px=432)
    assert (result.pictures[0].width_px, result.pictures[0].height_px) == (512, 512)
    assert notices(events) == ["Tiny does not make 768 × 432 pixels, so this is 512 × 512."]


def test_words_that_it_does_not_know_are_named(
    handler: DiffusionHandler, control: ScratchControl
) -> None:
    prompt = "A red cat, a Giraffe and another giraffe"
    events, _ = draw(
        handler, control, prompt=prompt, negative_prompt="fur", width_px=512, height_px=512
    )
    assert notices(events) == [
        "I don't know “giraffe”, “another”, “fur”, so that changed nothing. "
        "I only know houses and cats."
    ]


def test_many_unknown_words_are_counted(handler: DiffusionHandler, control: ScratchControl) -> None:
    prompt = "one two three four five six seven eight nine"
    events, _ = draw(handler, control, prompt=prompt, width_px=512, height_px=512)
    (said,) = notices(events)
    assert "“two”, “three”, “four”, “five”, “six”, “seven” and 2 more, so" in said


def test_a_large_reference_is_started_from(
    handler: DiffusionHandler, control: ScratchControl
) -> None:
    made = {
        colour: pixels(
            draw(
                handler,
                control,
                prompt="a red cat",
                width_px=512,
                height_px=512,
                reference=stored(control, Image.new("RGB", (600, 600), colour)),
                strength=0.3,
            )[1],
            control,
        )
        for colour in ("white", "black")
    }
    assert made["white"] != made["black"]


def test_it_never_shrinks_below_what_it_draws(handler: DiffusionHandler) -> None:
    abilities = handler._pipeline.abilities
    plan = Plan(512, 512, 2, 4.0, "", None)
    assert plan.smaller(abilities) is None
