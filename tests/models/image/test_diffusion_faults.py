"""The diffusers backend when memory runs out, and on folders that are no such checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.errors import BackendError, ModelLoadFailed, OutOfMemory
from models.image.diffusion import load
from tests.models.checkpoints_pictures import FAMILIES
from tests.models.control import ScratchControl, notices
from tests.models.image.conftest import Checkpoint, Load, MakeSpec, ask, draw, recipe_of

# --------------------------------------------------------------------------- memory


ALLOCATION = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")


@pytest.fixture
def fail_in_vae(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Exception | None]], None]:
    """Return a function: what the next calls of the VAE's decoder raise, None for none."""
    from diffusers import AutoencoderKL

    decode = AutoencoderKL.decode

    def install(script: Sequence[Exception | None]) -> None:
        waiting = list(script)

        def scripted(vae: Any, *arguments: Any, **options: Any) -> Any:
            error = waiting.pop(0) if waiting else None
            if error is not None:
                raise error
            return decode(vae, *arguments, **options)

        monkeypatch.setattr(AutoencoderKL, "decode", scripted)

    return install


@pytest.mark.parametrize("family", FAMILIES)
def test_out_of_memory_is_tried_in_a_slower_way(
    family: str, loaded: Load, control: ScratchControl, fail_in_vae: Callable[..., None]
) -> None:
    handler = loaded(family, fresh=True)
    fail_in_vae([ALLOCATION])
    events, result = draw(handler, control)
    assert notices(events) == ["Memory ran out, so this is drawn in a slower way that needs less."]
    assert result.pictures[0].width_px == 64
    assert recipe_of(result.pictures[0], control)["economical"]
    assert notices(draw(handler, control)[0]) == []


def test_then_smaller(
    loaded: Load, control: ScratchControl, fail_in_vae: Callable[..., None]
) -> None:
    handler = loaded(fresh=True)
    fail_in_vae([ALLOCATION, MemoryError()])
    events, result = draw(handler, control, width_px=256, height_px=128, count=2)
    assert "so this is smaller: 128 × 64" in notices(events)[1]
    assert [(p.width_px, p.height_px) for p in result.pictures] == [(128, 64)] * 2


def test_and_then_given_up(
    loaded: Load, control: ScratchControl, fail_in_vae: Callable[..., None]
) -> None:
    handler = loaded(fresh=True)
    fail_in_vae([ALLOCATION] * 3)  # as it is, in tiles, at half the size
    with pytest.raises(OutOfMemory):
        draw(handler, control, width_px=128, height_px=128)
    assert draw(handler, control)[1].pictures


def test_other_failures_are_translated(
    loaded: Load, control: ScratchControl, fail_in_vae: Callable[..., None]
) -> None:
    handler = loaded(fresh=True)
    fail_in_vae([RuntimeError("shapes cannot be multiplied")])
    with pytest.raises(BackendError):
        draw(handler, control)
    assert draw(handler, control)[1].pictures


# --------------------------------------------------------------------------- loading


def test_pickled_weights_are_refused(
    checkpoint: Checkpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    folder = shutil.copytree(checkpoint("sd15"), tmp_path / "pickled")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelLoadFailed):
        load(spec(), str(folder), "cpu")


@pytest.mark.parametrize("part", ["pipeline", "component"])
def test_code_beside_the_weights_is_not_run(
    part: str, checkpoint: Checkpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint("sd15"), tmp_path / "own")
    index = json.loads((folder / "model_index.json").read_text())
    if part == "pipeline":
        index["_class_name"] = ["own", "Pipeline"]
        (folder / "own.py").write_text("raise SystemExit('this ran')")
    else:
        index["unet"] = ["own", "Model"]
        (folder / "unet" / "own.py").write_text("raise SystemExit('this ran')")
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelLoadFailed):
        load(spec(), str(folder), "cpu")


@pytest.mark.parametrize("location", ["nowhere", "empty"])
def test_what_is_not_a_pipeline_fails_to_load(
    location: str, spec: MakeSpec, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadFailed):
        load(spec(), str(tmp_path / location), "cpu")


def test_unknown_options_fail_to_load(checkpoint: Checkpoint, spec: MakeSpec) -> None:
    with pytest.raises(ModelLoadFailed, match="options of `tiny`"):
        load(spec(stepz=1), str(checkpoint("sd15")), "cpu")


def test_prompts_do_not_reach_the_log(
    loaded: Load, control: ScratchControl, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    draw(loaded("sdxl"), control, prompt="secret " * 60)
    captured = capfd.readouterr()
    assert "secret" not in caplog.text + captured.out + captured.err


def test_a_generator_that_is_dropped_stops_the_pipeline(
    loaded: Load, control: ScratchControl, fail_in_vae: Callable[..., None]
) -> None:
    """The worker closes the generator when a job is cancelled between two events."""
    handler = loaded()
    job = handler.run(ask(num_inference_steps=150), control)
    for event in job:
        if "step 1" in getattr(event, "stage", ""):
            break
    fail_in_vae([ALLOCATION])
    job.close()  # type: ignore[attr-defined]
    events, result = draw(handler, control)
    assert notices(events), "who drew to the end would have met that error before"
    assert result.pictures
