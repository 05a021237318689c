"""What a drawn scene holds: the truth that drawings, captions and judges share.

This module owns the words of that truth, how scenes are chosen, and which of them training never
sees. It draws nothing and words nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

SIDE_PX = 64


class Time(StrEnum):
    DAY = "day"
    SUNSET = "sunset"
    NIGHT = "night"
    DAWN = "dawn"


class Weather(StrEnum):
    CLEAR = "clear"
    CLOUDY = "cloudy"
    RAIN = "rain"
    SNOW = "snow"
    FOG = "fog"


class Ground(StrEnum):
    GRASS = "grass"
    SAND = "sand"
    SNOW = "snow"
    WATER = "water"
    ROAD = "road"


class Kind(StrEnum):
    HOUSE = "house"
    TREE = "tree"
    BOAT = "boat"
    CAR = "car"
    CAT = "cat"
    DOG = "dog"
    FLOWER = "flower"
    BALL = "ball"
    BIRD = "bird"
    BALLOON = "balloon"
    KITE = "kite"
    MUSHROOM = "mushroom"


class Colour(StrEnum):
    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"
    BROWN = "brown"
    BLACK = "black"
    WHITE = "white"


class Size(StrEnum):
    SMALL = "small"
    MIDDLE = "middle"
    BIG = "big"


class Relation(StrEnum):
    """How the first thing lies to the second."""

    LEFT = "left"
    RIGHT = "right"
    ABOVE = "above"


class Split(StrEnum):
    """``DEV`` is for choosing settings. ``TEST`` is measured at the end and tunes nothing."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


FLYING = (Kind.BIRD, Kind.BALLOON, Kind.KITE)
STANDING = tuple(kind for kind in Kind if kind not in FLYING)
SIZES_PX = {Size.SMALL: (16, 18), Size.MIDDLE: (22, 25), Size.BIG: (29, 32)}
"""Longer side of a thing."""

RASTER_PX = 8
"""Of the picture model's scenes: a token of its transformer."""

_PLACES = {Relation.LEFT: (16.0, 48.0), Relation.RIGHT: (48.0, 16.0), Relation.ABOVE: (32.0, 32.0)}
"""Of the first thing and the second."""

_HELD_OUT_OF = 10
"""One combination in this many never occurs in training."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing in a scene.

    Attributes:
        x: Middle of its box, pixels of a picture of ``SIDE_PX``.
        y: Lower edge of its box.
        px: Longer side of its box.
        mirrored: Whether it looks to the left.
        turn: How far it has rolled ahead, in radians.
    """

    kind: Kind
    colour: Colour
    size: Size
    x: float
    y: float
    px: float
    mirrored: bool = False
    turn: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene at rest.

    Attributes:
        seed: Of what has no name: the places of stars, drops and peaks.
        horizon: Where the ground begins, pixels from above.
        sun, moon, stars, mountains: Whether they are in it.
        things: None, one or two; the first is what captions name first.
        relation: Of two things.
    """

    seed: int
    time: Time
    weather: Weather
    ground: Ground
    horizon: float
    mountains: bool
    sun: bool
    moon: bool
    stars: bool
    things: tuple[Thing, ...] = ()
    relation: Relation | None = None

    @property
    def combination(self) -> str:
        """Name what must be new in a scene that is held out."""
        if len(self.things) == 2:
            first, second = self.things
            relation = self.relation
            if relation is Relation.RIGHT:
                first, second, relation = second, first, Relation.LEFT
            return f"{first.colour} {first.kind} {relation} {second.colour} {second.kind}"
        if self.things:
            thing = self.things[0]
            return f"{thing.colour} {thing.kind} {self.ground} {self.time}"
        return f"{self.time} {self.weather} {self.ground} {self.mountains} {self.sun} {self.stars}"

    @property
    def held_out(self) -> bool:
        """Whether training must never see this combination."""
        return is_held_out(self.combination)


def is_held_out(text: str) -> bool:
    """Choose one text in ten, the same ones on every machine."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4]) % _HELD_OUT_OF == 0


def scene_of(split: Split, number: int) -> Scene:
    """Return a scene of a split: the same one for the same number."""
    chance = random.Random(f"{split} {number}")  # noqa: S311
    while True:
        scene = _any_scene(chance)
        if scene.held_out == (split is not Split.TRAIN):
            return scene


def composed(scene: Scene) -> Scene:
    """Return the scene as the picture model learns to draw it.

    What no caption tells is settled, since a small model that has to guess it draws a bit of each
    guess: a thing is in the middle, two are side by side or above each other; they stand on one
    line or fly at one height, do not look out of the picture, and have the exact sizes of a raster.
    """
    middle = (SIDE_PX / 2,)
    places = _PLACES[scene.relation] if scene.relation else middle
    things = (_composed(thing, x) for thing, x in zip(scene.things, places, strict=False))
    return replace(scene, things=tuple(things))


def _composed(thing: Thing, x: float) -> Thing:
    px = RASTER_PX * {Size.SMALL: 2, Size.MIDDLE: 3, Size.BIG: 4}[thing.size]
    y = px + RASTER_PX if thing.kind in FLYING else SIDE_PX - RASTER_PX
    return replace(thing, px=px, x=x, y=y, mirrored=x > SIDE_PX / 2)


