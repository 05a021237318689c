"""Judges pictures of scenes: a small classifier that has seen drawings, and no model's pictures.

This module owns what is measured and how. It shares no weights with the models that it judges.
Run it with ``python -m training.judge`` to train it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.captions import Told
from training.drawing import Drawing, draw
from training.running import Run, optimizer_for, parser_for, rate_at
from training.scenes import (
    Colour,
    Ground,
    Kind,
    Relation,
    Scene,
    Split,
    Time,
    Weather,
    scene_of,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

STEPS = 7000
BATCH = 48
PEAK_RATE = 2e-3
CELLS = 16
"""The classifier looks at so many places in a row, for the middles of things."""

_KINDS, _COLOURS = tuple(Kind), tuple(Colour)
_TIMES, _GROUNDS, _WEATHERS = tuple(Time), tuple(Ground), tuple(Weather)
_WIDTH = 96
_APART_CELLS = 2.0
_MIDDLE_CELLS = 1.2
_NAMED_WEIGHT = 4.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A thing that the judge sees; x and y in cells from the left upper corner."""

    kind: Kind
    colour: Colour
    x: float
    y: float
    cells: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge sees in a picture."""

    things: tuple[Seen, ...]
    time: Time
    ground: Ground
    weather: Weather


@dataclass(frozen=True, slots=True)
class Marks:
    """How a picture keeps to what was asked; None where nothing was.

    Attributes:
        things: All things are there in their colours, and no others.
        surroundings: Time of day and ground are right, or that of the two which was asked for.
        relation: The things lie to each other as they should.
    """

    things: bool | None
    surroundings: bool | None
    relation: bool | None


EVERYTHING = Told(time=True, ground=True, relation=True)


def marks(verdict: Verdict, scene: Scene, told: Told = EVERYTHING) -> Marks:
    """Compare what is seen with what was asked for."""
    wanted = sorted((thing.kind, thing.colour) for thing in scene.things)
    found = sorted((thing.kind, thing.colour) for thing in verdict.things)
    asked = [
        same
        for same, was_told in (
            (verdict.time is scene.time, told.time),
            (verdict.ground is scene.ground, told.ground),
        )
        if was_told
    ]
    return Marks(
        things=wanted == found if wanted else None,
        surroundings=all(asked) if asked else None,
        relation=_holds(verdict, scene) if scene.relation and told.relation else None,
    )


def _holds(verdict: Verdict, scene: Scene) -> bool:
    places = []
    for thing in scene.things:
        exact = [s for s in verdict.things if (s.kind, s.colour) == (thing.kind, thing.colour)]
        if not exact:
            return False
        places.append(exact[0])
    first, second = places
    if scene.relation is Relation.LEFT:
        return first.x < second.x - _APART_CELLS
    if scene.relation is Relation.RIGHT:
        return first.x > second.x + _APART_CELLS
    return first.y < second.y - _APART_CELLS and abs(first.x - second.x) < 4


# --------------------------------------------------------------------------- looking


def new_classifier() -> Any:
    """Return an untrained classifier: for each cell a kind and a colour, and the surroundings."""
    from torch import nn

    def block(inside: int, outside: int, stride: int, reach: int = 1) -> list[nn.Module]:
        return [
            nn.Conv2d(inside, outside, 3, stride, padding=reach, dilation=reach, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
        ]

    outputs = len(_KINDS) + 1 + len(_COLOURS) + len(_TIMES) + len(_GROUNDS) + len(_WEATHERS)
    return nn.Sequential(
        *block(3, 32, 2),
        *block(32, 64, 2),
        *block(64, 64, 1),
        *block(64, _WIDTH, 1, reach=2),
        *block(_WIDTH, _WIDTH, 1, reach=4),
        *block(_WIDTH, _WIDTH, 1, reach=2),
        nn.Conv2d(_WIDTH, outputs, 1),
    )


def split_outputs(outputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return scores of kinds (the last is none) and colours by cell, then of the surroundings."""
    sizes = [len(_KINDS) + 1, len(_COLOURS), len(_TIMES), len(_GROUNDS), len(_WEATHERS)]
    kinds, colours, *whole = outputs.split(sizes, dim=1)
    return kinds, colours, *(scores.mean(dim=(2, 3)) for scores in whole)


