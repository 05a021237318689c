"""What live previews cost: the same picture, and the same clip, with them and without, in turns.

Both come from one worker behind an engine, from the same weights and the same seed. Each pair makes
a ratio, and the pair with the middle one is quoted, so that a disturbed pair does not count.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import production
from benchmarks.checkpoint import MODERATE, SMALL, drawing_model, filming_model
from benchmarks.report import Measurement
from models.catalog import ModelSpec
from models.contracts import ImageRequest, Request, VideoRequest

PAIRS = 5
SHARE = 1.05
_NEVER_S = 1e6


@dataclass(frozen=True, slots=True)
class Case:
    """What is made, and by which kind of model."""

    model: Callable[..., ModelSpec]
    width: int
    request: Request


_CASES = {
    "picture": Case(
        drawing_model,
        MODERATE,
        ImageRequest("a lighthouse", width_px=384, height_px=384, num_inference_steps=8, seed=1),
    ),
    "clip": Case(
        filming_model,
        SMALL,
        VideoRequest(
            "waves", width_px=128, height_px=128, seconds=1, num_inference_steps=10, seed=1
        ),
    ),
}


def run() -> list[Measurement]:
    """Draw and film with the previews that members get, and without any."""
    found = []
    for name, case in _CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            pairs = asyncio.run(_measure(Path(folder), case))
        found.append(measurement(name, pairs))
    return found


def measurement(name: str, pairs: list[tuple[float, float]]) -> Measurement:
    """Judge the seconds of each pair, those with previews first."""
    shown_s, hidden_s = middle(pairs)
    return Measurement(
        f"previews.{name}",
        shown_s,
        "s",
        "lower",
        SHARE,
        "ratio",
        peer="without previews",
        peer_value=hidden_s,
    )


def middle(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the pair whose ratio is the median; there must be an odd number of them."""
    return sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]


async def _measure(folder: Path, case: Case) -> list[tuple[float, float]]:
    """Return the seconds of each pair, those with previews first."""
    shown = case.model("with-previews", case.width, min_pixels=4096)
    hidden = case.model("without-previews", case.width, min_pixels=4096, preview_s=_NEVER_S)
    pairs = []
    async with production.rig(folder, [shown, hidden]) as rig:
        for model in (shown, hidden):
            await rig.finish(model.id, case.request)  # loads it
        for number in range(PAIRS):
            order = (shown, hidden) if number % 2 else (hidden, shown)
            courses = {model.id: await rig.finish(model.id, case.request) for model in order}
            ours, peer = courses[shown.id], courses[hidden.id]
            assert ours.previews > peer.previews == 0, courses
            pairs.append((ours.seconds, peer.seconds))
    return pairs
