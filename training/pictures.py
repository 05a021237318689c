"""Trains the picture model: a flow from noise to latents, told by words.

Run it with ``python -m training.pictures``; it goes on where it was stopped. ``--workers 2`` shares
each step between two processes, which is quicker than two threads of one.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.autoencoder import new_autoencoder
from training.captions import caption, told_by
from training.latents import NONE, Latents, prepared
from training.picture_model import (
    LAYERS,
    SIGMA_SHIFT,
    THIRD_TOKENS,
    WIDTH,
    encoded,
    new_modules,
    pipeline_of,
)
from training.running import Run, optimizer_for, parser_for, rate_at
from training.scenes import Scene, Split, scene_of
from training.tokens import new_tokenizer

if TYPE_CHECKING:
    import argparse

    import torch

STEPS = 16_000
SCENES = 40_000
BATCH = 32
"""Of each worker."""

PEAK_RATE = 1e-3
DECAY_FROM = 0.75
_UNTOLD = 0.1
_NOISE_ALONE = 0.05
"""Sky and ground shine through nearly any noise, so they are learned from words only near the end
of it: the common logit-normal choice of noise hardly ever gets there."""

_UNKNOWN_WORD = 0.04
_THING_WEIGHT = 3.0
_NAMING_WEIGHT = 0.1
_NAMED_LAYER = LAYERS // 2
_MEASURED = 96
_MEASURE_EVERY = 1000


class Naming:
    """Asks the transformer's middle to say what will be where.

    Two linear layers, which the finished model leaves out, name the thing and the colour of each
    token. It learns what words mean several times sooner than from the noise alone.
    """

    def __init__(self, transformer: Any) -> None:
        """Listen to the middle layer."""
        import torch

        self.heads = torch.nn.Linear(WIDTH, 2 * (NONE + 1))
        self._middle: torch.Tensor | None = None
        transformer.transformer_blocks[_NAMED_LAYER].register_forward_hook(self._keep)

    def loss(self, kinds: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
        """Return how wrong the names are, of the batch that went through last."""
        from torch.nn.functional import cross_entropy

        assert self._middle is not None
        kind, colour = self.heads(self._middle).float().split(NONE + 1, dim=-1)
        there = kinds.flatten(1).long()
        seen = there != NONE
        wrong = cross_entropy(kind.flatten(0, 1), there.flatten())
        if seen.any():
            wrong = wrong + cross_entropy(colour[seen], colours.flatten(1).long()[seen])
        return wrong

    def _keep(self, _block: Any, _given: Any, made: Any) -> None:
        self._middle = made[1]


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
        if chance.random() < _UNTOLD:
            return ""
        if number not in self._scenes:
            self._scenes[number] = scene_of(Split.TRAIN, number)
        text = caption(self._scenes[number], chance)
        if chance.random() < _UNKNOWN_WORD:  # a word it does not know should change nothing
            told = text.split()
            told.insert(chance.randint(0, len(told)), "?unknown?")
            text = " ".join(told)
        return text


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
    import torch

    chance = torch.Generator().manual_seed(int(batch["seed"]))
    clean = batch["latents"]
    noise = torch.randn(clean.shape, generator=chance)
    even = torch.rand(len(clean), generator=chance)
    even[torch.rand(len(clean), generator=chance) < _NOISE_ALONE] = 1.0
    sigma = SIGMA_SHIFT * even / (1 + (SIGMA_SHIFT - 1) * even)
    part = sigma.view(-1, 1, 1, 1)
    words, pooled = encoded(modules, batch["ids"])
    flow = modules["transformer"](
        hidden_states=(1 - part) * clean + part * noise,
        encoder_hidden_states=words,
        pooled_projections=pooled,
        timestep=sigma * 1000,
    ).sample.float()
    weight = 1 + _THING_WEIGHT * batch["masks"].unsqueeze(1)
    wrong = ((flow - (noise - clean)).pow(2) * weight).mean() / weight.mean()
    return wrong, naming.loss(batch["kinds"], batch["colours"])


# --------------------------------------------------------------------------- training


def train(
    run: Run, modules: dict[str, Any], naming: Naming, examples: Examples, steps: int
) -> Iterator[dict[str, float]]:
    """Train until so many steps are done; the losses come out after each."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    while run.step < steps:
        batch = examples.batch(run.step)
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            flow, names = loss_of(modules, naming, batch)
            (flow + _NAMING_WEIGHT * names).backward()
        _share_gradients(run)
        run.stepped(rate_at(run.step, steps, PEAK_RATE, hold=DECAY_FROM))
        yield {"flow": float(flow.detach()), "names": float(names.detach())}


def _share_gradients(run: Run) -> None:
    """Take the mean of the workers' gradients."""
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        return
    gradients = [p.grad for m in run.modules.values() for p in m.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def finished_autoencoder(folder: Path) -> Any:
    """Return the trained autoencoder.

    Raises:
        SystemExit: It has not been trained.
    """
    import torch

    path = folder / "autoencoder.pt"
    if not path.exists():
        raise SystemExit("Train the autoencoder first: python -m training.autoencoder")
    vae = new_autoencoder().to(memory_format=torch.channels_last).eval()
    vae.load_state_dict(torch.load(path, weights_only=True)["averages"]["vae"])
    return vae


def drawn_pictures(
    modules: dict[str, Any], vae: Any, latents: Latents, texts: list[str], guidance: float = 4.0
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


def _worker(number: int, options: argparse.Namespace, port: int) -> None:
    import torch
    from torch import distributed

    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", str(port)
    torch.set_num_threads(options.threads)
    if options.workers > 1:
        distributed.init_process_group("gloo", rank=number, world_size=options.workers)
    torch.manual_seed(0)
    vae = finished_autoencoder(options.folder)
    latents = prepared(options.folder / "latents.pt", vae, SCENES)
    modules = new_modules()
    naming = Naming(modules["transformer"])
    trained = modules | {"naming": naming.heads}
    run = Run(options.folder / "pictures.pt", trained, optimizer_for(trained, PEAK_RATE, 0.01))
    run.keeps = number == 0
    for block in modules["transformer"].transformer_blocks if options.compiled else ():
        block.compile()
    _report(
        run, train(run, modules, naming, Examples(latents, number), options.steps), vae, latents
    )
    run.save()


def _report(run: Run, losses: Iterator[dict[str, float]], vae: Any, latents: Latents) -> None:
    """Run the training, and keep its figures."""
    sums: dict[str, float] = {}
    for loss in losses:
        for name, value in loss.items():
            sums[name] = sums.get(name, 0.0) + value / 50
        if run.step % 50 == 0:
            run.log(**sums)
            sums = {}
        if run.step % _MEASURE_EVERY == 0 and run.keeps:
            run.log(**measured(run, vae, latents))
            run.restart_clock()


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
    import torch

    parser = parser_for("Train the picture model.", STEPS)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="quicker after two minutes")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if options.workers == 1:
        _worker(0, options, port)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # takes the workers with it
        arguments = (options, port)
        torch.multiprocessing.spawn(_worker, arguments, nprocs=options.workers, daemon=True)


if __name__ == "__main__":
    main()