class Judge:
    """The trained classifier, and the rules that make things of cells."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        """Take the weights of ``new_classifier``."""
        self._net = new_classifier()
        self._net.load_state_dict(weights)
        self._net.eval()

    def look(self, images: list[Image.Image]) -> list[Verdict]:
        """Say what is in pictures of any size."""
        import torch

        with torch.inference_mode():
            outputs = split_outputs(self._net(as_batch(images)))
        kinds, colours, times, grounds, weathers = (scores.softmax(dim=1) for scores in outputs)
        return [
            Verdict(
                things=_things(kinds[n].numpy(), colours[n].numpy()),
                time=_TIMES[int(times[n].argmax())],
                ground=_GROUNDS[int(grounds[n].argmax())],
                weather=_WEATHERS[int(weathers[n].argmax())],
            )
            for n in range(len(images))
        ]


def as_batch(images: list[Image.Image]) -> torch.Tensor:
    """Return pictures as the classifier reads them: n × 3 × 64 × 64, between -1 and 1."""
    import numpy as np
    import torch

    from training.scenes import SIDE_PX

    small = [image.convert("RGB").resize((SIDE_PX, SIDE_PX)) for image in images]
    pixels = np.stack([np.asarray(image) for image in small])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def _things(kinds: np.ndarray[Any, Any], colours: np.ndarray[Any, Any]) -> tuple[Seen, ...]:
    """Join neighbouring cells that see the middle of a thing, and let them vote."""
    import numpy as np

    full = kinds[-1] < 0.5
    found, left = [], {(int(y), int(x)) for y, x in zip(*full.nonzero(), strict=True)}
    while left:
        cells = _connected(left.pop(), left)
        rows, columns = np.array(cells).T
        votes = kinds[:-1, rows, columns].sum(axis=1)
        tints = (colours * (1 - kinds[-1]))[:, rows, columns].sum(axis=1)
        found.append(
            Seen(
                kind=_KINDS[int(votes.argmax())],
                colour=_COLOURS[int(tints.argmax())],
                x=float(columns.mean()),
                y=float(rows.mean()),
                cells=len(cells),
            )
        )
    return tuple(sorted(found, key=lambda thing: -thing.cells))


def _connected(start: tuple[int, int], left: set[tuple[int, int]]) -> list[tuple[int, int]]:
    cells, edge = [start], [start]
    while edge:
        y, x = edge.pop()
        for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if near in left:
                left.remove(near)
                cells.append(near)
                edge.append(near)
    return cells


# --------------------------------------------------------------------------- learning


def _target(scene: Scene, drawing: Drawing) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return kind and colour by cell: those of a thing about its middle, none elsewhere."""
    import numpy as np

    kinds = np.full((CELLS, CELLS), len(_KINDS))
    colours = np.zeros((CELLS, CELLS), int)
    side = drawing.image.width / CELLS
    down, across = np.mgrid[:CELLS, :CELLS] + 0.5
    for thing, (left, top, right, bottom) in zip(scene.things, drawing.boxes, strict=True):
        x, y = (left + right) / 2 / side, (top + bottom) / 2 / side
        near = (across - x) ** 2 + (down - y) ** 2 < _MIDDLE_CELLS**2
        kinds[near], colours[near] = _KINDS.index(thing.kind), _COLOURS.index(thing.colour)
    return kinds, colours


def _loss(net: Any, scenes: list[Scene], chance: random.Random) -> torch.Tensor:
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    drawings = [draw(scene) for scene in scenes]
    targets = [_target(scene, drawing) for scene, drawing in zip(scenes, drawings, strict=True)]
    kinds, colours = (torch.from_numpy(np.stack(part)) for part in zip(*targets, strict=True))
    batch = _worn(as_batch([drawing.image for drawing in drawings]), chance)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net(batch).float()
    by_kind, by_colour, times, grounds, weathers = split_outputs(outputs)
    weights = torch.full((len(_KINDS) + 1,), _NAMED_WEIGHT)
    weights[-1] = 1.0
    loss = cross_entropy(by_kind, kinds, weights)
    seen = kinds != len(_KINDS)
    if seen.any():
        loss = loss + cross_entropy(by_colour.movedim(1, -1)[seen], colours[seen])
    for scores, table, name in (
        (times, _TIMES, "time"),
        (grounds, _GROUNDS, "ground"),
        (weathers, _WEATHERS, "weather"),
    ):
        truth = torch.tensor([tuple(table).index(getattr(scene, name)) for scene in scenes])
        loss = loss + 0.5 * cross_entropy(scores, truth)
    return loss


def _worn(batch: torch.Tensor, chance: random.Random) -> torch.Tensor:
    """Return pictures with the faults that models have: blurred, grainy, a little off in colour."""
    import torch
    from torch.nn.functional import interpolate

    side = batch.shape[-1]
    if chance.random() < 0.6:
        smaller = interpolate(batch, scale_factor=chance.uniform(0.4, 0.9), mode="area")
        batch = interpolate(smaller, size=(side, side), mode="bilinear")
    batch = batch + chance.uniform(0, 0.15) * torch.randn_like(batch)
    shift = 0.06 * torch.randn(len(batch), 3, 1, 1)
    return (batch * chance.uniform(0.9, 1.1) + shift).clamp(-1, 1)


def main() -> None:
    """Train, or go on, and say how well it judges drawings that it has not seen."""
    import torch

    options = parser_for("Train the judge.", STEPS).parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    modules = {"judge": new_classifier()}
    run = Run(options.folder / "judge.pt", modules, optimizer_for(modules, PEAK_RATE, 1e-3), 0.995)
    total = 0.0
    while run.step < options.steps:
        chance = random.Random(run.step)  # noqa: S311
        scenes = [scene_of(Split.TRAIN, chance.randrange(10**9)) for _ in range(BATCH)]
        loss = _loss(modules["judge"], scenes, chance)
        loss.backward()
        run.stepped(rate_at(run.step, options.steps, PEAK_RATE))
        total += float(loss.detach())
        if run.step % 100 == 0:
            run.log(loss=total / 100)
            total = 0.0
        if run.step % 500 == 0:
            run.log(**shares(run.averaged("judge")))
            run.restart_clock()
    run.save()
    torch.save(run.averaged("judge"), options.folder / "judge-weights.pt")


def shares(weights: dict[str, torch.Tensor], count: int = 400) -> dict[str, float]:
    """Return how often the judge is right on drawings of the development split."""
    judge = Judge(weights)
    scenes = [scene_of(Split.DEV, number) for number in range(count)]
    verdicts = judge.look([draw(scene).image for scene in scenes])
    return summary([marks(v, s) for v, s in zip(verdicts, scenes, strict=True)])


def summary(all_marks: list[Marks]) -> dict[str, float]:
    """Return the share of pictures that keep to their scenes, of those that were asked to."""

    def share(values: list[bool | None]) -> float:
        asked = [value for value in values if value is not None]
        return sum(asked) / max(1, len(asked))

    return {
        "things": share([mark.things for mark in all_marks]),
        "surroundings": share([mark.surroundings for mark in all_marks]),
        "relation": share([mark.relation for mark in all_marks]),
    }


if __name__ == "__main__":
    main()
