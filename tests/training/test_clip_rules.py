"""Rules on frames: drawn clips keep them, and clips that are wrong do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.drawn_clips import SCENES, AllSeeing, first, frames, one_of
from training.clip_rules import clip_marks
from training.measure_clips import asked_of, figures_of, filmstrips
from training.motion import FRAMES, MOVING
from training.scenes import Kind, Split, Time, Weather


def test_drawn_clips_are_right() -> None:
    for scene in SCENES[:40]:
        marks = clip_marks(AllSeeing(scene), scene, frames(scene))
        assert marks.right, (scene, marks)
        assert marks.flicker is None or marks.flicker < 0.001


@pytest.mark.parametrize("kind", [Kind.CAR, Kind.BALLOON, Kind.KITE, Kind.HOUSE])
def test_what_moves_in_another_way_is_not_right(kind: Kind) -> None:
    scene = one_of(kind)
    (thing,) = scene.things
    other = Kind.HOUSE if kind in MOVING else Kind.CAR
    moved = replace(scene, things=(replace(thing, kind=other),))
    judge = AllSeeing(moved)
    judge.scene = scene  # it takes it for what was asked, and sees it move as the other does
    assert clip_marks(judge, scene, frames(moved)).moves is False


def test_the_wrong_side_is_not_right() -> None:
    scene = one_of(Kind.CAR)
    (thing,) = scene.things
    away = replace(scene, things=(replace(thing, mirrored=not thing.mirrored, x=32.0),))
    marks = clip_marks(AllSeeing(away), scene, frames(away))
    assert (marks.thing, marks.moves) == (True, False)


@pytest.mark.parametrize("weather", [Weather.RAIN, Weather.SNOW])
def test_what_does_not_fall_is_not_right(weather: Weather) -> None:
    scene = first(weather=weather)
    still = np.repeat(frames(scene)[:1], FRAMES, axis=0)
    assert clip_marks(AllSeeing(scene), scene, still).happens is False


@pytest.mark.parametrize("time", [Time.SUNSET, Time.DAWN])
def test_a_sun_that_goes_the_other_way_is_not_right(time: Time) -> None:
    scene = first(time=time, sun=True)
    backwards = frames(scene)[::-1]
    assert clip_marks(AllSeeing(scene), scene, backwards).happens is False


def test_flicker_is_a_share_of_full_brightness() -> None:
    scene = one_of(Kind.BALL)
    pixels = frames(scene).astype(int)
    pixels[::2] += 10
    marks = clip_marks(AllSeeing(scene), scene, pixels.clip(0, 255).astype(np.uint8))
    assert marks.flicker == pytest.approx(10 / 255, rel=0.1)


def test_figures_and_film_strips_are_of_all_clips() -> None:
    asked = asked_of(Split.DEV, 3)
    assert all(one.scene.held_out for one in asked)
    drawn = [frames(one.scene) for one in asked]
    figures = figures_of(AllSeeing(asked[0].scene), asked, drawn)
    assert 0 < figures["right"] < 1
    strips = filmstrips(drawn, [one.prompt for one in asked])
    assert len({strips.resize((1, 3)).getpixel((0, row)) for row in range(3)}) == 3
