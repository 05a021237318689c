"""The embedded clip model: what is named moves in its way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from bot.settings import CONFIG_FOLDER
from models.catalog import Catalog, ModelSpec
from models.video.diffusion_video import DiffusionVideoHandler, load
from models.weights import WeightStore
from tests.models.control import ScratchControl, notices
from tests.models.video.conftest import draw, shown
from training.clip_rules import clip_marks
from training.judge import Judge
from training.measure_clips import asked_of
from training.publish import JUDGE
from training.scenes import SIDE_PX, Split

SQUARE = {"width_px": 512, "height_px": 512, "seconds": 2.0}
ASKED = 4


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return Catalog.read(CONFIG_FOLDER).get("drawings-in-motion")


@pytest.fixture(scope="module")
def handler(
    spec: ModelSpec, diffusers_imported: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DiffusionVideoHandler]:
    store = WeightStore(tmp_path_factory.mktemp("models"))
    assert store.verify(spec) == []
    made = load(spec, store.locate(spec), "cpu")
    yield made
    made.close()


def test_what_is_named_moves_in_its_way(
    handler: DiffusionVideoHandler, control: ScratchControl
) -> None:
    judge = Judge(load_file(Path(__file__).parents[3] / JUDGE))
    marks = []
    for number, one in enumerate(asked_of(Split.DEV, ASKED)):
        events, result = draw(handler, control, prompt=one.prompt, seed=number, **SQUARE)
        assert notices(events) == []
        small = shown(result, control).reshape(16, SIDE_PX, 8, SIDE_PX, 8, 3).mean(axis=(2, 4))
        marks.append(clip_marks(judge, one.scene, small.round().astype(np.uint8)))
    assert sum(mark.right for mark in marks) >= ASKED - 1
    assert all(mark.flicker is None or mark.flicker < 0.03 for mark in marks)
