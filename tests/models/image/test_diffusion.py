"""The diffusers backend on tiny checkpoints of the real pipelines, one of each family."""

from __future__ import annotations

import weakref

import pytest
from PIL import Image

from models.contracts import Finished, HandlerEvent, Preview, Progress
from models.image.diffusion import load
from tests.models.checkpoints_pictures import FAMILIES
from tests.models.control import ScratchControl, notices, stages
from tests.models.image.conftest import (
    TINY,
    Checkpoint,
    Load,
    MakeSpec,
    ask,
    draw,
    opened,
    pixels,
    recipe_of,
    stored,
)


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
