"""Words clips: what is there, how it moves, and what happens in the sky.

This module owns the sentences and the words of clips. What a caption leaves out is as usual, see
``training.clip_scenes``, so that words leave nothing open but the small things without a name.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from training import words
from training.captions import vocabulary
from training.clip_scenes import is_sun_moving, usual_ground, usual_time
from training.motion import GOING
from training.scenes import FLYING, Ground, Kind, Scene, Size, Split, Thing, Time, is_held_out

VERBS: dict[Kind, tuple[tuple[str, str], ...]] = {
    Kind.CAR: (("drives", "driving"), ("drives", "driving"), ("rides", "riding")),
    Kind.BOAT: (("sails", "sailing"), ("sails", "sailing"), ("floats", "floating")),
    Kind.CAT: (("walks", "walking"), ("runs", "running"), ("strolls", "strolling")),
    Kind.DOG: (("walks", "walking"), ("runs", "running"), ("strolls", "strolling")),
    Kind.BIRD: (("flies", "flying"), ("flies", "flying"), ("glides", "gliding")),
    Kind.BALL: (("rolls", "rolling"),),
    Kind.BALLOON: (("rises", "rising"), ("goes up", "going up"), ("floats up", "floating up")),
    Kind.KITE: (("sways", "swaying"), ("dances", "dancing"), ("flutters", "fluttering")),
}
"""How each kind moves: "it drives", "it is driving". The first is the plain one."""

_ANY_MOVE = (("moves", "moving"), ("goes", "going"))
_STANDS = ("stands", "is standing", "standing")
_WAYS = ("", "", "", " along", " by", " past", " across the picture")
_TO_THE_RIGHT = ("to the right", "from left to right", "rightwards")
_TO_THE_LEFT = ("to the left", "from right to left", "leftwards")
_IN_THE_AIR = ("in the air", "in the wind", "in the sky", "")

_OVER: dict[Ground, tuple[str, ...]] = {
    Ground.GRASS: ("over the grass", "over a meadow", "above a field"),
    Ground.SAND: ("over the beach", "over the sand", "above the desert"),
    Ground.SNOW: ("over the snow", "above a snowy field"),
    Ground.WATER: ("over the sea", "over the water", "above the lake"),
    Ground.ROAD: ("over the road", "above a street"),
}
_FALLS: dict[str, tuple[str, ...]] = {
    "rain": ("while rain falls", "as it rains", "and it rains", "rain falls"),
    "snow": ("while snow falls", "as it snows", "and it snows", "snow falls"),
}
_SUN_SETS = ("as the sun sets", "while the sun sets", "and the sun sets", "the sun is setting")
_SUN_RISES = ("as the sun rises", "while the sun rises", "and the sun rises", "the sun is rising")
_STARS = (
    "under twinkling stars",
    "as stars twinkle",
    "while the stars twinkle",
    "with twinkling stars",
    *words.STARS,
)
_OPENINGS = (
    *("", "", "", "", "", ""),
    *("a clip of", "a video of", "an animation of", "a drawing of", "show me", "a film of"),
)
_ALWAYS = 0.55
"""How often that is told which goes without saying."""

_TRIES = 60


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a caption may tell of the surroundings."""

    ways: tuple[str, ...]
    needed: bool


def clip_caption(scene: Scene, chance: random.Random, split: Split = Split.TRAIN) -> str:
    """Word a clip. One wording in ten belongs to the held-out splits alone."""
    for _ in range(_TRIES):
        text, shape = _worded(scene, chance)
        if is_held_out(shape) == (split is not Split.TRAIN):
            return text
    return text


def clip_vocabulary() -> tuple[str, ...]:
    """Return every word that a caption of a clip may hold: those of pictures first, in order."""
    pairs = [pair for verbs in (*VERBS.values(), _ANY_MOVE) for pair in verbs]
    tables: list[tuple[str, ...]] = [
        *pairs,
        *(_STANDS, _WAYS, _TO_THE_LEFT, _TO_THE_RIGHT, _IN_THE_AIR),
        *(_SUN_SETS, _SUN_RISES, _STARS, _OPENINGS),
        *_OVER.values(),
        *_FALLS.values(),
    ]
    own = {word for table in tables for text in table for word in text.split()}
    pictures = vocabulary()
    return (*pictures, *sorted(own.difference(pictures)))


