"""Measures the captioner on scenes that nothing was tuned on, and on pictures that are none.

Run it with ``python -m training.measure_captions``; figures go to the standard output.
``--split dev`` is for choosing settings; the model card gives those of ``test``. It writes with the
code that the bot writes with.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.vision.blip import Captioner
from models.vision.generation import Written
from models.vision.image_text import reader_of
from models.vision.options import VisionOptions
from training.caption_model import UNKNOWN
from training.claims import Claims, claims_of, same_relation, same_things, truth_of
from training.drawing import draw
from training.publish import CAPTIONS, EMBEDDED
from training.scenes import Split, scene_of
from training.unknown import unknown_picture

if TYPE_CHECKING:
    from PIL import Image

COUNT = 200


class Describer:
    """A captioner that was published."""

    def __init__(self, folder: Path) -> None:
        """Load it as the bot does."""
        reader = reader_of(folder, VisionOptions(), "cpu")
        if not isinstance(reader, Captioner):
            raise TypeError(f"{folder} holds no captioner")
        self._captioner = reader

    def describe(self, image: Image.Image) -> Written:
        """Return the sentence about a picture, and how sure it is."""
        writing = self._captioner.write(image, lambda: False)
        while True:
            try:
                next(writing)
            except StopIteration as end:
                written: Written = end.value
                return written

    def close(self) -> None:
        """End its thread."""
        self._captioner.close()


def is_unknown(written: Written, sure_from: float) -> bool:
    """Return whether a sentence says, or is so unsure that it means, that nothing is known."""
    return written.text.strip(" .").lower() == UNKNOWN or written.confidence < sure_from


def scene_figures(
    describer: Describer, split: Split, count: int, sure_from: float
) -> dict[str, float]:
    """Return the shares of scenes of which something is said as it is."""
    scenes = [scene_of(split, number) for number in range(count)]
    written = [describer.describe(draw(scene).image) for scene in scenes]
    said = [claims_of("" if is_unknown(one, sure_from) else one.text) for one in written]
    return shares(zip(said, map(truth_of, scenes), strict=True)) | {
        "known": 1 - _share(is_unknown(one, sure_from) for one in written)
    }


def shares(pairs: Iterable[tuple[Claims, Claims]]) -> dict[str, float]:
    """Return how often what is said is what is true, of those that there is something to say of."""
    listed = list(pairs)
    return {
        "things": _share(same_things(*pair) for pair in listed if pair[1].things),
        "relation": _share(same_relation(*pair) for pair in listed if pair[1].relation),
        "time and ground": _share(
            (said.time, said.ground) == (true.time, true.ground) for said, true in listed
        ),
        "weather": _share(said.weather is true.weather for said, true in listed),
        "extras": _share(said.extras == true.extras for said, true in listed),
    }


def unknown_share(describer: Describer, images: Iterable[Image.Image], sure_from: float) -> float:
    """Return the share of pictures that are answered with "I do not know"."""
    return _share(is_unknown(describer.describe(image), sure_from) for image in images)


def _share(values: Iterable[bool]) -> float:
    listed = list(values)
    return sum(listed) / max(1, len(listed))


def main() -> None:
    """Print the figures."""
    import torch
    from PIL import Image

    parser = argparse.ArgumentParser(description="Measure the captioner.")
    parser.add_argument("--folder", type=Path, default=EMBEDDED / CAPTIONS)
    parser.add_argument("--split", type=Split, default=Split.TEST, choices=list(Split))
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--sure-from", type=float, default=0.0, help="as in the catalogue")
    parser.add_argument("--pictures", type=Path, help="a folder of pictures that are no scenes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    describer = Describer(options.folder)
    made = (unknown_picture(options.split, number) for number in range(options.count))
    figures: dict[str, Any] = {
        "scenes": scene_figures(describer, options.split, options.count, options.sure_from),
        "made pictures unknown": unknown_share(describer, made, options.sure_from),
    }
    if options.pictures:
        files = sorted(file for file in options.pictures.iterdir() if file.is_file())
        images = (Image.open(file).convert("RGB") for file in files)
        figures["real pictures"] = len(files)
        figures["real pictures unknown"] = unknown_share(describer, images, options.sure_from)
    describer.close()
    print(json.dumps(figures, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
