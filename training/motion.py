"""Where things are at a moment of a clip.

This module owns what moves and how far. A scene at moment 0 is the scene itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from training.scenes import Kind, Thing

_TRAVEL_PX = 18.0
_BALL_RADIUS = 0.47


def moved(thing: Thing, moment: float) -> Thing:
    """Return a thing where it is at a moment between 0 and 1; houses and trees stay."""
    move = _MOVES.get(thing.kind)
    return move(thing, moment) if move is not None and moment else thing


def _ahead(thing: Thing) -> float:
    return -1.0 if thing.mirrored else 1.0


def _drives(thing: Thing, moment: float) -> Thing:
    return replace(thing, x=thing.x + _ahead(thing) * _TRAVEL_PX * moment)


def _sails(thing: Thing, moment: float) -> Thing:
    swell = 0.8 * math.sin(4 * math.pi * moment)
    return replace(_drives(thing, moment), y=thing.y + swell)


def _flies(thing: Thing, moment: float) -> Thing:
    glide = 2.0 * math.sin(2 * math.pi * moment)
    return replace(_drives(thing, moment), y=thing.y - glide)


def _rolls(thing: Thing, moment: float) -> Thing:
    rolled = _drives(thing, moment)
    return replace(rolled, turn=_TRAVEL_PX * moment / (_BALL_RADIUS * thing.px))


def _rises(thing: Thing, moment: float) -> Thing:
    sway = 1.5 * math.sin(2 * math.pi * moment)
    return replace(thing, x=thing.x + sway, y=thing.y - 8 * moment)


def _sways(thing: Thing, moment: float) -> Thing:
    return replace(
        thing,
        x=thing.x + 4 * math.sin(2 * math.pi * moment),
        y=thing.y - 2 * math.sin(4 * math.pi * moment),
    )


_MOVES: dict[Kind, Callable[[Thing, float], Thing]] = {
    Kind.CAR: _drives,
    Kind.BOAT: _sails,
    Kind.BIRD: _flies,
    Kind.BALL: _rolls,
    Kind.BALLOON: _rises,
    Kind.KITE: _sways,
}

MOVING = frozenset(_MOVES)
