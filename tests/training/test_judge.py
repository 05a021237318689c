from dataclasses import replace

import pytest

from training.captions import Told, told_by
from training.judge import Marks, Seen, Verdict, marks, summary
from training.scenes import Colour, Ground, Kind, Relation, Split, Time, scene_of

NIGHT = next(
    scene
    for scene in (scene_of(Split.DEV, number) for number in range(1000))
    if scene.relation is Relation.LEFT and scene.time is Time.NIGHT
)


def _verdict(**changes: object) -> Verdict:
    """Return what a perfect judge sees in ``NIGHT``."""
    seen = tuple(Seen(t.kind, t.colour, t.x / 4, t.y / 4, 5) for t in NIGHT.things)
    whole = Verdict(things=seen, time=NIGHT.time, ground=NIGHT.ground, weather=NIGHT.weather)
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_what_is_right_has_all_marks() -> None:
    assert marks(_verdict(), NIGHT) == Marks(things=True, surroundings=True, relation=True)


@pytest.mark.parametrize("wrong", [{"kind": Kind.HOUSE}, {"colour": Colour.RED}])
def test_another_thing_or_colour_is_wrong(wrong: dict[str, object]) -> None:
    first, second = _verdict().things
    other = next(
        replace(first, **{name: value})  # type: ignore[arg-type]
        for name, value in [*wrong.items(), ("kind", Kind.KITE), ("colour", Colour.PINK)]
        if getattr(first, name) != value
    )
    found = marks(_verdict(things=(other, second)), NIGHT)
    assert found == Marks(things=False, surroundings=True, relation=False)


def test_one_thing_too_many_or_too_few_is_wrong() -> None:
    seen = _verdict().things
    more = (*seen, replace(seen[0], kind=Kind.BALL, x=1.0))
    for things in (seen[:1], more):
        assert marks(_verdict(things=things), NIGHT).things is False


def test_swapped_places_break_the_relation_alone() -> None:
    first, second = _verdict().things
    swapped = (replace(first, x=second.x), replace(second, x=first.x))
    found = marks(_verdict(things=swapped), NIGHT)
    assert found == Marks(things=True, surroundings=True, relation=False)


def test_what_was_not_asked_for_is_not_marked() -> None:
    wrong = _verdict(time=Time.DAY, ground=next(g for g in Ground if g is not NIGHT.ground))
    assert marks(wrong, NIGHT).surroundings is False
    told = Told(time=False, ground=False, relation=False)
    assert marks(wrong, NIGHT, told) == Marks(things=True, surroundings=None, relation=None)


def test_what_a_caption_tells_is_read_from_its_words() -> None:
    first, second = NIGHT.things
    pair = f"a {first.colour} {first.kind} left of a {second.colour} {second.kind}"
    assert told_by(pair, NIGHT) == Told(time=False, ground=False, relation=True)
    assert told_by(f"{pair}, night", NIGHT).time
    assert not told_by(f"{pair} at dawn", NIGHT).time


def test_the_shares_are_of_what_was_asked() -> None:
    all_marks = [Marks(True, True, None), Marks(None, False, None), Marks(False, None, True)]
    assert summary(all_marks) == {"things": 0.5, "surroundings": 0.5, "relation": 1.0}