def with_things_of(scene: Scene, other: Scene) -> Scene:
    """Return a scene with another's things, for pairs that differ in nothing else."""
    return replace(scene, things=other.things, relation=other.relation, horizon=other.horizon)


# --------------------------------------------------------------------------- chance

_Choice = TypeVar("_Choice")


def _weighted(chance: random.Random, weights: dict[_Choice, float]) -> _Choice:
    return chance.choices(list(weights), list(weights.values()))[0]


def _any_scene(chance: random.Random) -> Scene:
    count = _weighted(chance, {0: 0.08, 1: 0.47, 2: 0.45})
    time = _weighted(chance, {Time.DAY: 0.4, Time.SUNSET: 0.2, Time.NIGHT: 0.2, Time.DAWN: 0.2})
    weather = _weighted(
        chance,
        {
            Weather.CLEAR: 0.52,
            Weather.CLOUDY: 0.18,
            Weather.RAIN: 0.1,
            Weather.SNOW: 0.1,
            Weather.FOG: 0.1,
        },
    )
    clear = weather is Weather.CLEAR
    night = time is Time.NIGHT
    ground = chance.choice(tuple(Ground))
    horizon = chance.uniform(33, 40)
    things, relation = _things(chance, count, ground, horizon)
    return Scene(
        seed=chance.getrandbits(32),
        time=time,
        weather=weather,
        ground=ground,
        horizon=horizon,
        mountains=chance.random() < 0.25,
        sun=clear and not night and chance.random() < 0.6,
        moon=night and weather in (Weather.CLEAR, Weather.CLOUDY) and chance.random() < 0.6,
        stars=night and clear and chance.random() < 0.7,
        things=things,
        relation=relation,
    )


def _things(
    chance: random.Random, count: int, ground: Ground, horizon: float
) -> tuple[tuple[Thing, ...], Relation | None]:
    if count == 0:
        return (), None
    if count == 1:
        kind = _kind(chance, ground, tuple(Kind))
        return (_placed(chance, kind, horizon, (18, 46)),), None
    relation = _weighted(chance, {Relation.LEFT: 0.33, Relation.RIGHT: 0.33, Relation.ABOVE: 0.34})
    if relation is Relation.ABOVE:
        return _one_above_the_other(chance, ground, horizon), relation
    kinds = [_kind(chance, ground, tuple(Kind)) for _ in range(2)]
    places: Sequence[tuple[float, float]] = ((13, 19), (45, 51))
    if relation is Relation.RIGHT:
        places = tuple(reversed(places))
    pair = tuple(
        _placed(chance, kind, horizon, place, largest_px=26)
        for kind, place in zip(kinds, places, strict=True)
    )
    if pair[0].kind is pair[1].kind and pair[0].colour is pair[1].colour:
        return pair[:1], None
    return pair, relation


def _one_above_the_other(
    chance: random.Random, ground: Ground, horizon: float
) -> tuple[Thing, ...]:
    x = chance.uniform(20, 44)
    upper = _placed(chance, chance.choice(FLYING), horizon, (x - 4, x + 4), largest_px=22)
    lower = _placed(chance, _kind(chance, ground, STANDING), horizon, (x, x), largest_px=26)
    room = 62 - max(lower.y, 50 + lower.px / 2)
    lower = replace(lower, y=min(61.0, max(lower.y, 50.0) + max(0.0, room) * chance.random()))
    upper = replace(upper, y=min(lower.y - lower.px - 1, upper.px + chance.uniform(2, 8)))
    if upper.y - upper.px < 1:
        upper = replace(upper, y=upper.px + 1.5)
    return upper, lower


def _kind(chance: random.Random, ground: Ground, kinds: Sequence[Kind]) -> Kind:
    """Choose a kind that fits the ground, and now and then one that does not."""
    weights = dict.fromkeys(kinds, 1.0)
    if ground is Ground.WATER:
        weights = {
            kind: 8.0 if kind is Kind.BOAT else 1.0 if kind in FLYING else 0.5 for kind in kinds
        }
    else:
        weights[Kind.BOAT] = 0.5
    if ground is Ground.ROAD:
        weights[Kind.CAR] = 5.0
    return _weighted(chance, weights)


def _placed(
    chance: random.Random,
    kind: Kind,
    horizon: float,
    place: tuple[float, float],
    largest_px: float = 99,
) -> Thing:
    size = _weighted(chance, {Size.SMALL: 0.2, Size.MIDDLE: 0.5, Size.BIG: 0.3})
    px = chance.uniform(*SIZES_PX[size])
    if px > largest_px:
        size, px = Size.MIDDLE, chance.uniform(*SIZES_PX[Size.MIDDLE])
    if kind in FLYING:
        y = px + chance.uniform(2, max(3.0, horizon - px - 2))
    else:
        y = chance.uniform(max(horizon + 5, px + 3), 60)
    return Thing(
        kind=kind,
        colour=chance.choice(tuple(Colour)),
        size=size,
        x=chance.uniform(*place),
        y=y,
        px=px,
        mirrored=chance.random() < 0.5,
    )
