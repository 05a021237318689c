"""Measures the finished picture model on scenes that nothing was tuned on.

Run it with ``python -m training.measure``: figures on the standard output, and a contact sheet with
``--sheet``. ``--split dev`` is for choosing settings; the model card gives those of ``test``.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.captions import caption, told_by
from training.judge import Judge, Marks, marks, summary
from training.picture_model import THIRD_TOKENS
from training.publish import EMBEDDED, JUDGE, PICTURES
from training.scenes import SIDE_PX, Scene, Split, scene_of

if TYPE_CHECKING:
    from PIL import Image

COUNT = 200
STEPS = 20
GUIDANCE = 2.0
_SHEET_COLUMNS = 8
_SHOWN_PX = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, and the scene that it words."""

    scene: Scene
    prompt: str


def prompts(split: Split, count: int = COUNT) -> list[Asked]:
    """Return the prompts of a split, always the same ones."""
    scenes = [scene_of(split, number) for number in range(count)]
    return [
        Asked(scene, caption(scene, random.Random(f"prompt {number}"), split))  # noqa: S311
        for number, scene in enumerate(scenes)
    ]


def draw_all(pipe: Any, asked: list[Asked], steps: int, guidance: float) -> list[Image.Image]:
    """Draw a picture of each prompt; the seed is the prompt's number."""
    import torch

    images = []
    for start in range(0, len(asked), 25):
        part = asked[start : start + 25]
        images += pipe(
            [one.prompt for one in part],
            num_inference_steps=steps,
            guidance_scale=guidance,
            height=SIDE_PX,
            width=SIDE_PX,
            max_sequence_length=THIRD_TOKENS,
            generator=[torch.Generator().manual_seed(start + n) for n in range(len(part))],
        ).images
    return images


def judged(judge: Judge, asked: list[Asked], images: list[Image.Image]) -> list[Marks]:
    """Return the judge's marks of pictures."""
    verdicts = judge.look(images)
    return [
        marks(verdict, one.scene, told_by(one.prompt, one.scene))
        for verdict, one in zip(verdicts, asked, strict=True)
    ]


def contact_sheet(images: list[Image.Image], captions: list[str]) -> Image.Image:
    """Return many pictures in one, each above its prompt."""
    import textwrap

    from PIL import Image, ImageDraw

    high = _SHOWN_PX + 44
    rows = -(-len(images) // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (_SHEET_COLUMNS * (_SHOWN_PX + 6), rows * high), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (image, text) in enumerate(zip(images, captions, strict=True)):
        x, y = number % _SHEET_COLUMNS * (_SHOWN_PX + 6) + 3, number // _SHEET_COLUMNS * high + 3
        size = (_SHOWN_PX, _SHOWN_PX)
        sheet.paste(image.resize(size, Image.Resampling.LANCZOS), (x, y))
        pen.text(
            (x, y + _SHOWN_PX + 1), "\n".join(textwrap.wrap(text, 24)[:4]), "black", font_size=9
        )
    return sheet


def main() -> None:
    """Measure."""
    import torch
    from diffusers import DiffusionPipeline
    from safetensors.torch import load_file

    parser = argparse.ArgumentParser(description="Measure the picture model.")
    parser.add_argument("--split", type=Split, default=Split.TEST)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--sheet", type=Path, help="where to write a contact sheet of the first 48")
    options = parser.parse_args()
    pipe = DiffusionPipeline.from_pretrained(
        EMBEDDED / PICTURES, dtype=torch.float32, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    asked = prompts(options.split, options.count)
    started = time.monotonic()
    images = draw_all(pipe, asked, options.steps, options.guidance)
    figures = summary(judged(Judge(load_file(JUDGE)), asked, images))
    figures["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(figures))
    if options.sheet:
        contact_sheet(images[:48], [one.prompt for one in asked[:48]]).save(options.sheet)


if __name__ == "__main__":
    main()
