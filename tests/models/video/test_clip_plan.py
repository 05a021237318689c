"""Wishes for clips fitted to a model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contracts import MediaInput, VideoRequest
from models.errors import UnsupportedOption
from models.image.plan import Abilities
from models.video.options import ClipOptions
from models.video.plan import ClipAbilities, clip_plan_for

STILL = Abilities(
    num_inference_steps=50,
    guidance_scale=5.0,
    multiple_px=16,
    takes_guidance=True,
    takes_negative=True,
    takes_reference=False,
)
ABLE = ClipAbilities(STILL, frame_step=4, most_frames=None, first_frame="may")
OPTIONS = ClipOptions(fps=16, min_frames=5, max_frames=81, num_inference_steps=30)
FIRST = MediaInput("a", "a.png", "image/png", 1, "0" * 64)


def ask(**options: object) -> VideoRequest:
    return VideoRequest(**{"prompt": "a gate", **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "step", "most", "frames", "said"),
    [
        (5, 4, None, 81, False),
        (4, 4, None, 65, False),
        (60, 4, None, 81, True),
        (0.5, 4, None, 9, False),
        (3, 8, None, 49, False),
        (2, 1, 32, 32, False),
        (1, 1, 32, 16, False),
        (4, 1, 32, 32, True),
        (4, 4, 50, 49, True),
    ],
)
def test_lengths_are_rounded_and_said(
    seconds: float, step: int, most: int | None, frames: int, said: bool
) -> None:
    able = replace(ABLE, frame_step=step, most_frames=most)
    plan = clip_plan_for(ask(seconds=seconds), able, OPTIONS, "Tiny")
    assert plan.frames == frames
    assert bool(plan.notices) == said
    if said:
        assert plan.notices[-1] == (
            f"Tiny does not make {seconds:.3g} seconds, so this is {frames / 16:.3g} seconds long."
        )


@given(
    seconds=st.floats(0.5, 60),
    fps=st.sampled_from([1, 8, 16, 24, 60]),
    step=st.sampled_from([1, 4, 8]),
    bounds=st.tuples(st.integers(1, 40), st.integers(9, 400)),
)
def test_any_length_is_one_that_the_model_makes(
    seconds: float, fps: int, step: int, bounds: tuple[int, int]
) -> None:
    least, most = min(bounds), max(bounds)
    options = ClipOptions(fps=fps, min_frames=least, max_frames=most)
    plan = clip_plan_for(ask(seconds=seconds), replace(ABLE, frame_step=step), options, "Tiny")
    assert plan.frames >= 1
    assert (plan.frames - (step > 1)) % step == 0
    assert plan.frames <= most + step


def test_what_concerns_frames_is_as_for_pictures() -> None:
    request = ask(width_px=1000, height_px=500, guidance_scale=1.0, negative_prompt="blur")
    plan = clip_plan_for(request, ABLE, OPTIONS, "Tiny")
    assert (plan.still.width_px % 16, plan.still.height_px % 16) == (0, 0)
    assert plan.still.num_inference_steps == 30
    assert len(plan.notices) == 2


def test_a_first_frame_is_taken_needed_or_refused() -> None:
    assert clip_plan_for(ask(first_frame=FIRST), ABLE, OPTIONS, "Tiny")
    with pytest.raises(UnsupportedOption, match="can't begin with a picture"):
        clip_plan_for(ask(first_frame=FIRST), replace(ABLE, first_frame="no"), OPTIONS, "Tiny")
    with pytest.raises(UnsupportedOption, match="needs a picture"):
        clip_plan_for(ask(), replace(ABLE, first_frame="must"), OPTIONS, "Tiny")


def test_smaller_is_half_as_wide_and_as_long() -> None:
    plan = clip_plan_for(ask(width_px=256, height_px=128), ABLE, OPTIONS, "Tiny")
    smaller = plan.smaller(ABLE)
    assert smaller is not None
    assert (smaller.still.width_px, smaller.still.height_px, smaller.frames) == (
        plan.still.width_px // 2 // 16 * 16,
        plan.still.height_px // 2 // 16 * 16,
        plan.frames,
    )
    while smaller is not None:
        plan, smaller = smaller, smaller.smaller(ABLE)
    assert min(plan.still.width_px, plan.still.height_px) < 128
