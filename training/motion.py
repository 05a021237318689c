"""Where things are at a moment of a clip.

This module owns what moves and how far. A scene at moment 0 is the scene itself. In a clip of
``FRAMES`` frames a thing moves by whole pixels from each to the next, so that it looks the same in
many of them: what a small model sees often it learns soon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from training.scenes import Kind, Thing

FRAMES = 16
STEP_PX = 2
"""From one frame to the next."""

_TRAVEL_PX = float(FRAMES * STEP_PX)
RISE_PX = FRAMES
"""Half as far, so that all of it is seen against the sky."""

_BALL_RADIUS = 0.47
_SWAYS = 2
"""In a clip, to and fro."""


def moment_of(frame: int) -> float:
    """Return the moment that a frame of a clip shows."""
    return frame / FRAMES


def moved(thing: Thing, moment: float) -> Thing:
    """Return a thing where it is at a moment between 0 and 1; houses and trees stay."""
    move = _MOVES.get(thing.kind)
    return move(thing, moment) if move is not None and moment else thing


def _ahead(thing: Thing) -> float:
    return -1.0 if thing.mirrored else 1.0


def _goes(thing: Thing, moment: float) -> Thing:
    return replace(thing, x=thing.x + _ahead(thing) * _TRAVEL_PX * moment)


def _rolls(thing: Thing, moment: float) -> Thing:
    rolled = _goes(thing, moment)
    return replace(rolled, turn=_TRAVEL_PX * moment / (_BALL_RADIUS * thing.px))


def _rises(thing: Thing, moment: float) -> Thing:
    return replace(thing, y=thing.y - RISE_PX * moment)


def _sways(thing: Thing, moment: float) -> Thing:
    angle = 2 * math.pi * _SWAYS * moment
    return replace(
        thing,
        x=thing.x + STEP_PX * round(3 * math.sin(angle)),
        y=thing.y - STEP_PX * round(math.sin(2 * angle)),
    )


_MOVES: dict[Kind, Callable[[Thing, float], Thing]] = {
    Kind.CAR: _goes,
    Kind.BOAT: _goes,
    Kind.CAT: _goes,
    Kind.DOG: _goes,
    Kind.BIRD: _goes,
    Kind.BALL: _rolls,
    Kind.BALLOON: _rises,
    Kind.KITE: _sways,
}

MOVING = frozenset(_MOVES)
GOING = frozenset(kind for kind, move in _MOVES.items() if move in (_goes, _rolls))
"""To the side that they look to."""
