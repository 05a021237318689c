"""Measures the finished clip model on clips that nothing was tuned on.

Run it with ``python -m training.measure_clips``: figures on the standard output, and film strips
with ``--sheet``. ``--split dev`` is for choosing settings; the model card gives those of ``test``.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from training.clip_captions import clip_caption
from training.clip_rules import Frames, clip_marks
from training.clip_scenes import FALLS_PX, clip_scene_of
from training.judge import Judge
from training.measure import Asked
from training.publish import CLIPS, EMBEDDED, JUDGE
from training.scenes import Split

if TYPE_CHECKING:
    from PIL import Image

COUNT = 100
STEPS = 16
GUIDANCE = 2.5
_SHOWN_PX = 96
_SHOWN_FRAMES = (0, 2, 4, 6, 9, 11, 13, 15)


def asked_of(split: Split, count: int = COUNT) -> list[Asked]:
    """Return the prompts of a split, always the same ones."""
    scenes = [clip_scene_of(split, number) for number in range(count)]
    return [
        Asked(scene, clip_caption(scene, random.Random(f"prompt {number}"), split))  # noqa: S311
        for number, scene in enumerate(scenes)
    ]


def figures_of(judge: Judge, asked: list[Asked], clips: list[Frames]) -> dict[str, float]:
    """Return the share of clips that keep to their scenes, of those that were asked to."""
    marks = [clip_marks(judge, one.scene, clip) for one, clip in zip(asked, clips, strict=True)]
    falls = [one.scene.weather in FALLS_PX for one in asked]
    flickers = [mark.flicker for mark in marks if mark.flicker is not None]
    return {
        "right": share([mark.right for mark in marks]),
        "thing": share([mark.thing for mark in marks]),
        "moves": share([mark.moves for mark in marks]),
        "happens": share(
            [mark.happens for mark, fall in zip(marks, falls, strict=True) if not fall]
        ),
        "falls": share([mark.happens for mark, fall in zip(marks, falls, strict=True) if fall]),
        "surroundings": share([mark.surroundings for mark in marks]),
        "flicker": sum(flickers) / max(1, len(flickers)),
        "most_flicker": max(flickers, default=0.0),
    }


def share(values: list[bool] | list[bool | None]) -> float:
    """Return how often it is so, of those that were asked."""
    asked = [value for value in values if value is not None]
    return sum(asked) / max(1, len(asked))


def filmstrips(clips: list[Frames], captions: list[str]) -> Image.Image:
    """Return frames of many clips in one picture, each clip in a row above its prompt."""
    from PIL import Image, ImageDraw

    high = _SHOWN_PX + 18
    sheet = Image.new("RGB", (len(_SHOWN_FRAMES) * (_SHOWN_PX + 2), len(clips) * high), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (clip, text) in enumerate(zip(clips, captions, strict=True)):
        for column, number in enumerate(_SHOWN_FRAMES):
            frame = Image.fromarray(clip[number])
            shown = frame.resize((_SHOWN_PX, _SHOWN_PX), Image.Resampling.LANCZOS)
            sheet.paste(shown, (column * (_SHOWN_PX + 2), row * high))
        pen.text((2, row * high + _SHOWN_PX + 1), text, "black", font_size=11)
    return sheet


def main() -> None:
    """Measure."""
    import torch
    from diffusers import DiffusionPipeline
    from safetensors.torch import load_file

    from training.clips import drawn_clips

    parser = argparse.ArgumentParser(description="Measure the clip model.")
    parser.add_argument("--split", type=Split, default=Split.TEST)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--sheet", type=Path, help="where to write film strips of the first 16")
    options = parser.parse_args()
    pipe = DiffusionPipeline.from_pretrained(
        EMBEDDED / CLIPS, dtype=torch.float32, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    asked = asked_of(options.split, options.count)
    texts = [one.prompt for one in asked]
    started = time.monotonic()
    clips = drawn_clips(pipe, texts, options.steps, options.guidance)
    seconds = (time.monotonic() - started) / max(1, len(clips))
    figures = figures_of(Judge(load_file(JUDGE)), asked, clips)
    print(json.dumps(figures | {"seconds": round(seconds, 1)}))
    if options.sheet:
        filmstrips(clips[:16], texts[:16]).save(options.sheet)


if __name__ == "__main__":
    main()
