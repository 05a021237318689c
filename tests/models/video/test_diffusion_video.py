"""The diffusers-video backend on tiny checkpoints of the real pipelines."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
from PIL import Image

from models.contracts import Finished, HandlerEvent, Preview, Progress
from models.errors import InvalidMedia, UnsafePicture, UnsupportedOption
from models.image.safety import SafetyClassifier
from models.video.diffusion_video import load
from tests.models.checkpoints_video import FAMILIES
from tests.models.control import ScratchControl, media_of, notices, stages
from tests.models.scoring import EXPLICIT, dislike_blue, plain
from tests.models.video.conftest import (
    FROM_PICTURE,
    REVISION,
    TINY,
    Checkpoint,
    Load,
    ask,
    draw,
    metadata_in,
    picture,
    shown,
    spec_for,
)

# --------------------------------------------------------------------------- every family


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_repeats_bit_for_bit(family: str, loaded: Load, control: ScratchControl) -> None:
    """Also with another clip before it, and after the model was loaded anew."""
    handler = loaded(family)
    events, first = draw(handler, control)
    assert notices(events) == []
    frames = shown(first, control)
    assert frames.shape == (9, 64, 64, 3)
    assert (first.frames, first.fps, first.width_px, first.height_px) == (9, 8.0, 64, 64)
    assert (first.usage.amount, first.usage.unit) == (9, "frames")
    _, other = draw(handler, control, seed=6)
    assert not np.array_equal(shown(other, control), frames)
    _, again = draw(loaded(family), control)
    assert again.media.sha256 == first.media.sha256


@pytest.mark.parametrize("family", FAMILIES)
def test_progress_comes_while_it_is_made(
    family: str, loaded: Load, control: ScratchControl
) -> None:
    events, _ = draw(loaded(family), control, num_inference_steps=4)
    progress = [event.fraction for event in events if isinstance(event, Progress)]
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0.0, 1.0)
    assert stages(events) == [
        "reading the prompt",
        "step 1 of 4",
        "step 2 of 4",
        "step 3 of 4",
        "developing the clip",
        "encoding the clip",
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_previews_show_a_frame_while_it_is_made(
    family: str, loaded: Load, control: ScratchControl
) -> None:
    handler = loaded(family, preview_s=0)
    events, result = draw(handler, control, num_inference_steps=4, width_px=128)
    looks = [event.media for event in events if isinstance(event, Preview)]
    assert len(looks) == 3
    assert len({look.sha256 for look in looks}) == len(looks)
    with Image.open(control.open(looks[0])) as look:
        assert (look.format, look.size) == ("JPEG", (128, 64))
    _, unseen = draw(loaded(family), control, num_inference_steps=4, width_px=128)
    assert unseen.media.sha256 == result.media.sha256


def test_explicit_previews_are_kept_back(
    loaded: Load, control: ScratchControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(SafetyClassifier):
        def __init__(self) -> None: ...
        def score(self, image: Image.Image) -> float:
            return 0.9

    monkeypatch.setattr(SafetyClassifier, "load", lambda _location: Strict())
    events, _ = draw(loaded(preview_s=0, safety_dir="somewhere"), control)
    assert not any(isinstance(event, Preview) for event in events)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cancel_is_heard_within_a_step(
    family: str, loaded: Load, control: ScratchControl
) -> None:
    handler = loaded(family)
    _, before = draw(handler, control)
    seen: list[HandlerEvent] = []
    for event in handler.run(ask(num_inference_steps=50), control):
        seen.append(event)
        control.cancelled = len(stages(seen)) > 2
    assert not isinstance(seen[-1], Finished)
    # The thread may be a few tiny steps ahead of who listens, never at the end.
    assert len(stages(seen)) < 40
    control.cancelled = False
    _, afterwards = draw(handler, control)
    assert afterwards.media.sha256 == before.media.sha256


@pytest.mark.parametrize("family", FAMILIES)
def test_a_first_frame_is_begun_with_or_refused(
    family: str, loaded: Load, control: ScratchControl
) -> None:
    handler = loaded(family)
    media = picture(control, (80, 60))
    if family not in FROM_PICTURE:
        with pytest.raises(UnsupportedOption, match="Tiny can't begin with a picture"):
            draw(handler, control, first_frame=media)
        return
    events, begun = draw(handler, control, first_frame=media)
    assert notices(events) == [
        "The first frame has another shape than the clip, so its edges were cut off."
    ]
    _, free = draw(handler, control)
    assert not np.array_equal(shown(begun, control), shown(free, control))
    _, again = draw(handler, control, first_frame=media)
    assert again.media.sha256 == begun.media.sha256
    recipe = json.loads(metadata_in(control.open(begun.media).read_bytes())["recipe"])
    assert recipe["first_frame_sha256"] == media.sha256


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_past_the_encoder_is_said(
    family: str, loaded: Load, control: ScratchControl
) -> None:
    events, _ = draw(loaded(family), control, prompt="gate " * 130 + "the-very-end")
    (said,) = notices(events)
    assert said.startswith("This prompt is longer than Tiny reads. Left out at its end: “")
    assert said.endswith("the-very-end”")


@pytest.mark.parametrize(
    ("family", "multiple", "step"),
    [("wan", 16, 4), ("wan-2.2", 16, 4), ("ltx", 32, 8), ("cogvideox", 16, 8),
     ("animatediff", 8, 1)],
)  # fmt: skip
def test_odd_sizes_and_lengths_are_rounded_and_said(
    family: str, multiple: int, step: int, loaded: Load, control: ScratchControl
) -> None:
    events, result = draw(loaded(family), control, width_px=99, height_px=51, seconds=0.7)
    assert (result.width_px % multiple, result.height_px % multiple) == (0, 0)
    assert abs(result.width_px - 99) <= multiple
    assert (result.frames - (step > 1)) % step == 0
    size, length = f"{result.width_px} × {result.height_px}", f"{result.frames / 8:.3g}"
    said = [f"Tiny does not make 99 × 51 pixels, so this is {size}."]
    if abs(result.frames / 8 - 0.7) >= 0.1:
        said.append(f"Tiny does not make 0.7 seconds, so this is {length} seconds long.")
    assert notices(events) == said
    assert shown(result, control).shape == (result.frames, result.height_px, result.width_px, 3)


@pytest.mark.parametrize("family", ["ltx", "cogvideox"])
def test_guidance_and_what_not_to_show_matter(
    family: str, loaded: Load, control: ScratchControl
) -> None:
    handler = loaded(family)
    _, plain = draw(handler, control, guidance_scale=7.0)
    _, guided = draw(handler, control, guidance_scale=2.0)
    _, without = draw(handler, control, guidance_scale=7.0, negative_prompt="blur, mist")
    made = [shown(result, control).tobytes() for result in (plain, guided, without)]
    assert len(set(made)) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_close_frees_the_memory(
    family: str, checkpoint: Checkpoint, control: ScratchControl
) -> None:
    import torch

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.nn.Module) for thing in gc.get_objects())

    before = alive()
    handler = load(spec_for("diffusers-video", **TINY), str(checkpoint(family)), "cpu")
    draw(handler, control)
    assert alive() > before
    handler.close()
    assert alive() == before


# --------------------------------------------------------------------------- the file


def test_a_clip_says_how_it_was_made(loaded: Load, control: ScratchControl) -> None:
    _, result = draw(loaded(), control, prompt="a secret wish", negative_prompt="hidden things")
    data = control.open(result.media).read_bytes()
    said = metadata_in(data)
    assert said["comment"] == "Generated by AI: Tiny"
    assert (said["model"], said["revision"], said["seed"]) == ("tiny", REVISION, "7")
    assert said["copyright"] == "Licence of the model: MIT"
    assert said["digitalsourcetype"].endswith("trainedAlgorithmicMedia")
    assert json.loads(said["recipe"]) == {
        "width": 64,
        "height": 64,
        "frames": 9,
        "fps": 8.0,
        "num_inference_steps": 3,
        "guidance_scale": 3.0,
        "negative_prompt": True,
        "scheduler": "FlowMatchEulerDiscreteScheduler",
        "dtype": "float32",
        "device": "cpu",
        "first_frame_sha256": None,
    }
    assert b"secret" not in data
    assert b"hidden" not in data
    assert (result.seed, result.alt_text) == (7, "AI-generated clip: a secret wish")
    assert (result.media.content_type, result.unsafe_score) == ("video/mp4", None)


def test_without_a_seed_a_new_one_is_drawn(loaded: Load, control: ScratchControl) -> None:
    handler = loaded()
    assert len({draw(handler, control, seed=None)[1].seed for _ in range(3)}) == 3


def test_the_worst_frame_counts(
    loaded: Load, control: ScratchControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.1, 0.2, 0.9, 0.3, 0.1])

    class Scripted(SafetyClassifier):
        def __init__(self) -> None: ...
        def score(self, image: Image.Image) -> float:
            assert image.size == (64, 64)
            return next(scores)

    monkeypatch.setattr(SafetyClassifier, "load", lambda _location: Scripted())
    _, result = draw(loaded(safety_dir="somewhere"), control)
    assert result.unsafe_score == 0.9
    assert next(scores, None) is None


def test_a_blocked_first_frame_is_not_begun_with(
    loaded: Load, control: ScratchControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    dislike_blue(monkeypatch)
    blue = plain(control, "blue")
    handler = loaded(safety_dir="somewhere")
    with pytest.raises(UnsafePicture):
        draw(handler, control, first_frame=blue, blocked_from=0.7)
    _, result = draw(handler, control, first_frame=blue)
    assert result.unsafe_score == EXPLICIT


def test_a_first_frame_that_is_no_picture_is_refused(loaded: Load, control: ScratchControl) -> None:
    (control.folder / "x.png").write_bytes(b"<svg></svg>")
    media = media_of(control.folder / "x.png", "image/png")
    with pytest.raises(InvalidMedia, match="SVG"):
        draw(loaded(), control, first_frame=media)
