"""The diffusers backend on tiny checkpoints of the real pipelines."""

from __future__ import annotations

import io
import json
import shutil
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.catalog import ModelSpec
from models.contracts import (
    Finished,
    HandlerEvent,
    ImageResult,
    Picture,
    Preview,
    Progress,
)
from models.errors import BackendError, InvalidMedia, ModelLoadFailed, OutOfMemory, UnsafePicture
from models.image.diffusion import DiffusionHandler, load
from models.image.safety import SafetyClassifier
from tests.models.checkpoints_pictures import FAMILIES
from tests.models.control import ScratchControl, media_of, notices, stages
from tests.models.image.conftest import REVISION, ask, opened
from tests.models.scoring import EXPLICIT, dislike_blue, plain

Checkpoint = Callable[[str], Path]
MakeSpec = Callable[..., ModelSpec]
Load = Callable[..., DiffusionHandler]

TINY = {"min_pixels": 64, "num_inference_steps": 3}


@pytest.fixture(scope="module")
def loaded(checkpoint: Checkpoint, spec: MakeSpec) -> Iterator[Load]:
    """Return a function that loads a family; a test that changes what it loads wants it fresh."""
    handlers: dict[str, DiffusionHandler] = {}

    def make(family: str = "sd15", *, fresh: bool = False, **options: Any) -> DiffusionHandler:
        key = f"{family} {options}" + (f" {len(handlers)}" if fresh else "")
        if key not in handlers:
            handlers[key] = load(spec(**{**TINY, **options}), str(checkpoint(family)), "cpu")
        return handlers[key]

    yield make
    for handler in handlers.values():
        handler.close()


def draw(
    handler: DiffusionHandler, control: ScratchControl, **options: Any
) -> tuple[list[HandlerEvent], ImageResult]:
    events = list(handler.run(ask(**options), control))
    last = events[-1]
    assert isinstance(last, Finished)
    assert isinstance(last.result, ImageResult)
    return events, last.result


def pixels(result: ImageResult, control: ScratchControl) -> list[bytes]:
    return [opened(picture, control).tobytes() for picture in result.pictures]


# --------------------------------------------------------------------------- every family


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_repeats_bit_for_bit(family: str, loaded: Load, control: ScratchControl) -> None:
    """Also with another picture before it, and after the model was loaded anew."""
    handler = loaded(family)
    (first,) = pixels(draw(handler, control)[1], control)
    both = pixels(draw(handler, control, seed=6, count=2)[1], control)
    assert both[1] == first
    assert both[0] != first
    (again,) = pixels(draw(loaded(family, fresh=True), control)[1], control)
    assert again == first


@pytest.mark.parametrize("family", FAMILIES)
def test_progress_and_previews_come_while_it_draws(
    family: str, loaded: Load, control: ScratchControl
) -> None:
    events, result = draw(loaded(family, preview_s=0), control, num_inference_steps=4, count=2)
    progress = [event.fraction for event in events if isinstance(event, Progress)]
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0.0, 1.0)
    said = stages(events)
    assert said[0] == "picture 1 of 2 · reading the prompt"
    assert said[1].startswith("picture 1 of 2 · step 1 of ")
    assert said[-1] == "picture 2 of 2 · developing the picture"
    looks = [event.media for event in events if isinstance(event, Preview)]
    steps = len([stage for stage in said if "step" in stage])
    assert len(looks) == steps >= 6
    with Image.open(control.open(looks[0])) as look:
        assert (look.format, look.size) == ("JPEG", (64, 64))
    assert len({look.sha256 for look in looks}) == len(looks)
    assert result.usage.amount == 2
    assert result.num_inference_steps == 4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("after", [0, 2])
