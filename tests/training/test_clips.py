"""A short run of the code that learns clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.contracts import VideoRequest
from models.video.diffusion_video import load
from tests.models.control import ScratchControl
from tests.models.video.conftest import frames_in, result_of, spec_for
from tests.training.drawn_clips import one_of
from training import clips
from training.autoencoder import new_autoencoder
from training.clip_latents import ClipLatents, prepared_clips
from training.clip_model import new_modules, save_pipeline
from training.motion import FRAMES
from training.running import Run, optimizer_for
from training.scenes import Kind


@pytest.fixture(scope="module")
def vae() -> Any:
    torch.manual_seed(0)
    return new_autoencoder().eval()


@pytest.fixture(scope="module")
def latents(vae: Any, tmp_path_factory: pytest.TempPathFactory) -> ClipLatents:
    path = tmp_path_factory.mktemp("clips") / "clips-latents.pt"
    made = prepared_clips(path, vae, 12)
    again = prepared_clips(path, vae, 12)
    assert torch.equal(made.values, again.values)
    assert made.values.shape == (12, 8, FRAMES, 16, 16)
    return made


class ClipRun:
    """A run of the clip model over few clips, in small lots."""

    def __init__(self, folder: Path, latents: ClipLatents) -> None:
        torch.manual_seed(0)
        self.modules = new_modules()
        self.naming = clips.naming_of(self.modules["transformer"])
        trained = self.modules | {"naming": self.naming.heads}
        self.run = Run(folder / "clips.pt", trained, optimizer_for(trained, 1e-3, 0.01))
        self.examples = clips.Examples(latents, 0)

    def to(self, steps: int) -> list[float]:
        losses = clips.train(self.run, self.modules, self.naming, self.examples, steps)
        return [loss["flow"] for loss in losses]


@pytest.fixture
def small_lots(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(clips, "BATCH", 2)
    monkeypatch.setattr("training.running._WARM_UP", 4)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("small_lots")
def test_the_clip_model_learns_and_its_files_make_clips(
    tmp_path: Path, latents: ClipLatents, vae: Any
) -> None:
    training = ClipRun(tmp_path, latents)
    losses = training.to(12)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])

    vae.register_to_config(scaling_factor=latents.scale)
    save_pipeline(tmp_path / "pipeline", training.modules, vae)
    row = {
        "num_inference_steps": 2,
        "guidance_scale": 2.0,
        "fps": 8,
        "min_frames": FRAMES,
        "max_frames": FRAMES,
        "enlarged": 8,
        "multiple_px": 512,
        "min_pixels": 512 * 512,
        "max_pixels": 512 * 512,
    }
    handler = load(spec_for("diffusers-video", **row), str(tmp_path / "pipeline"), "cpu")
    request = VideoRequest(
        prompt="a red car drives", seconds=2.0, width_px=512, height_px=512, seed=3
    )
    control = ScratchControl(tmp_path)
    events = list(handler.run(request, control))
    handler.close()
    result = result_of(events)
    assert (result.frames, result.width_px, result.height_px) == (FRAMES, 512, 512)
    shown = frames_in(control.open(result.media).read_bytes())
    assert shown.shape == (FRAMES, 512, 512, 3)
    assert np.ptp(shown) > 20


@pytest.mark.usefixtures("small_lots")
def test_a_run_goes_on_as_if_it_had_never_ended(tmp_path: Path, latents: ClipLatents) -> None:
    (tmp_path / "whole").mkdir()
    expected = ClipRun(tmp_path / "whole", latents).to(4)
    stopped = ClipRun(tmp_path, latents)
    before = stopped.to(2)
    stopped.run.save()
    resumed = ClipRun(tmp_path, latents)
    assert resumed.run.step == 2
    assert before + resumed.to(4) == pytest.approx(expected, abs=1e-6)


def test_names_lie_where_the_thing_is(latents: ClipLatents) -> None:
    scene = one_of(Kind.CAR)
    masks = torch.zeros(1, FRAMES, 16, 16)
    masks[0, :, 12:, :4] = 1
    kinds, colours = clips.names_of([scene], masks)
    assert kinds.shape == (1, FRAMES, clips.CELLS**2)
    named = kinds[0, 0].view(clips.CELLS, clips.CELLS)
    assert int(named[-1, 0]) == list(Kind).index(Kind.CAR)
    assert int(named[0, 0]) == len(Kind)
    assert int((colours != len(Kind)).sum()) == int((kinds != len(Kind)).sum())
