"""Trains the clip model: a flow from noise to the latents of 16 frames, told by words.

Run it with ``python -m training.clips``; it goes on where it was stopped. ``--workers 2`` shares
each step between two processes, ``--compiled`` makes steps quicker after two minutes.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from training.clip_captions import clip_caption
from training.clip_latents import ClipLatents, prepared_clips
from training.clip_model import (
    CELLS,
    LATENT_SIDE,
    LAYERS,
    SIGMA_SHIFT,
    WIDTH,
    clean_of,
    new_clip_tokenizer,
    new_modules,
    pipeline_of,
)
from training.clip_scenes import FALLS_PX, clip_scene_of
from training.flow import (
    Course,
    Naming,
    Noise,
    finished_autoencoder,
    in_turn,
    reported,
    told,
    trained,
    with_workers,
)
from training.latents import NONE
from training.motion import FRAMES
from training.running import Run, faster_optimizer_for, parser_for
from training.scenes import Colour, Kind, Scene, Split

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import torch

STEPS = 5200
CLIPS = 6000
BATCH = 8
"""Of each worker."""

PEAK_RATE = 1e-3
DECAY_FROM = 0.6
_NOISE_ALONE = 0.1
_THING_WEIGHT = 7.0
_CHANGE_WEIGHT = 5.0
_LEAST_SIGMA = 0.25
"""The less noise, the more an error counts; but little of it is left to learn from below this."""

_FALLING = 0.4
"""Share of the examples in which rain or snow surely falls: of all that moves it takes longest."""

_SEEN = 0.3
_MEASURED = 24
_MEASURE_EVERY = 500
_KINDS, _COLOURS = tuple(Kind), tuple(Colour)


class Examples:
    """Clips with fresh captions, without end."""

    def __init__(self, latents: ClipLatents, worker: int) -> None:
        """Take the data set; each worker draws other lots from it."""
        self._latents = latents
        self._worker = worker
        self._scale = latents.scale
        self._tokenizer = new_clip_tokenizer()
        self._scenes = [clip_scene_of(Split.TRAIN, n) for n in range(len(latents.values))]
        self._falling = [n for n, scene in enumerate(self._scenes) if scene.weather in FALLS_PX]

    def batch(self, step: int) -> dict[str, Any]:
        """Return the examples of a step, the same ones each time."""
        chance = random.Random(f"{step} {self._worker}")  # noqa: S311
        numbers = [self._number(chance) for _ in range(BATCH)]
        scenes = [self._scenes[number] for number in numbers]
        texts = [told(lambda scene=scene: clip_caption(scene, chance), chance) for scene in scenes]  # type: ignore[misc]
        masks = self._latents.masks[numbers].float() / 255
        kinds, colours = names_of(scenes, masks)
        return {
            "read": self._tokenizer(texts, padding=True, return_tensors="pt"),
            "latents": self._latents.values[numbers].float() * self._scale,
            "masks": masks,
            "kinds": kinds,
            "colours": colours,
            "seed": chance.getrandbits(31),
        }

    def _number(self, chance: random.Random) -> int:
        if self._falling and chance.random() < _FALLING:
            return chance.choice(self._falling)
        return chance.randrange(len(self._scenes))


def names_of(scenes: list[Scene], masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return kind and colour by clip, frame and token: of the thing where it covers enough."""
    import torch
    from torch.nn.functional import avg_pool2d

    seen = avg_pool2d(masks, LATENT_SIDE // CELLS).flatten(2) > _SEEN
    kinds, colours = (torch.full(seen.shape, NONE) for _ in range(2))
    for number, scene in enumerate(scenes):
        for thing in scene.things:
            kinds[number, seen[number]] = _KINDS.index(thing.kind)
            colours[number, seen[number]] = _COLOURS.index(thing.colour)
    return kinds, colours


def loss_of(modules: dict[str, Any], naming: Naming, batch: dict[str, Any]) -> tuple[Any, Any]:
    """Return the loss of the flow, and that of the names."""
    clean = batch["latents"]
    noise = Noise.of(clean, batch["seed"], SIGMA_SHIFT, _NOISE_ALONE)
    made = clean_of(modules, noise.over(clean), noise.sigma, batch["read"])
    change = (clean - clean.mean(2, keepdim=True)).abs().mean(1, keepdim=True).clamp(max=1)
    weight = 1 + _THING_WEIGHT * batch["masks"].unsqueeze(1) + _CHANGE_WEIGHT * change
    weight = weight / noise.sigma.clamp(min=_LEAST_SIGMA).view(-1, 1, 1, 1, 1) ** 2
    wrong = ((made - clean).pow(2) * weight).mean() / weight.mean()
    return wrong, naming.loss(batch["kinds"], batch["colours"])


def naming_of(transformer: Any) -> Naming:
    """Return what asks the middle of the transformer for names, by clip, frame and token."""

    def tokens_in(made: torch.Tensor) -> torch.Tensor:
        by_place = made.unflatten(0, (-1, CELLS * CELLS))
        return by_place.transpose(1, 2).flatten(1, 2)

    return Naming(transformer.temporal_transformer_blocks[LAYERS // 2 - 1], WIDTH, tokens_in)


def train(
    run: Run, modules: dict[str, Any], naming: Naming, examples: Examples, steps: int
) -> Iterator[dict[str, float]]:
    """Train until so many steps are done; the losses come out after each."""

    def losses_at(step: int) -> tuple[Any, Any]:
        return loss_of(modules, naming, examples.batch(step))

    return trained(run, losses_at, Course(steps, PEAK_RATE, DECAY_FROM))


def drawn_clips(pipe: Any, texts: list[str], steps: int, guidance: float) -> list[Any]:
    """Draw a clip of each text, the same ones each time: frames × 64 × 64 × 3, from 0 to 255."""
    import numpy as np
    import torch

    side = LATENT_SIDE * pipe.vae_scale_factor
    clips = []
    for number, text in enumerate(texts):  # one by one: of several, the pipeline pads the words
        frames = pipe(
            text,
            num_inference_steps=steps,
            guidance_scale=guidance,
            height=side,
            width=side,
            video_length=FRAMES,
            generator=torch.Generator().manual_seed(number),
            output_type="np",
            clean_caption=False,
        ).frames[0]
        clips.append(np.rint(frames * 255).clip(0, 255).astype(np.uint8))
    return clips


def measured(run: Run, vae: Any, scale: float, count: int = _MEASURED) -> dict[str, float]:
    """Return figures of the averaged weights on the development split, and keep a contact sheet."""
    import torch

    from training.judge import Judge
    from training.measure_clips import asked_of, figures_of, filmstrips

    modules = new_modules()
    for name, module in modules.items():
        module.load_state_dict(run.averaged(name))
    vae.register_to_config(scaling_factor=scale)
    asked = asked_of(Split.DEV, count)
    with torch.autocast("cpu", torch.bfloat16):
        texts = [one.prompt for one in asked]
        clips = drawn_clips(pipeline_of(modules, vae), texts, 12, 2.0)
    filmstrips(clips, texts).save(run.path.with_name("clips.png"))
    path = run.path.with_name("judge-weights.pt")
    if not path.exists():
        return {}
    return figures_of(Judge(torch.load(path, weights_only=True)), asked, clips)


def _work(number: int, options: argparse.Namespace) -> None:
    vae = finished_autoencoder(options.folder)
    path = options.folder / "clips-latents.pt"
    latents = in_turn(number, lambda: prepared_clips(path, vae, CLIPS))
    modules = new_modules()
    transformer = modules["transformer"]
    naming = naming_of(transformer)
    all_modules = modules | {"naming": naming.heads}
    optimizer = faster_optimizer_for(all_modules, _is_inner, PEAK_RATE, 0.01)
    run = Run(options.folder / "clips.pt", all_modules, optimizer)
    run.keeps = number == 0
    blocks = (*transformer.transformer_blocks, *transformer.temporal_transformer_blocks)
    for block in blocks if options.compiled else ():
        block.compile()
    losses = train(run, modules, naming, Examples(latents, number), options.steps)
    scale = latents.scale
    reported(run, losses, _MEASURE_EVERY, lambda: measured(run, vae, scale))


def _is_inner(name: str) -> bool:
    tables = "scale_shift_table", "relative_attention_bias"
    within = "transformer_blocks." in name or ".encoder.block." in name
    return within and not any(table in name for table in tables)


def main() -> None:
    """Train, or go on."""
    with_workers(parser_for("Train the clip model.", STEPS), _work)


if __name__ == "__main__":
    main()
