import random
from dataclasses import replace

import numpy as np
import pytest

from training.captions import caption, full_caption, vocabulary
from training.drawing import draw
from training.motion import GOING, MOVING
from training.scenes import (
    FLYING,
    Colour,
    Kind,
    Relation,
    Scene,
    Size,
    Split,
    Thing,
    composed,
    scene_of,
)
from training.words import (
    ABOVE,
    BELOW,
    COLOURS,
    GROUND_NAMES,
    GROUNDS,
    KINDS,
    LEFT,
    RIGHT,
    TIMES,
)

SCENES = [scene_of(split, number) for split in Split for number in range(150)]
PAIRS = [scene for scene in SCENES if scene.relation is not None]


def _caption_words(text: str) -> list[str]:
    return text.lower().replace(",", " ").replace(".", " ").split()


def test_a_number_stands_for_one_scene() -> None:
    again = [scene_of(split, number) for split in Split for number in range(150)]
    assert again == SCENES
    assert len(set(SCENES)) == len(SCENES)


def test_a_scene_is_drawn_the_same_each_time_and_moves_only_when_asked() -> None:
    scene = next(scene for scene in SCENES if scene.weather == "rain")
    assert draw(scene).image.tobytes() == draw(scene).image.tobytes()
    assert draw(scene, 0.3).image.tobytes() != draw(scene).image.tobytes()


@pytest.mark.parametrize("kind", Kind)
def test_what_can_move_moves_where_it_looks(kind: Kind) -> None:
    for mirrored in (False, True):
        thing = Thing(kind, Colour.RED, Size.MIDDLE, 32, 55, 24, mirrored)
        scene = replace(scene_of(Split.TRAIN, 0), things=(thing,), relation=None)
        boxes = [draw(scene, moment).boxes[0] for moment in (0.0, 0.5, 0.8)]
        assert (len(set(boxes)) > 1) == (kind in MOVING)
        if kind in GOING:
            ahead = boxes[2][0] - boxes[0][0]
            assert (ahead < -8) if mirrored else (ahead > 8)


def test_a_composed_scene_says_the_same_and_leaves_nothing_to_guess() -> None:
    places: dict[tuple[object, ...], set[tuple[float, float, bool]]] = {}
    for scene in SCENES:
        told = composed(scene)
        assert [(t.kind, t.colour, t.size) for t in told.things] == [
            (t.kind, t.colour, t.size) for t in scene.things
        ]
        assert told.relation is scene.relation
        for number, thing in enumerate(told.things):
            said = (scene.relation, number, thing.size, thing.kind in FLYING)
            places.setdefault(said, set()).add((thing.x, thing.y, thing.mirrored))
        if scene.relation is Relation.ABOVE:
            upper, lower = draw(told).boxes
            assert upper[3] <= lower[1] + 1
            assert upper[0] < lower[2]
            assert lower[0] < upper[2]
        elif scene.relation is not None:
            boxes = sorted(draw(told).boxes)
            assert boxes[0][2] < boxes[1][0]
    assert len(places) > 20
    assert {len(found) for found in places.values()} == {1}


def test_things_joined_by_and_are_named_from_left_to_right() -> None:
    joined = 0
    for number, scene in enumerate(PAIRS):
        text = caption(scene, random.Random(number)).lower()
        if any(f" {way} " in text for way in (*LEFT, *RIGHT, *ABOVE, *BELOW)):
            continue
        joined += 1
        assert scene.relation is not Relation.ABOVE
        left, right = sorted(scene.things, key=lambda thing: thing.x)
        if left.kind is not right.kind:
            first, second = (
                min(text.find(word) for word in KINDS[t.kind] if word in text)
                for t in (left, right)
            )
            assert first < second
    assert joined > 5


def test_training_never_sees_a_held_out_combination() -> None:
    of_training = {scene_of(Split.TRAIN, number).combination for number in range(3000)}
    held_out = {
        scene_of(split, number).combination
        for split in (Split.DEV, Split.TEST)
        for number in range(300)
    }
    assert not of_training & held_out


