"""Wishes fitted to a model, with a sentence for each that it cannot follow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contracts import ImageRequest, MediaInput
from models.errors import UnsupportedOption
from models.image.options import DiffusionOptions
from models.image.plan import Abilities, Bounds, Plan, fit_size, plan_for

ABLE = Abilities(
    num_inference_steps=50,
    guidance_scale=7.5,
    multiple_px=8,
    takes_guidance=True,
    takes_negative=True,
    takes_reference=True,
)
REFERENCE = MediaInput("x", "x.png", "image/png", 1, "0" * 64)


def plan(able: Abilities = ABLE, options: DiffusionOptions | None = None, **wishes: object) -> Plan:
    request = ImageRequest(**{"prompt": "a cat", **wishes})
    return plan_for(request, able, options or DiffusionOptions(), "Tiny")


def test_what_a_model_can_do_goes_through_silently() -> None:
    made = plan(negative_prompt="blur", num_inference_steps=9, guidance_scale=3.0)
    assert made == Plan(1024, 1024, 9, 3.0, "blur", None)


def test_the_catalogue_knows_better_than_the_pipeline() -> None:
    assert plan() == Plan(1024, 1024, 50, 7.5, "", None)
    usual = DiffusionOptions(num_inference_steps=4, guidance_scale=0.0)
    assert plan(options=usual) == Plan(1024, 1024, 4, 0.0, "", None)


@pytest.mark.parametrize(
    ("wished", "made"),
    [
        ((1000, 1000), (1000, 1000)),
        ((1001, 999), (1000, 1000)),
        ((2048, 2048), (1024, 1024)),
        ((4096, 1024), (2048, 512)),
        ((1024, 4096), (512, 2048)),
        ((4096, 16), (2048, 512)),
        ((16, 16), (256, 256)),
        ((64, 32), (360, 184)),
    ],
)
def test_sizes_are_rounded_and_said(wished: tuple[int, int], made: tuple[int, int]) -> None:
    options = DiffusionOptions(max_pixels=1024 * 1024)
    fitted = plan(options=options, width_px=wished[0], height_px=wished[1])
    assert (fitted.width_px, fitted.height_px) == made
    said = [f"{wished[0]} × {wished[1]}" in sentence for sentence in fitted.notices]
    assert said == ([True] if wished != made else [])


SIDES = st.integers(16, 4096)


@given(SIDES, SIDES, st.sampled_from([8, 16, 32, 64]), st.sampled_from([1.0, 2.0, 4.0]))
def test_every_size_fits_its_bounds(width: int, height: int, multiple: int, ratio: float) -> None:
    bounds = Bounds(multiple, 256 * 256, 1024 * 1024, ratio)
    fitted = fit_size(width, height, bounds)
    assert all(side % multiple == 0 for side in fitted)
    assert bounds.min_pixels <= fitted[0] * fitted[1] <= bounds.max_pixels
    assert max(fitted) <= ratio * min(fitted)
    assert (width >= height) == (fitted[0] >= fitted[1]) or fitted[0] == fitted[1]


def test_a_distilled_model_says_what_it_ignores() -> None:
    distilled = replace(ABLE, takes_guidance=False, takes_negative=False)
    options = DiffusionOptions(num_inference_steps=4, guidance_scale=0.0)
    made = plan(distilled, options, negative_prompt="blur", guidance_scale=9.0)
    assert (made.negative_prompt, made.guidance_scale) == ("", 0.0)
    assert made.notices == (
        "Tiny was trained for a guidance of its own, so yours was not used.",
        "Tiny takes no negative prompt, so yours was not used.",
    )
    assert plan(distilled, options, guidance_scale=0.0).notices == ()


def test_a_negative_prompt_needs_guidance() -> None:
    made = plan(negative_prompt="blur", guidance_scale=1.0)
    assert made.negative_prompt == ""
    assert made.notices == ("With a guidance of 1 or less a negative prompt has no effect.",)


@pytest.mark.parametrize(
    ("steps", "strength", "taken"), [(20, 0.5, 20), (1, 0.5, 2), (4, 0.1, 10), (3, 0.33, 4)]
)
def test_a_reference_leaves_at_least_one_step(steps: int, strength: float, taken: int) -> None:
    made = plan(reference=REFERENCE, strength=strength, num_inference_steps=steps)
    assert made.num_inference_steps == taken
    assert int(made.num_inference_steps * strength) >= 1


def test_a_model_that_starts_from_nothing_refuses_a_reference() -> None:
    with pytest.raises(UnsupportedOption, match="Tiny can't start from a picture"):
        plan(replace(ABLE, takes_reference=False), reference=REFERENCE)


def test_a_retry_is_half_as_large_until_it_would_be_too_small() -> None:
    smaller = plan(width_px=512, height_px=256).smaller(ABLE)
    assert smaller
    assert (smaller.width_px, smaller.height_px) == (256, 128)
    smallest = smaller.smaller(ABLE)
    assert smallest
    assert (smallest.width_px, smallest.height_px) == (128, 64)
    assert smallest.smaller(ABLE) is None