def test_a_cancel_is_heard_within_a_step(
    family: str, after: int, loaded: Load, control: ScratchControl
) -> None:
    handler = loaded(family)
    (before,) = pixels(draw(handler, control)[1], control)
    seen: list[HandlerEvent] = []
    for event in handler.run(ask(num_inference_steps=50), control):
        seen.append(event)
        if len(stages(seen)) > after:
            control.cancelled = True
    assert not isinstance(seen[-1], Finished)
    # The thread may be a few tiny steps ahead of who listens, never at the end.
    assert len(stages(seen)) < 40
    control.cancelled = False
    (afterwards,) = pixels(draw(handler, control)[1], control)
    assert afterwards == before


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reference_is_started_from(family: str, loaded: Load, control: ScratchControl) -> None:
    handler = loaded(family)
    media = stored(control, Image.new("RGB", (64, 64), "navy"))
    _, near = draw(handler, control, reference=media, strength=0.34)
    _, far = draw(handler, control, reference=media, strength=1.0)
    _, none = draw(handler, control)
    assert len({*pixels(near, control), *pixels(far, control), *pixels(none, control)}) == 3
    _, same = draw(handler, control, reference=media, strength=0.34)
    assert pixels(same, control) == pixels(near, control)
    recipe = recipe_of(near.pictures[0], control)
    assert (recipe["strength"], recipe["reference_sha256"]) == (0.34, media.sha256)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_past_the_encoder_is_said(
    family: str, loaded: Load, control: ScratchControl
) -> None:
    long = family.startswith(("flux", "z-image"))
    handler = loaded(family, **({"max_sequence_length": 128} if long else {}))
    events, _ = draw(handler, control, prompt="cat " * 120 + "the-very-end")
    (said,) = notices(events)
    assert said.startswith("This prompt is longer than Tiny reads. Left out at its end: “")
    assert said.endswith("the-very-end”")
    assert notices(draw(handler, control, prompt="cat " * 15)[0]) == []


@pytest.mark.parametrize(
    ("family", "negative", "guidance"),
    [("sd15", True, True), ("sdxl", True, True), ("sd3", True, True), ("flux-dev", False, True),
     ("flux-schnell", False, False), ("z-image", True, True)],
)  # fmt: skip
def test_what_a_family_ignores_is_said(
    family: str, negative: bool, guidance: bool, loaded: Load, control: ScratchControl
) -> None:
    handler = loaded(family)
    _, plain = draw(handler, control)
    events, other = draw(handler, control, negative_prompt="blur")
    assert (pixels(plain, control) != pixels(other, control)) == negative
    assert bool(notices(events)) != negative
    events, other = draw(handler, control, guidance_scale=2.0)
    assert (pixels(plain, control) != pixels(other, control)) == guidance
    assert bool(notices(events)) != guidance


def test_turbo_takes_one_step_without_guidance(loaded: Load, control: ScratchControl) -> None:
    handler = loaded("sd3", num_inference_steps=1, guidance_scale=0.0, distilled=True)
    events, result = draw(handler, control, negative_prompt="blur", guidance_scale=5.0)
    assert len(notices(events)) == 2
    assert (result.num_inference_steps, result.guidance_scale) == (1, 0.0)