# --------------------------------------------------------------------------- sentences


def _worded(scene: Scene, chance: random.Random) -> tuple[str, str]:
    """Return a caption, and the shape of its wording."""
    told = [chance.choice(part.ways) for part in _parts(scene) if _is_told(part, chance)]
    chance.shuffle(told)
    style = chance.choice(("plain", "plain", "plain", "commas", "first"))
    if not scene.things:
        names = words.GROUND_NAMES[scene.ground]
        text, shape = chance.choice(names), "nothing"
    else:
        text, shape = _moving(scene.things[0], chance)
    shape = f"{shape}|{style}|{len(told)}|{' '.join(told[:1])}"
    if style == "commas":
        text = ", ".join([text, *told])
    elif style == "first" and told and not told[0].startswith("and "):
        text = f"{told[0]}, {' '.join([text, *told[1:]])}"
    else:
        text = " ".join([text, *told])
    if style != "first":
        opening = chance.choice(_OPENINGS)
        text, shape = f"{opening} {text}".strip(), f"{opening}|{shape}"
    if chance.random() < 0.15:
        text += "."
    return (text[:1].upper() + text[1:] if chance.random() < 0.3 else text), shape


def _is_told(part: Part, chance: random.Random) -> bool:
    return part.needed or chance.random() < _ALWAYS


def _parts(scene: Scene) -> list[Part]:
    """Return what may be told of the surroundings; what is as usual may be left out."""
    parts = [Part(words.TIMES[scene.time], scene.time is not usual_time(scene))]
    if scene.things:
        grounds = words.GROUNDS[scene.ground]
        if scene.things[0].kind in FLYING:
            grounds += 2 * _OVER[scene.ground]
        parts.append(Part(grounds, scene.ground is not usual_ground(scene)))
    if scene.weather != "clear":
        falls = _FALLS.get(scene.weather, ())
        parts.append(Part(words.WEATHERS[scene.weather] + 2 * falls, needed=True))
    if is_sun_moving(scene):
        parts.append(Part(_SUN_SETS if scene.time is Time.SUNSET else _SUN_RISES, needed=True))
    elif scene.sun:
        parts.append(Part(words.SUN, needed=True))
    for seen, ways in (
        (scene.mountains, words.MOUNTAINS),
        (scene.moon, words.MOON),
        (scene.stars, _STARS),
    ):
        if seen:
            parts.append(Part(ways, needed=True))
    return parts


def _moving(thing: Thing, chance: random.Random) -> tuple[str, str]:
    """Return what a thing does, and the shape of that."""
    name = _name(thing, chance)
    verbs = VERBS.get(thing.kind)
    if verbs is None:
        stands = f" {chance.choice(_STANDS)}" if chance.random() < 0.3 else ""
        return f"{name}{stands}", "still"
    verb, doing = chance.choice(2 * verbs + _ANY_MOVE[: 2 if thing.kind in GOING else 1])
    form = chance.choice((verb, verb, f"is {doing}", doing, f"that {verb}", ""))
    if thing.kind not in GOING:
        air = chance.choice(_IN_THE_AIR) if chance.random() < 0.3 and form else ""
        return " ".join(part for part in (name, form, air) if part), f"{form}|{air}"
    way = chance.choice(_WAYS) if form else ""
    side = chance.choice(_TO_THE_LEFT if thing.mirrored else _TO_THE_RIGHT)
    if not thing.mirrored and chance.random() < _ALWAYS:
        side = ""
    return " ".join(part for part in (name, f"{form}{way}", side) if part), f"{form}|{way}|{side}"


def _name(thing: Thing, chance: random.Random) -> str:
    kind = chance.choice(words.KINDS[thing.kind])
    colour = chance.choice(words.COLOURS[thing.colour])
    size = chance.choice(words.SIZES[thing.size]) if thing.size is not Size.MIDDLE else ""
    name = f"{size} {colour} {kind}".strip()
    if chance.random() < 0.16:
        return chance.choice((f"one {name}", f"the {name}", name))
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
