"""Short runs of the very code that makes the weights."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from training import autoencoder, pictures
from training.latents import Latents, prepared
from training.picture_model import THIRD_TOKENS, new_modules, save_pipeline
from training.running import Run, optimizer_for, rate_at
from training.scenes import Split
from training.tokens import new_tokenizer

SCENES = 24


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def vae() -> Any:
    torch.manual_seed(0)
    return autoencoder.new_autoencoder().eval()


@pytest.fixture(scope="module")
def latents(vae: Any, tmp_path_factory: pytest.TempPathFactory) -> Latents:
    return prepared(tmp_path_factory.mktemp("latents") / "latents.pt", vae, SCENES)


class PictureRun:
    """A run of the picture model over few scenes, in small lots."""

    def __init__(self, folder: Path, latents: Latents) -> None:
        torch.manual_seed(0)
        self.modules = new_modules()
        self.naming = pictures.naming_of(self.modules["transformer"])
        trained = self.modules | {"naming": self.naming.heads}
        self.run = Run(folder / "pictures.pt", trained, optimizer_for(trained, 1e-3, 0.01))
        self.examples = pictures.Examples(latents, 0)

    def to(self, steps: int) -> list[float]:
        losses = pictures.train(self.run, self.modules, self.naming, self.examples, steps)
        return [loss["flow"] for loss in losses]


@pytest.fixture
def small_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "BATCH", 8)
    monkeypatch.setattr("training.running._WARM_UP", 4)


def test_the_autoencoder_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.running._WARM_UP", 4)
    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder()
    picture, mask = autoencoder.drawn(Split.TRAIN, list(range(16)))
    picture, mask = autoencoder.cropped(picture, mask, random.Random(0))
    assert picture.shape == (16, 3, 32, 32)
    modules = {"vae": vae}
    run = Run(tmp_path / "vae.pt", modules, optimizer_for(modules, 1e-3, 0.0))
    losses = []
    for _ in range(10):
        loss = autoencoder.loss_of(vae, picture, mask)
        loss.backward()
        run.stepped(rate_at(run.step, 100, 1e-3))
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.usefixtures("small_lots")
def test_the_picture_model_learns_and_its_files_load(
    tmp_path: Path, latents: Latents, vae: Any
) -> None:
    from diffusers import DiffusionPipeline, StableDiffusion3Pipeline

    training = PictureRun(tmp_path, latents)
    losses = training.to(12)
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])

    save_pipeline(tmp_path / "pipeline", training.modules, vae)
    pipe = DiffusionPipeline.from_pretrained(
        tmp_path / "pipeline", dtype=torch.float32, use_safetensors=True
    )
    pipe.set_progress_bar_config(disable=True)
    assert isinstance(pipe, StableDiffusion3Pipeline)
    made = pipe(
        "a red cat left of a blue house",
        negative_prompt="rain",
        num_inference_steps=2,
        guidance_scale=4.0,
        height=64,
        width=64,
        max_sequence_length=THIRD_TOKENS,
    )
    assert made.images[0].size == (64, 64)


@pytest.mark.usefixtures("small_lots")
def test_a_run_goes_on_as_if_it_had_never_ended(tmp_path: Path, latents: Latents) -> None:
    (tmp_path / "whole").mkdir()
    whole = PictureRun(tmp_path / "whole", latents)
    expected = whole.to(5)

    stopped = PictureRun(tmp_path, latents)
    before = stopped.to(3)
    stopped.run.save()
    resumed = PictureRun(tmp_path, latents)
    assert resumed.run.step == 3
    assert before + resumed.to(5) == pytest.approx(expected, abs=1e-6)
    for name, value in whole.run.averaged("transformer").items():
        assert torch.allclose(value, resumed.run.averaged("transformer")[name], atol=1e-6), name


def test_latents_are_made_once(tmp_path: Path, vae: Any) -> None:
    path = tmp_path / "latents.pt"
    made = prepared(path, vae, 4)
    assert made.values.shape == (4, 8, 16, 16)
    assert bool((made.kinds != 12).any())
    written = path.stat().st_mtime_ns
    again = prepared(path, vae, 4)
    assert path.stat().st_mtime_ns == written
    assert torch.equal(again.values, made.values)


def test_words_are_numbers_and_unknown_ones_can_be_told() -> None:
    tokenizer = new_tokenizer()
    assert tokenizer.tokenize("A RED cat, and the giraffe.") == [
        "a",
        "red",
        "cat",
        "and",
        "the",
        "<unk>",
    ]
    ids = pictures.ids_of(tokenizer, ["a cat", "word " * 60])
    assert ids.shape == (2, tokenizer.model_max_length)
    assert int(ids[0, 3]) == tokenizer.eos_token_id
    assert int(ids[1, -1]) == tokenizer.eos_token_id


def test_the_rate_rises_holds_and_falls() -> None:
    rates = [rate_at(step, 1000, 1.0, hold=0.5) for step in (0, 199, 400, 750, 1000)]
    assert rates == [pytest.approx(r, abs=0.01) for r in (0.005, 1.0, 1.0, 0.51, 0.02)]
