"""The scenes of clips: one thing that moves, or none, and what happens in the sky.

This module owns which scenes are clips, how their frames are drawn, and what is meant by what is
left unsaid. It words nothing. Places and sizes are few, and what is not asked for is always the
same: nobody can tell from a clip, and a small model learns it in an hour instead of a day.
"""

from __future__ import annotations

import random
from dataclasses import replace

from training.drawing import Drawing, draw
from training.motion import FRAMES, GOING, MOVING, RISE_PX, moment_of
from training.scenes import (
    FLYING,
    RASTER_PX,
    SIDE_PX,
    Colour,
    Ground,
    Kind,
    Scene,
    Size,
    Split,
    Thing,
    Time,
    Weather,
)

PX = {Size.SMALL: 2 * RASTER_PX, Size.MIDDLE: 3 * RASTER_PX, Size.BIG: 4 * RASTER_PX}
"""Longer side of a thing."""

HORIZON = 36.0
FALLS_PX = {Weather.SNOW: 4, Weather.RAIN: 8}
"""From one frame to the next."""

_SEED = 0
"""Of stars, drops, peaks and blades: each sort of sky and ground looks one way."""

_ROW = 7 * RASTER_PX
_EDGE_PX = 2 * RASTER_PX
_EMPTY = 0.12


def clip_scene_of(split: Split, number: int) -> Scene:
    """Return a scene of a split: the same one for the same number."""
    chance = random.Random(f"clip {split} {number}")  # noqa: S311
    while True:
        scene = _any_scene(chance)
        if scene.held_out == (split is not Split.TRAIN):
            return scene


def frames_of(scene: Scene) -> list[Drawing]:
    """Draw the frames of a clip; what is behind the things stands still unless it is to move."""
    lively = is_sun_moving(scene) or scene.stars
    return [
        draw(scene, moment_of(frame), behind=moment_of(frame + 1) if lively else 0.0)
        for frame in range(FRAMES)
    ]


def is_sun_moving(scene: Scene) -> bool:
    """Return whether the sun sets or rises."""
    return scene.sun and scene.time in (Time.SUNSET, Time.DAWN)


def usual_ground(scene: Scene) -> Ground:
    """Return the ground where nothing is said of it."""
    kinds = {thing.kind for thing in scene.things}
    if Kind.CAR in kinds:
        return Ground.ROAD
    return Ground.WATER if Kind.BOAT in kinds else Ground.GRASS


def usual_time(scene: Scene) -> Time:
    """Return the time of day where nothing is said of it."""
    if is_sun_moving(scene):
        return scene.time
    return Time.NIGHT if scene.moon or scene.stars else Time.DAY


# --------------------------------------------------------------------------- chance


def _any_scene(chance: random.Random) -> Scene:
    weathers = {
        Weather.CLEAR: 0.56,
        Weather.SNOW: 0.14,
        Weather.RAIN: 0.14,
        Weather.CLOUDY: 0.09,
        Weather.FOG: 0.07,
    }
    weather = chance.choices(list(weathers), list(weathers.values()))[0]
    time = chance.choice(tuple(Time))
    clear, night = weather is Weather.CLEAR, time is Time.NIGHT
    things = () if chance.random() < _EMPTY else (_thing(chance),)
    grounds = dict.fromkeys(Ground, 1.0)
    if things and things[0].kind in (Kind.CAR, Kind.BOAT):
        grounds = dict.fromkeys(grounds, 0.4)
        grounds[Ground.ROAD if things[0].kind is Kind.CAR else Ground.WATER] = 3.0
    light = chance.random()
    scene = Scene(
        seed=_SEED,
        time=time,
        weather=weather,
        ground=chance.choices(list(grounds), list(grounds.values()))[0],
        horizon=HORIZON,
        mountains=chance.random() < 0.15,
        sun=clear and not night and light < 0.5,
        moon=night and clear and light < 0.25,
        stars=night and clear and light > 0.4,
        things=things,
    )
    return replace(scene, mountains=False) if is_sun_moving(scene) else scene  # it would be hidden


def _thing(chance: random.Random) -> Thing:
    kind = chance.choices(tuple(Kind), [2.0 if kind in MOVING else 1.0 for kind in Kind])[0]
    size = chance.choices(tuple(Size), [0.2, 0.55, 0.25])[0]
    px = PX[size]
    mirrored = kind in GOING and chance.random() < 0.5
    x = SIDE_PX / 2
    if kind in GOING:
        x = SIDE_PX - _EDGE_PX if mirrored else _EDGE_PX
    y = _height(kind, px)
    return Thing(kind, chance.choice(tuple(Colour)), size, float(x), float(y), float(px), mirrored)


def _height(kind: Kind, px: int) -> int:
    """Return where the lower edge of a thing is when the clip begins."""
    if kind is Kind.BALLOON:
        return px + RISE_PX
    return px + RASTER_PX if kind in FLYING else _ROW
