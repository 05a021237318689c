"""Trains the picture model: a flow from noise to latents, told by words.

Run it with ``python -m training.pictures``; it goes on where it was stopped. ``--workers 2`` shares
each step between two processes, which is quicker than two threads of one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from training.captions import caption, told_by
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
from training.latents import Latents, prepared
from training.picture_model import (
    LAYERS,
    SIGMA_SHIFT,
    THIRD_TOKENS,
    WIDTH,
    encoded,
    new_modules,
    pipeline_of,
)
from training.running import Run, faster_optimizer_for, parser_for
from training.scenes import Scene, Split, scene_of
from training.tokens import new_tokenizer

if TYPE_CHECKING:
    import argparse

    import torch

STEPS = 10_200
SCENES = 40_000
BATCH = 32
"""Of each worker."""

PEAK_RATE = 1e-3
DECAY_FROM = 0.75
_NOISE_ALONE = 0.05
"""Sky and ground shine through nearly any noise, so they are learned from words only near the end
of it: the common logit-normal choice of noise hardly ever gets there."""

_THING_WEIGHT = 7.0
_NAMED_LAYER = LAYERS // 2
_MEASURED = 96
_MEASURE_EVERY = 1000


class Examples:
    """Scenes with fresh captions, without end."""

    def __init__(self, latents: Latents, worker: int) -> None:
        """Take the data set; each worker draws other lots from it."""
        self._latents = latents
        self._worker = worker
        self._tokenizer = new_tokenizer()
        self._shift, self._scale = latents.shift, latents.scale
        self._scenes: dict[int, Scene] = {}

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """Return the examples of a step, the same ones each time."""
        import torch

        chance = random.Random(f"{step} {self._worker}")  # noqa: S311
        numbers = [chance.randrange(len(self._latents.values)) for _ in range(BATCH)]
        texts = [self._told(number, chance) for number in numbers]
        values = self._latents.values[numbers].float()
        return {
            "ids": ids_of(self._tokenizer, texts),
            "latents": (values - self._shift) * self._scale,
            "masks": self._latents.masks[numbers].float() / 255,
            "kinds": self._latents.kinds[numbers],
            "colours": self._latents.colours[numbers],
            "seed": torch.tensor(chance.getrandbits(31)),
        }

    def _told(self, number: int, chance: random.Random) -> str:
        if number not in self._scenes:
            self._scenes[number] = scene_of(Split.TRAIN, number)
        return told(lambda: caption(self._scenes[number], chance), chance)


def ids_of(tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """Return the numbers of the words as the pipeline does."""
    ids: torch.Tensor = tokenizer(
        texts,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids


def loss_of(modules: dict[str, Any], naming: Naming, batch: dict[str, Any]) -> tuple[Any, Any]:
    """Return the loss of the flow, and that of the names."""
    clean = batch["latents"]
    noise = Noise.of(clean, int(batch["seed"]), SIGMA_SHIFT, _NOISE_ALONE)
    words, pooled = encoded(modules, batch["ids"])
    flow = modules["transformer"](
        hidden_states=noise.over(clean),
        encoder_hidden_states=words,
        pooled_projections=pooled,
        timestep=noise.sigma * 1000,
    ).sample.float()
    weight = 1 + _THING_WEIGHT * batch["masks"].unsqueeze(1)
    return noise.loss(flow, clean, weight), naming.loss(batch["kinds"], batch["colours"])


def naming_of(transformer: Any) -> Naming:
    """Return what asks the middle of the transformer for names."""
    return Naming(transformer.transformer_blocks[_NAMED_LAYER], WIDTH, lambda made: made[1])


# --------------------------------------------------------------------------- training


def train(
    run: Run, modules: dict[str, Any], naming: Naming, examples: Examples, steps: int
) -> Iterator[dict[str, float]]:
    """Train until so many steps are done; the losses come out after each."""

    def losses_at(step: int) -> tuple[Any, Any]:
        return loss_of(modules, naming, examples.batch(step))

    return trained(run, losses_at, Course(steps, PEAK_RATE, DECAY_FROM))


def drawn_pictures(
    modules: dict[str, Any], vae: Any, latents: Latents, texts: list[str], guidance: float = 2.0
) -> list[Any]:
    """Draw a picture of each text, the same ones each time, through the pipeline."""
    import torch

    vae.register_to_config(scaling_factor=latents.scale, shift_factor=latents.shift)
    pipe = pipeline_of(modules, vae)
    images = []
    for start in range(0, len(texts), 32):
        part = texts[start : start + 32]
        generators = [torch.Generator().manual_seed(start + n) for n in range(len(part))]
        with torch.autocast("cpu", torch.bfloat16):
            images += pipe(
                part,
                num_inference_steps=20,
                guidance_scale=guidance,
                height=64,
                width=64,
                max_sequence_length=THIRD_TOKENS,
                generator=generators,
            ).images
    return images


def _work(number: int, options: argparse.Namespace) -> None:
    vae = finished_autoencoder(options.folder)
    path = options.folder / "latents.pt"
    latents = in_turn(number, lambda: prepared(path, vae, SCENES))
    modules = new_modules()
    naming = naming_of(modules["transformer"])
    all_modules = modules | {"naming": naming.heads}
    optimizer = faster_optimizer_for(all_modules, _is_inner, PEAK_RATE, 0.01)
    run = Run(options.folder / "pictures.pt", all_modules, optimizer)
    run.keeps = number == 0
    for block in modules["transformer"].transformer_blocks if options.compiled else ():
        block.compile()
    losses = train(run, modules, naming, Examples(latents, number), options.steps)
    reported(run, losses, _MEASURE_EVERY, lambda: measured(run, vae, latents))


def _is_inner(name: str) -> bool:
    return ".transformer_blocks." in name or ".encoder.layers." in name


def measured(run: Run, vae: Any, latents: Latents, count: int = _MEASURED) -> dict[str, float]:
    """Return the judge's figures of the averaged weights, on the development split."""
    import torch

    from training.judge import Judge, marks, summary

    modules = new_modules()
    for name, module in modules.items():
        module.load_state_dict(run.averaged(name))
    scenes = [scene_of(Split.DEV, number) for number in range(count)]
    texts = [caption(s, random.Random(n), Split.DEV) for n, s in enumerate(scenes)]  # noqa: S311
    images = drawn_pictures(modules, vae, latents, texts)
    _contact_sheet(images[:48]).save(run.path.with_name("pictures.png"))
    path = run.path.with_name("judge-weights.pt")
    if not path.exists():
        return {}
    verdicts = Judge(torch.load(path, weights_only=True)).look(images)
    asked = zip(verdicts, scenes, texts, strict=True)
    return summary([marks(v, scene, told_by(text, scene)) for v, scene, text in asked])


def _contact_sheet(images: list[Any], columns: int = 8) -> Any:
    from PIL import Image

    side = 128
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * side, rows * side))
    for number, image in enumerate(images):
        place = (number % columns * side, number // columns * side)
        sheet.paste(image.resize((side, side), Image.Resampling.NEAREST), place)
    return sheet


def main() -> None:
    """Train, or go on."""
    with_workers(parser_for("Train the picture model.", STEPS), _work)


if __name__ == "__main__":
    main()
