"""Drawing prompts and describing the drawings: what is counted, and the way through both models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bot.settings import CONFIG_FOLDER
from models.catalog import Catalog, PathSource
from models.weights import WeightStore
from tests.models.control import spec_of
from tests.models.image.test_few_words import OPTIONS
from training.autoencoder import new_autoencoder
from training.caption_model import UNKNOWN, new_captioner, save_captioner
from training.captions import full_caption
from training.measure import Asked, prompts
from training.picture_model import new_modules, save_pipeline
from training.publish import CAPTIONS, PICTURES
from training.round_trip import Trip, figures
from training.scenes import Colour, Split, Time

ASKED = prompts(Split.DEV, 60)


def test_descriptions_that_tell_everything_miss_nothing() -> None:
    kept = figures(ASKED, [full_caption(one.scene) for one in ASKED])
    assert kept == {"things": 1, "time and ground": 1, "relation": 1, "unknown": 0}


def test_another_colour_is_another_thing() -> None:
    asked = [one for one in ASKED if len(one.scene.things) == 1]
    scenes = [one.scene for one in asked]
    other = {Colour.RED: Colour.BLUE}
    said = [
        full_caption(
            replace(
                scene,
                things=tuple(
                    replace(thing, colour=other.get(thing.colour, Colour.RED))
                    for thing in scene.things
                ),
            )
        )
        for scene in scenes
    ]
    assert figures(asked, said)["things"] == 0
    assert figures(asked, said)["time and ground"] == 1


def test_what_a_prompt_leaves_open_may_be_anything() -> None:
    scene = next(one.scene for one in ASKED if one.scene.relation and one.scene.time is Time.DAY)
    names = [f"a {thing.colour} {thing.kind}" for thing in scene.things]
    asked = [Asked(scene, f"{names[0]} and {names[1]}")]
    kept = figures(asked, [f"{names[1]} and {names[0]} on a road at night"])
    assert (kept["things"], kept["time and ground"]) == (1, 1)
    told = [Asked(scene, f"{names[0]} and {names[1]} by day")]
    assert figures(told, [f"{names[0]} and {names[1]} at night"])["time and ground"] == 0


def test_drawings_that_are_not_known_are_counted() -> None:
    said = [f"{UNKNOWN.capitalize()}.", full_caption(ASKED[1].scene)]
    assert figures(ASKED[:2], said)["unknown"] == 0.5


@pytest.mark.slow
def test_a_prompt_goes_through_both_models(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_pipeline(tmp_path / PICTURES, new_modules(), new_autoencoder())
    save_captioner(tmp_path / CAPTIONS, new_captioner().state_dict())
    rows = [
        spec_of(
            backend,
            modality,
            id=name,
            source=PathSource(path=str(tmp_path / name)),
            options=options,
            capabilities={"caption"},
        )
        for name, backend, modality, options in (
            (PICTURES, "diffusers", "image", {**OPTIONS, "num_inference_steps": 1}),
            (CAPTIONS, "transformers-vision", "vision", {}),
        )
    ]
    trip = Trip(Catalog(rows, {}), WeightStore(tmp_path), tmp_path / "spool")
    try:
        said = trip.describe("a red boat", 1)
        assert said
        assert trip.describe("a red boat", 1) == said
        assert len(list((tmp_path / "spool").iterdir())) >= 2
    finally:
        trip.close()


@pytest.mark.slow
def test_what_the_embedded_models_draw_and_describe_is_what_was_asked_for(tmp_path: Path) -> None:
    asked = ASKED[:10]
    trip = Trip(Catalog.read(CONFIG_FOLDER), WeightStore(tmp_path), tmp_path / "spool")
    try:
        said = [trip.describe(one.prompt, number) for number, one in enumerate(asked)]
    finally:
        trip.close()
    kept = figures(asked, said)
    assert kept["things"] >= 0.7, said
    assert kept["time and ground"] >= 0.9, said
