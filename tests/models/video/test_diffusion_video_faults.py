"""Clips by diffusion when memory runs out, and on folders that are no such checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import BackendError, ModelLoadFailed, OutOfMemory
from models.video.diffusion_video import load
from tests.models.control import ScratchControl, notices
from tests.models.video.conftest import Checkpoint, Load, ask, draw, spec_for

# --------------------------------------------------------------------------- what goes wrong


ALLOCATION = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")


@pytest.fixture
def fail_in_vae(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function: what the next calls of the VAE's decoder raise."""
    from diffusers import AutoencoderKLLTXVideo

    decode = AutoencoderKLLTXVideo.decode

    def install(*script: Exception) -> None:
        waiting = list(script)

        def scripted(vae: Any, *arguments: Any, **options: Any) -> Any:
            if waiting:
                raise waiting.pop(0)
            return decode(vae, *arguments, **options)

        monkeypatch.setattr(AutoencoderKLLTXVideo, "decode", scripted)

    return install


def test_out_of_memory_is_tried_slower_then_smaller(
    loaded: Load, control: ScratchControl, fail_in_vae: Callable[..., None]
) -> None:
    handler = loaded()
    fail_in_vae(ALLOCATION, MemoryError())
    events, result = draw(handler, control, width_px=256, height_px=128)
    assert notices(events) == [
        "Memory ran out, so this is drawn in a slower way that needs less.",
        "Memory ran out, so this is smaller: 128 × 64.",
    ]
    assert (result.width_px, result.height_px, result.frames) == (128, 64, 9)


def test_and_then_given_up(
    loaded: Load, control: ScratchControl, fail_in_vae: Callable[..., None]
) -> None:
    handler = loaded()
    fail_in_vae(ALLOCATION, ALLOCATION)
    with pytest.raises(OutOfMemory):
        draw(handler, control)
    assert draw(handler, control)[1].frames == 9


def test_other_failures_are_translated(
    loaded: Load, control: ScratchControl, fail_in_vae: Callable[..., None]
) -> None:
    handler = loaded()
    fail_in_vae(RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(BackendError):
        draw(handler, control)
    assert draw(handler, control)[1].frames == 9


def test_a_generator_that_is_dropped_stops_the_pipeline(
    loaded: Load, control: ScratchControl, fail_in_vae: Callable[..., None]
) -> None:
    """The worker closes the generator when a job is cancelled between two events."""
    handler = loaded()
    job = handler.run(ask(num_inference_steps=150), control)
    for event in job:
        if "step 1" in getattr(event, "stage", ""):
            break
    fail_in_vae(ALLOCATION)
    job.close()  # type: ignore[attr-defined]
    events, result = draw(handler, control)
    assert notices(events), "who drew to the end would have met that error before"
    assert result.frames == 9


# --------------------------------------------------------------------------- loading


def test_pickled_weights_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = shutil.copytree(checkpoint("ltx"), tmp_path / "pickled")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelLoadFailed):
        load(spec_for("diffusers-video"), str(folder), "cpu")


def test_what_makes_no_clips_is_refused(tmp_path: Path) -> None:
    from tests.models.checkpoints_pictures import write_pipeline

    with pytest.raises(ModelLoadFailed, match="no clips"):
        load(spec_for("diffusers-video"), str(write_pipeline(tmp_path, "sd15")), "cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadFailed):
        load(spec_for("diffusers-video"), str(tmp_path / "empty"), "cpu")


def test_unknown_options_are_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(ModelLoadFailed, match="options"):
        load(spec_for("diffusers-video", fps=0), str(checkpoint("ltx")), "cpu")