def test_swapped_sides_are_the_same_combination() -> None:
    scene = next(scene for scene in PAIRS if scene.relation is Relation.LEFT)
    turned = Scene(
        **{name: getattr(scene, name) for name in Scene.__dataclass_fields__}
        | {"things": scene.things[::-1], "relation": Relation.RIGHT}
    )
    assert turned.combination == scene.combination


@pytest.mark.parametrize("kind", Kind)
def test_a_thing_is_inside_the_picture_and_has_its_size(kind: Kind) -> None:
    found = 0
    for scene in SCENES:
        for thing, (left, top, right, bottom) in zip(scene.things, draw(scene).boxes, strict=True):
            if thing.kind is kind:
                found += 1
                assert abs(max(right - left, bottom - top) - thing.px) <= 0.2 * thing.px
                assert left <= thing.x <= right
                assert abs(bottom - thing.y) <= 0.2 * thing.px
    assert found >= 5


def test_things_of_a_pair_lie_as_the_relation_says_and_do_not_touch() -> None:
    for scene in PAIRS:
        first, second = (np.asarray(mask) > 127 for mask in draw(scene).masks)
        assert not (first & second).any()
        (y1, x1), (y2, x2) = (np.argwhere(mask).mean(axis=0) for mask in (first, second))
        lies = {
            Relation.LEFT: x2 - x1 > 16,
            Relation.RIGHT: x1 - x2 > 16,
            Relation.ABOVE: y2 - y1 > 12 and abs(x1 - x2) < 8,
        }
        assert scene.relation is not None
        assert lies[scene.relation]


def test_what_is_above_flies() -> None:
    assert all(s.things[0].kind in FLYING for s in PAIRS if s.relation is Relation.ABOVE)


def test_captions_say_things_and_colours_and_nothing_untrue() -> None:
    for number, scene in enumerate(SCENES):
        text = caption(scene, random.Random(number))
        said = f" {' '.join(_caption_words(text))} "
        for thing in scene.things:
            assert any(f" {word} " in said for word in KINDS[thing.kind]), text
            assert any(f" {word} " in said for word in COLOURS[thing.colour]), text
        others = {kind for kind in Kind if kind not in {thing.kind for thing in scene.things}}
        assert not any(f" {word} " in said for kind in others for word in KINDS[kind]), text
        for table, truth in ((TIMES, scene.time), (GROUNDS, scene.ground)):
            for meant, ways in table.items():
                if meant != truth:
                    assert not any(f" {way} " in said for way in ways), text


def test_the_first_named_is_on_the_named_side() -> None:
    scene = next(scene for scene in PAIRS if scene.relation is Relation.RIGHT)
    first, second = scene.things
    for number in range(60):
        said = " ".join(_caption_words(caption(scene, random.Random(number))))
        places = [
            min(said.find(word) for word in KINDS[thing.kind] if word in said)
            for thing in (first, second)
        ]
        if first.kind is second.kind:
            continue
        if " right " in said:
            assert places[0] < places[1], said
        elif " left " in said:
            assert places[1] < places[0], said


def test_held_out_wordings_are_not_those_of_training() -> None:
    of_training = {caption(s, random.Random(n)) for n, s in enumerate(SCENES)}
    held_out = {caption(s, random.Random(n), Split.TEST) for n, s in enumerate(SCENES)}
    assert not of_training & held_out


def test_the_vocabulary_holds_every_word() -> None:
    known = set(vocabulary())
    for number, scene in enumerate(SCENES):
        for split in Split:
            assert set(_caption_words(caption(scene, random.Random(number), split))) <= known
        assert set(_caption_words(full_caption(scene))) <= known


def test_a_word_stands_for_one_truth() -> None:
    for table in (KINDS, COLOURS, GROUNDS, GROUND_NAMES, TIMES):
        ways = [way for words in table.values() for way in set(words)]
        assert len(ways) == len(set(ways))
