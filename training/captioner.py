"""Trains the captioner: a sentence about a drawn scene, and to say so of a picture that is none.

Run it with ``python -m training.captioner``; it goes on where it was stopped.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from training.caption_model import CELLS, WIDTH, new_captioner
from training.lessons import (
    COLOURS,
    EXTRAS,
    GROUNDS,
    KINDS,
    NONE,
    TIMES,
    WEATHERS,
    Lesson,
    Mixture,
    lesson,
)
from training.running import Run, optimizer_for, parser_for, rate_at
from training.scenes import Split

if TYPE_CHECKING:
    import torch

STEPS = 6500
PEAK_RATE = 1.5e-3
_SECOND_RATE, _SECOND_FALL = 8e-4, 1500
"""The rate falls once more in the last steps, from there."""

MIXTURE = Mixture(scenes=22, strange=11, crowded=15)
_CROWDED_UNTIL = 0.5
"""After this share of the steps, other scenes take the place of the crowded ones."""


def new_hints() -> Any:
    """Return what reads from each patch its place and the thing there, and the rest from all.

    The captioner learns much faster with these to help; nothing of them is kept.
    """
    from torch import nn

    whole = 1 + len(TIMES) + len(GROUNDS) + len(WEATHERS) + len(EXTRAS)
    return nn.ModuleDict(
        {
            "cells": nn.Linear(WIDTH, len(KINDS) + 1 + len(COLOURS) + 2 * CELLS),
            "whole": nn.Linear(WIDTH, whole),
        }
    )


def loss_of(captioner: Any, hints: Any, given: Lesson) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of the words, and that of the hints."""
    import torch
    from torch.nn.functional import cross_entropy

    with torch.autocast("cpu", torch.bfloat16):
        patches = captioner.encoder(pixel_values=given.pixels).last_hidden_state
        told = captioner.decoder(
            input_ids=given.words,
            attention_mask=given.attention,
            encoder_hidden_states=patches[: len(given.words)],
        ).logits
        cells = hints["cells"](patches)
        whole = hints["whole"](patches.mean(dim=1))
    following = given.words.masked_fill(given.attention == 0, NONE)[:, 1:]
    words = cross_entropy(told[:, :-1].float().flatten(0, 1), following.flatten())
    return words, _hint_loss(cells.float(), whole.float(), given)


def _hint_loss(cells: torch.Tensor, whole: torch.Tensor, given: Lesson) -> torch.Tensor:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

    kinds, colours, rows, columns = cells.split(
        [len(KINDS) + 1, len(COLOURS), CELLS, CELLS], dim=-1
    )
    sizes = [1, len(TIMES), len(GROUNDS), len(WEATHERS), len(EXTRAS)]
    known, times, grounds, weathers, extras = whole.split(sizes, dim=-1)
    loss = cross_entropy(kinds.flatten(0, 1), given.kinds.flatten(), _weights())
    loss = loss + cross_entropy(colours.flatten(0, 1), given.colours.flatten(), ignore_index=NONE)
    places = torch.arange(CELLS).repeat(len(cells), CELLS, 1)
    loss = loss + cross_entropy(columns.flatten(0, 1), places.flatten())
    loss = loss + 0.1 * cross_entropy(rows.flatten(0, 1), places.transpose(1, 2).flatten())
    captioned = known.squeeze(1)[: len(given.known)]
    loss = loss + binary_cross_entropy_with_logits(captioned, given.known)
    scenes = given.surroundings[:, 0] != NONE
    loss = loss + binary_cross_entropy_with_logits(extras[scenes], given.extras[scenes])
    for number, scores in enumerate((times, grounds, weathers)):
        truth = given.surroundings[:, number]
        loss = loss + 0.5 * cross_entropy(scores, truth, ignore_index=NONE)
    return loss


def _weights() -> torch.Tensor:
    """Return how much each kind counts in a patch: nothing counts little, for most are empty."""
    import torch

    weights = torch.ones(len(KINDS) + 1)
    weights[-1] = 0.2
    return weights


def main() -> None:
    """Train, or go on."""
    import torch

    options = parser_for("Train the captioner.", STEPS).parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    run, modules = started(options)
    words = hints = 0.0
    for loss in train(options.steps, run, modules):
        words, hints = words + loss[0], hints + loss[1]
        if run.step % 50 == 0:
            run.log(words=words / 50, hints=hints / 50)
            words = hints = 0.0
    run.save()


def started(options: Any) -> tuple[Run, dict[str, Any]]:
    """Return the run as it was left, or a new one, and what it trains."""
    import torch

    modules = {
        "captioner": new_captioner().to(memory_format=torch.channels_last),
        "hints": new_hints(),
    }
    optimizer = optimizer_for(modules, PEAK_RATE, 2e-2)
    return Run(options.folder / "captioner.pt", modules, optimizer, decay=0.997), modules


def train(steps: int, run: Run, modules: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """Train until so many steps are done; yield the losses of each: of the words and the hints."""
    while run.step < steps:
        mixture = MIXTURE
        if run.step >= _CROWDED_UNTIL * steps:
            mixture = Mixture(MIXTURE.scenes + MIXTURE.crowded, MIXTURE.strange)
        given = lesson(Split.TRAIN, random.Random(run.step), mixture)  # noqa: S311
        words, hints = loss_of(modules["captioner"], modules["hints"], given)
        (words + hints).backward()
        run.stepped(_rate_at(run.step, steps))
        yield float(words.detach()), float(hints.detach())


def _rate_at(step: int, steps: int) -> float:
    last = min(_SECOND_FALL, steps // 4)
    if step < steps - last:
        return rate_at(step, steps - last, PEAK_RATE)
    return rate_at(step - (steps - last), last, _SECOND_RATE)


if __name__ == "__main__":
    main()
