"""Takes a caption apart by rules: which things it names, and what it says of the rest.

This module owns what a caption claims. It looks at no picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from training import words
from training.scenes import Colour, Ground, Kind, Relation, Scene, Time, Weather

_Truth = TypeVar("_Truth", bound=str)

_SIDES: dict[Relation, tuple[str, ...]] = {
    Relation.LEFT: words.LEFT,
    Relation.RIGHT: words.RIGHT,
    Relation.ABOVE: words.ABOVE,
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a caption says.

    Attributes:
        things: Kind and colour of each thing, in their order; a colour may be left open.
        relation: Of the first to the second.
        time, ground, weather: None where nothing is said.
        extras: Which of sun, moon, stars and mountains are named.
    """

    things: tuple[tuple[Kind, Colour | None], ...]
    relation: Relation | None
    time: Time | None
    ground: Ground | None
    weather: Weather | None
    extras: frozenset[str]


def claims_of(caption: str) -> Claims:
    """Read a caption that words its things before what is around them."""
    said = f" {' '.join(re.findall(r'[a-z]+', caption.lower()))} "
    grounds = {it: ways + words.GROUND_NAMES[it] for it, ways in words.GROUNDS.items()}
    ground, rest = _taken(said, grounds)
    time, rest = _taken(rest, words.TIMES)
    weather, rest = _taken(rest, words.WEATHERS)
    extras = set()
    for name in ("sun", "moon", "stars", "mountains"):
        found, rest = _taken(rest, {name: getattr(words, name.upper())})
        extras |= {found} if found else set()
    relation, rest = _taken(rest, _SIDES, mark=" / ")
    return Claims(
        things=tuple(_things(rest)),
        relation=relation,
        time=time,
        ground=ground,
        weather=weather,
        extras=frozenset(extras),
    )


def truth_of(scene: Scene) -> Claims:
    """Return what a caption that tells all of a scene would claim."""
    return Claims(
        things=tuple((thing.kind, thing.colour) for thing in scene.things),
        relation=scene.relation,
        time=scene.time,
        ground=scene.ground,
        weather=scene.weather,
        extras=frozenset(
            name for name in ("sun", "moon", "stars", "mountains") if getattr(scene, name)
        ),
    )


def same_things(first: Claims, second: Claims) -> bool:
    """Return whether two captions name the same things in the same colours, in any order."""
    return sorted(map(str, first.things)) == sorted(map(str, second.things))


def same_relation(first: Claims, second: Claims) -> bool:
    """Return whether the same things lie to each other in the same way, whichever comes first."""
    if first.relation == second.relation:
        return first.things == second.things
    turned = {Relation.LEFT: Relation.RIGHT, Relation.RIGHT: Relation.LEFT}
    if first.relation is None or turned.get(first.relation) is not second.relation:
        return False
    return first.things == tuple(reversed(second.things))


def _things(said: str) -> Iterable[tuple[Kind, Colour | None]]:
    kinds = {way: kind for kind, ways in words.KINDS.items() for way in ways}
    colours = {way: colour for colour, ways in words.COLOURS.items() for way in ways}
    longest = sorted([*kinds, *colours], key=len, reverse=True)
    colour: Colour | None = None
    for word in re.findall(rf"\b(?:{'|'.join(longest)})\b", said):
        if word in kinds:
            yield kinds[word], colour
            colour = None
        else:
            colour = colours[word]


def _taken(
    said: str, table: Mapping[_Truth, tuple[str, ...]], mark: str = " "
) -> tuple[_Truth | None, str]:
    """Return what the first wording found stands for, and the rest; the longest are tried first."""
    ways = sorted(
        ((way, truth) for truth, some in table.items() for way in some),
        key=lambda pair: -len(pair[0]),
    )
    for way, truth in ways:
        if f" {way} " in said:
            return truth, said.replace(f" {way} ", mark, 1)
    return None, said
