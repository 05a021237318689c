"""Draws prompts and has the drawings described, both as the bot does: what was asked is to be said.

Run it with ``python -m training.round_trip`` once both models are in the catalogue. ``--split dev``
is for looking at misses; the model cards give the figures of ``test``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from bot.engine.spool import Spool
from bot.engine.worker import JobControl, installed_backend
from bot.settings import CONFIG_FOLDER, read_settings
from models.catalog import Catalog, ModelSpec
from models.contracts import Finished, Handler, ImageRequest, Request, VisionRequest
from models.weights import WeightStore, placed
from training.caption_model import UNKNOWN
from training.captions import told_by
from training.claims import Claims, claims_of, same_things, truth_of
from training.measure import COUNT, Asked, prompts
from training.measure_captions import shares
from training.publish import CAPTIONS, PICTURES
from training.scenes import Split


class Trip:
    """Both models, loaded as a worker loads them."""

    def __init__(self, catalog: Catalog, weights: WeightStore, folder: Path) -> None:
        """Load the models of the catalogue.

        Args:
            catalog: Holds both.
            weights: Where their weights are.
            folder: For the files under way.
        """
        self._control = JobControl(Spool(folder))
        self._side_px = int(catalog.get(PICTURES).options["side_px"])
        self._draws, self._describes = (
            _loaded(catalog.get(name), weights, catalog) for name in (PICTURES, CAPTIONS)
        )

    def describe(self, prompt: str, seed: int) -> str:
        """Draw a prompt and return what is said of the drawing."""
        side = self._side_px
        drawn = self._result(
            self._draws, ImageRequest(prompt, width_px=side, height_px=side, seed=seed)
        )
        seen = self._result(
            self._describes, VisionRequest((drawn.pictures[0].media,), task="caption")
        )
        return str(seen.answers[0].text)

    def close(self) -> None:
        """Free both models."""
        self._draws.close()
        self._describes.close()

    def _result(self, handler: Handler, request: Request) -> Any:
        *_, last = handler.run(request, self._control)
        if not isinstance(last, Finished):
            raise TypeError(f"{last} is no end")
        return last.result


def figures(asked: Sequence[Asked], said: Sequence[str]) -> dict[str, float]:
    """Return the shares of prompts of which what was asked for is said: see ``shares``.

    A thing counts with its colour. Time of day, ground and relation count where a prompt tells
    them; a prompt that tells neither time nor ground counts as kept.
    """
    pairs = [_as_told(claims_of(text), one) for text, one in zip(said, asked, strict=True)]
    found = shares(pairs)
    return {name: round(found[name], 3) for name in ("things", "time and ground", "relation")} | {
        "unknown": round(sum(text.lower().strip(" .") == UNKNOWN for text in said) / len(said), 3)
    }


def _as_told(said: Claims, asked: Asked) -> tuple[Claims, Claims]:
    """Return what is said and what is true, with what the prompt left open out of it."""
    true, told = truth_of(asked.scene), told_by(asked.prompt, asked.scene)
    said = replace(
        said,
        time=said.time if told.time else true.time,
        ground=said.ground if told.ground else true.ground,
    )
    return said, true if told.relation else replace(true, relation=None)


def _loaded(spec: ModelSpec, weights: WeightStore, catalog: Catalog) -> Handler:
    load = installed_backend(spec.backend)
    return cast("Handler", load(placed(spec, weights, catalog.tools), weights.locate(spec), "cpu"))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Describe what was drawn.")
    parser.add_argument("--split", type=Split, default=Split.TEST, choices=list(Split))
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--config", type=Path, default=CONFIG_FOLDER, help="of the catalogue")
    parser.add_argument("--misses", action="store_true", help="print what was not said")
    options = parser.parse_args()
    asked = prompts(options.split, options.count)
    catalog, weights = Catalog.read(options.config), WeightStore(read_settings().models_dir)
    with tempfile.TemporaryDirectory(prefix="sextant-") as folder:
        trip = Trip(catalog, weights, Path(folder))
        said = [trip.describe(one.prompt, number) for number, one in enumerate(asked)]
        trip.close()
    if options.misses:
        for one, text in zip(asked, said, strict=True):
            if not same_things(claims_of(text), truth_of(one.scene)):
                print(f"{one.prompt} -> {text}")
    print(json.dumps(figures(asked, said)))


if __name__ == "__main__":
    main()
