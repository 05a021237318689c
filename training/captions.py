"""Words scenes: many ways to say the same truth.

This module owns sentences. All that a caption says is in the scene; what it leaves out is open.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from training import words
from training.scenes import Relation, Scene, Split, Thing, is_held_out

_SAID = {"time": 0.75, "ground": 0.75, "weather": 0.5, "clear": 0.08, "extra": 0.4}
_TRIES = 60


@dataclass(frozen=True, slots=True)
class Told:
    """What of a scene a caption tells, besides the things."""

    time: bool
    ground: bool
    relation: bool


def caption(scene: Scene, chance: random.Random, split: Split = Split.TRAIN) -> str:
    """Word a scene. One wording in ten belongs to the held-out splits alone."""
    for _ in range(_TRIES):
        text, shape = _worded(scene, chance)
        if is_held_out(shape) == (split is not Split.TRAIN):
            return text
    return text


def told_by(text: str, scene: Scene) -> Told:
    """Say what a caption of a scene tells; the rest was left open."""
    listed = [part.strip() for part in text.lower().rstrip(".").split(",")]
    said = f" {' '.join(' '.join(listed).split())} "

    def has(ways: tuple[str, ...]) -> bool:
        return any(f" {way} " in said or _bare(way) in listed for way in ways)

    grounds = words.GROUNDS[scene.ground]
    if not scene.things:
        grounds += words.GROUND_NAMES[scene.ground]
    sides = words.LEFT + words.RIGHT + words.ABOVE + words.BELOW
    return Told(
        time=has(words.TIMES[scene.time]),
        ground=has(grounds),
        relation=scene.relation is not None and has(sides),
    )


def full_caption(scene: Scene) -> str:
    """Word all that there is, always in the same plain way: what the captioner learns to say.

    Things that stand side by side are named from left to right. Were the order open, half of the
    sentences could not be foreseen, and nobody learns from them which side is which.
    """
    if scene.relation is Relation.RIGHT:
        scene = replace(scene, things=scene.things[::-1], relation=Relation.LEFT)
    if scene.things:
        text = _plain_things(scene)
        text += f" {words.GROUNDS[scene.ground][0]} {words.TIMES[scene.time][0]}"
    else:
        text = f"{words.GROUND_NAMES[scene.ground][0]} {words.TIMES[scene.time][0]}"
    text += f", {words.WEATHERS[scene.weather][0]}"
    extras = [parts[0] for seen, parts in _extras(scene) if seen]
    return f"{text}, {', '.join(extras)}" if extras else text


def vocabulary() -> tuple[str, ...]:
    """Return every word that a caption may hold, in alphabetical order."""
    tables: list[tuple[str, ...]] = [
        *words.KINDS.values(),
        *words.COLOURS.values(),
        *words.SIZES.values(),
        *words.GROUNDS.values(),
        *words.GROUND_NAMES.values(),
        *words.TIMES.values(),
        *words.WEATHERS.values(),
        *(words.MOUNTAINS, words.SUN, words.MOON, words.STARS),
        *(words.LEFT, words.RIGHT, words.ABOVE, words.BELOW, words.OPENINGS),
        ("a an one the and that is it , . there with near beside next to empty nothing but",),
    ]
    return tuple(sorted({word for table in tables for text in table for word in text.split()}))


# --------------------------------------------------------------------------- sentences


def _worded(scene: Scene, chance: random.Random) -> tuple[str, str]:
    """Return a caption, and the shape of its wording."""
    opening = chance.choice(words.OPENINGS)
    things, shape = _things(scene, chance)
    parts = _parts(scene, chance, named=bool(scene.things))
    style = chance.choice(("plain", "plain", "commas", "first", "terse"))
    if not things:
        style = "plain" if style == "first" else style
        things = parts.pop(0)
    chance.shuffle(parts)
    shape = f"{opening}|{shape}|{style}|{len(parts)}|{' '.join(parts[:1])}"
    if style == "terse":
        text = ", ".join([things.removeprefix("a ").removeprefix("an "), *map(_bare, parts)])
    elif style == "commas":
        text = ", ".join([things, *parts])
    elif style == "first" and parts:
        text = f"{parts[0]}, {' '.join([things, *parts[1:]])}"
        opening = ""
    else:
        text = " ".join([things, *parts])
    text = f"{opening} {text}".strip()
    if chance.random() < 0.15:
        text += "."
    return (text[:1].upper() + text[1:] if chance.random() < 0.3 else text), shape


def _parts(scene: Scene, chance: random.Random, *, named: bool) -> list[str]:
    """Choose what is said of the surroundings; without things, the ground comes first."""
    parts: list[str] = []
    if not named:
        ground = chance.choice(words.GROUND_NAMES[scene.ground])
        parts.append(f"nothing but {ground}" if chance.random() < 0.15 else ground)
    elif chance.random() < _SAID["ground"]:
        parts.append(chance.choice(words.GROUNDS[scene.ground]))
    if chance.random() < _SAID["time"]:
        parts.append(chance.choice(words.TIMES[scene.time]))
    told = "clear" if scene.weather == "clear" else "weather"
    if chance.random() < _SAID[told] + (0.2 if not named else 0):
        parts.append(chance.choice(words.WEATHERS[scene.weather]))
    for seen, ways in _extras(scene):
        if seen and chance.random() < _SAID["extra"]:
            parts.append(chance.choice(ways))
    return parts


def _extras(scene: Scene) -> tuple[tuple[bool, tuple[str, ...]], ...]:
    return (
        (scene.mountains, words.MOUNTAINS),
        (scene.sun, words.SUN),
        (scene.moon, words.MOON),
        (scene.stars, words.STARS),
    )


def _bare(part: str) -> str:
    """Return a part as it is said in a list of words."""
    for start in ("on a ", "on the ", "in the ", "in a ", "at ", "on ", "in ", "with "):
        if part.startswith(start):
            return part.removeprefix(start)
    return part


# --------------------------------------------------------------------------- things


def _things(scene: Scene, chance: random.Random) -> tuple[str, str]:
    if not scene.things:
        return "", "none"
    if len(scene.things) == 1:
        return _thing(scene.things[0], chance), "one"
    first, second = scene.things
    ways = {
        Relation.LEFT: (words.LEFT, words.RIGHT),
        Relation.RIGHT: (words.RIGHT, words.LEFT),
        Relation.ABOVE: (words.ABOVE, words.BELOW),
    }
    assert scene.relation is not None
    forward, backward = ways[scene.relation]
    way = chance.choices(("forward", "backward", "and"), (0.5, 0.3, 0.2))[0]
    if way == "backward":
        first, second, forward = second, first, backward
    if way == "and" and scene.relation is not Relation.ABOVE:  # they stand as one reads them
        joined = "and" if chance.random() < 0.7 else "next to"
        if scene.relation is Relation.RIGHT:
            first, second = second, first
        return f"{_thing(first, chance)} {joined} {_thing(second, chance)}", joined
    relation = chance.choice(forward)
    verb = " is" if chance.random() < 0.08 else ""
    return f"{_thing(first, chance)}{verb} {relation} {_thing(second, chance)}", relation


def _thing(thing: Thing, chance: random.Random) -> str:
    kind = chance.choice(words.KINDS[thing.kind])
    colour = chance.choice(words.COLOURS[thing.colour])
    size = chance.choice(words.SIZES[thing.size])
    if chance.random() < 0.06:
        return f"{_article(f'{size} {kind}'.strip())} that is {colour}"
    return _article(f"{size} {colour} {kind}".strip(), chance)


def _article(name: str, chance: random.Random | None = None) -> str:
    if chance is not None and chance.random() < 0.16:
        return chance.choice((f"one {name}", f"the {name}", name))
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _plain_things(scene: Scene) -> str:
    def plain(thing: Thing) -> str:
        size = words.SIZES[thing.size][0]
        return _article(f"{size} {thing.colour} {thing.kind}".strip())

    names = [plain(thing) for thing in scene.things]
    if len(names) == 1:
        return names[0]
    way = words.ABOVE[0] if scene.relation is Relation.ABOVE else words.LEFT[1]
    return f"{names[0]} {way} {names[1]}"