@pytest.mark.parametrize(("family", "size"), [("sd15", (104, 72)), ("sd3", (96, 64))])
def test_sizes_are_rounded_and_said(
    family: str, size: tuple[int, int], loaded: Load, control: ScratchControl
) -> None:
    events, result = draw(loaded(family), control, width_px=102, height_px=71)
    (picture,) = result.pictures
    assert (picture.width_px, picture.height_px) == size == opened(picture, control).size
    assert notices(events) == [
        f"Tiny does not make 102 × 71 pixels, so this is {size[0]} × {size[1]}."
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_close_frees_the_memory(
    family: str, checkpoint: Checkpoint, spec: MakeSpec, control: ScratchControl
) -> None:
    handler = load(spec(**TINY), str(checkpoint(family)), "cpu")
    draw(handler, control)
    parts = [part for part in handler._pipeline._pipe.components.values() if part is not None]
    left = [weakref.ref(part) for part in parts]
    del parts
    handler.close()
    assert [part() for part in left] == [None] * len(left)


# --------------------------------------------------------------------------- the file


def test_a_picture_says_how_it_was_made(loaded: Load, control: ScratchControl) -> None:
    secret = "a secret wish of ada"
    _, result = draw(loaded(), control, prompt=secret, negative_prompt="hidden things")
    (picture,) = result.pictures
    image = opened(picture, control)
    assert image.format == "PNG"
    said = image.text
    assert said["Source"] == "Generated by AI: Tiny"
    assert (said["model"], said["revision"], said["seed"]) == ("tiny", REVISION, "7")
    assert said["licence"] == "MIT"
    assert "trainedAlgorithmicMedia" in said["XML:com.adobe.xmp"]
    assert recipe_of(picture, control) == {
        "width": 64,
        "height": 64,
        "num_inference_steps": 3,
        "guidance_scale": 7.5,
        "negative_prompt": True,
        "scheduler": "PNDMScheduler",
        "dtype": "float32",
        "device": "cpu",
        "economical": False,
        "strength": None,
        "reference_sha256": None,
    }
    data = control.open(picture.media).read_bytes()
    assert b"secret" not in data
    assert b"hidden" not in data
    assert picture.alt_text == f"AI-generated picture: {secret}"
    assert picture.seed == 7


def test_alt_texts_are_short_enough_for_discord(loaded: Load, control: ScratchControl) -> None:
    _, result = draw(loaded(), control, prompt="a cat\n and " * 300)
    assert len(result.pictures[0].alt_text) <= 1024
    assert result.pictures[0].alt_text.endswith(" …")
    assert "\n" not in result.pictures[0].alt_text


def test_without_a_seed_a_new_one_is_drawn(loaded: Load, control: ScratchControl) -> None:
    handler = loaded()
    seeds = {draw(handler, control, seed=None)[1].pictures[0].seed for _ in range(3)}
    assert len(seeds) == 3
    _, result = draw(handler, control, seed=2**32 - 1, count=2)
    assert [picture.seed for picture in result.pictures] == [2**32 - 1, 0]


# --------------------------------------------------------------------------- references


def stored(control: ScratchControl, image: Image.Image, format_: str = "PNG") -> Any:
    file = io.BytesIO()
    image.save(file, format_)
    media = control.store(file.getvalue(), "reference", f"image/{format_.lower()}")
    return media_of(control.folder / media.path, media.content_type)


def recipe_of(picture: Picture, control: ScratchControl) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads(opened(picture, control).text["recipe"])
    return recipe


def test_a_reference_of_another_shape_is_cropped_and_said(
    loaded: Load, control: ScratchControl
) -> None:
    media = stored(control, Image.new("RGB", (200, 50)), "GIF")
    events, result = draw(loaded(), control, reference=media)
    assert notices(events) == [
        "The reference picture has another shape, so its edges were cut off."
    ]
    assert result.pictures[0].width_px == 64


def test_a_reference_that_is_no_picture_is_refused(loaded: Load, control: ScratchControl) -> None:
    (control.folder / "x.png").write_bytes(b"<svg></svg>")
    media = media_of(control.folder / "x.png", "image/png")
    with pytest.raises(InvalidMedia, match="SVG"):
        draw(loaded(), control, reference=media)


# --------------------------------------------------------------------------- the safety check


class Strict(SafetyClassifier):
    """Finds one thing in everything."""

    def __init__(self, score: float) -> None:
        self._score = score

    def score(self, image: Image.Image) -> float:
        return self._score


@pytest.mark.parametrize(("score", "shown"), [(0.1, True), (0.9, False)])
def test_explicit_previews_are_kept_back(
    score: float,
    shown: bool,
    loaded: Load,
    control: ScratchControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SafetyClassifier, "load", lambda _location: Strict(score))
    events, result = draw(loaded(fresh=True, preview_s=0, safety_dir="somewhere"), control)
    assert any(isinstance(event, Preview) for event in events) == shown
    assert result.pictures[0].unsafe_score == score


def test_a_blocked_reference_is_not_drawn_from(
    loaded: Load, control: ScratchControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    dislike_blue(monkeypatch)
    handler = loaded(fresh=True, preview_s=0, safety_dir="somewhere")
    blue = plain(control, "blue")
    events: list[HandlerEvent] = []
    with pytest.raises(UnsafePicture):
        events.extend(handler.run(ask(reference=blue, blocked_from=0.7), control))
    assert stages(events) == []
    for limit in (None, 0.95):
        events, result = draw(handler, control, reference=blue, blocked_from=limit)
        assert result.pictures[0].unsafe_score == EXPLICIT  # whatever it has become
        assert not any(isinstance(event, Preview) for event in events)
    red = plain(control, "red")
    assert draw(handler, control, reference=red, blocked_from=0.7)[1].pictures


def test_without_a_classifier_nothing_is_scored(loaded: Load, control: ScratchControl) -> None:
    assert draw(loaded(), control)[1].pictures[0].unsafe_score is None


def test_a_classifier_that_is_gone_fails_the_load(loaded: Load, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match="safety check"):
        loaded(safety_dir=str(tmp_path / "gone.onnx"))


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
    loaded: Load, control: ScratchControl
) -> None:
    """The worker closes the generator when a job is cancelled between two events."""
    handler = loaded()
    job = handler.run(ask(num_inference_steps=150), control)
    for event in job:
        if "step 1" in getattr(event, "stage", ""):
            break
    began = time.perf_counter()
    job.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - began < 1
    assert draw(handler, control)[1].pictures
