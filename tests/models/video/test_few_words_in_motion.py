"""A model of few words and small clips: the embedded one's shape, before it has learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.contracts import Preview
from models.video.diffusion_video import DiffusionVideoHandler, load
from tests.models.control import ScratchControl, notices
from tests.models.video.conftest import draw, shown, spec_for
from training.autoencoder import new_autoencoder
from training.clip_model import new_modules, save_pipeline
from training.motion import FRAMES

OPTIONS = {
    "num_inference_steps": 2,
    "guidance_scale": 2.0,
    "fps": 8,
    "min_frames": FRAMES,
    "max_frames": FRAMES,
    "side_px": 512,
    "enlarged": 8,
    "multiple_px": 512,
    "min_pixels": 512 * 512,
    "max_pixels": 512 * 512,
    "preview_s": 0,
    "knows": "cars and boats",
}
SQUARE = {"width_px": 512, "height_px": 512, "seconds": 2.0}


@pytest.fixture(scope="module")
def handler(
    tmp_path_factory: pytest.TempPathFactory, diffusers_imported: None
) -> Iterator[DiffusionVideoHandler]:
    torch.manual_seed(0)
    folder: Path = tmp_path_factory.mktemp("few-words-in-motion")
    save_pipeline(folder, new_modules(), new_autoencoder())
    made = load(spec_for("diffusers-video", **OPTIONS), str(folder), "cpu")
    yield made
    made.close()


def test_small_clips_are_shown_large(
    handler: DiffusionVideoHandler, control: ScratchControl
) -> None:
    events, result = draw(handler, control, prompt="a red car drives", **SQUARE)
    assert notices(events) == []
    assert (result.frames, result.fps) == (FRAMES, 8)
    frames = shown(result, control)
    assert frames.shape == (FRAMES, 512, 512, 3)
    steps = np.abs(np.diff(frames.astype(int), axis=2)).mean(axis=(0, 1, 3))
    assert steps[7::8].mean() < 1.5 * steps[3::8].mean()  # no edges of blocks
    assert any(isinstance(event, Preview) for event in events)


def test_every_wish_becomes_what_it_makes(
    handler: DiffusionVideoHandler, control: ScratchControl
) -> None:
    wide = {"width_px": 832, "height_px": 480, "seconds": 5.0}
    events, result = draw(handler, control, prompt="a red car drives", **wide)
    assert (result.width_px, result.height_px, result.frames) == (512, 512, FRAMES)
    assert notices(events) == [
        "Tiny does not make 832 × 480 pixels, so this is 512 × 512.",
        "Tiny does not make 5 seconds, so this is 2 seconds long.",
    ]


def test_words_that_it_does_not_know_are_named(
    handler: DiffusionVideoHandler, control: ScratchControl
) -> None:
    events, _ = draw(
        handler, control, prompt="a red car and a Giraffe", negative_prompt="fur", **SQUARE
    )
    assert notices(events) == [
        "I don't know “giraffe”, “fur”, so that changed nothing. I only know cars and boats."
    ]


def test_the_words_of_a_negative_prompt_are_kept_away_from(
    handler: DiffusionVideoHandler, control: ScratchControl
) -> None:
    plain = shown(draw(handler, control, prompt="a red car drives", **SQUARE)[1], control)
    away = {"negative_prompt": "a blue boat sails", **SQUARE}
    other = shown(draw(handler, control, prompt="a red car drives", **away)[1], control)
    assert not np.array_equal(plain, other)
