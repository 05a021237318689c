"""What the runs of the picture and the clip model share: flows from noise to what words tell.

This module owns noise, the naming of what will be where, and steps that several workers share. It
knows neither pictures nor clips.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from training.autoencoder import new_autoencoder
from training.latents import NONE
from training.running import Run, rate_at

if TYPE_CHECKING:
    import torch

_Made = TypeVar("_Made")

_UNTOLD = 0.1
_UNKNOWN_WORD = 0.04
_NAMING_WEIGHT = 0.1


class Naming:
    """Asks the transformer's middle to say what will be where.

    Two linear layers, which the finished model leaves out, name the thing and the colour of each
    token. It learns what words mean several times sooner than from the noise alone.
    """

    def __init__(self, block: Any, width: int, tokens_in: Callable[[Any], Any]) -> None:
        """Listen to a block.

        Args:
            block: In the middle of the transformer.
            width: Of its tokens.
            tokens_in: Finds them in what the block gives.
        """
        import torch

        self.heads = torch.nn.Linear(width, 2 * (NONE + 1))
        self._tokens_in = tokens_in
        self._middle: torch.Tensor | None = None
        block.register_forward_hook(self._keep)

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
        self._middle = self._tokens_in(made)


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise for a batch.

    Attributes:
        sigma: The share of noise in each example.
        values: What it is, of the batch's shape.
    """

    sigma: torch.Tensor
    values: torch.Tensor

    @classmethod
    def of(cls, clean: torch.Tensor, seed: int, shift: float, alone: float) -> Noise:
        """Draw it: evenly from none to all, shifted; a share of examples is noise alone."""
        import torch

        chance = torch.Generator().manual_seed(seed)
        values = torch.randn(clean.shape, generator=chance)
        even = torch.rand(len(clean), generator=chance)
        even[torch.rand(len(clean), generator=chance) < alone] = 1.0
        return cls(shift * even / (1 + (shift - 1) * even), values)

    def over(self, clean: torch.Tensor) -> torch.Tensor:
        """Return the batch with its noise."""
        part = self.sigma.view(-1, *(1,) * (clean.ndim - 1))
        return (1 - part) * clean + part * self.values

    def loss(self, flow: torch.Tensor, clean: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return how far a flow is from that which leads to the noise."""
        return ((flow - (self.values - clean)).pow(2) * weight).mean() / weight.mean()


@dataclass(frozen=True, slots=True)
class Course:
    """How long a run is, and how fast it learns."""

    steps: int
    peak_rate: float
    hold: float


def told(word: Callable[[], str], chance: random.Random) -> str:
    """Return a caption as it is learned from: now and then none, or with an unknown word."""
    if chance.random() < _UNTOLD:
        return ""
    text = word()
    if chance.random() < _UNKNOWN_WORD:  # a word it does not know should change nothing
        split = text.split()
        split.insert(chance.randint(0, len(split)), "?unknown?")
        text = " ".join(split)
    return text


def trained(
    run: Run, losses_at: Callable[[int], tuple[Any, Any]], course: Course
) -> Iterator[dict[str, float]]:
    """Train until the course is done; the losses come out after each step.

    Args:
        run: What is trained.
        losses_at: Returns the loss of the flow and that of the names, at a step.
        course: How long, and how fast.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    while run.step < course.steps:
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            flow, names = losses_at(run.step)
            (flow + _NAMING_WEIGHT * names).backward()
        _share_gradients(run)
        run.stepped(rate_at(run.step, course.steps, course.peak_rate, hold=course.hold))
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


def reported(
    run: Run,
    losses: Iterator[dict[str, float]],
    every: int,
    measured: Callable[[], dict[str, float]],
) -> None:
    """Run a training to its end, and keep its figures."""
    sums: dict[str, float] = {}
    for loss in losses:
        for name, value in loss.items():
            sums[name] = sums.get(name, 0.0) + value / 50
        if run.step % 50 == 0:
            run.log(**sums)
            sums = {}
        if run.step % every == 0 and run.keeps:
            run.log(**measured())
            run.restart_clock()
    run.save()


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


def in_turn(number: int, make: Callable[[], _Made]) -> _Made:
    """Make something in the first worker, then in the others, who find on disk what it kept."""
    from torch import distributed

    shared = distributed.is_initialized()
    if shared and number:
        distributed.barrier()
    made = make()
    if shared and not number:
        distributed.barrier()
    return made


def with_workers(
    parser: argparse.ArgumentParser, work: Callable[[int, argparse.Namespace], None]
) -> None:
    """Read the command line, and do the work in as many processes as it says.

    Args:
        parser: Of the command line; ``--workers`` and ``--compiled`` are added.
        work: Called in each worker with its number, and what the command line says.
    """
    import torch

    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="quicker after two minutes")
    options = parser.parse_args()
    if options.workers == 1:
        _worker(0, work, options, 0)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # takes the workers with it
    arguments = (work, options, port)
    torch.multiprocessing.spawn(_worker, arguments, nprocs=options.workers, daemon=True)


def _worker(
    number: int,
    work: Callable[[int, argparse.Namespace], None],
    options: argparse.Namespace,
    port: int,
) -> None:
    import torch
    from torch import distributed

    torch.set_num_threads(options.threads)
    if options.workers > 1:
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", str(port)
        distributed.init_process_group("gloo", rank=number, world_size=options.workers)
    torch.manual_seed(0)
    work(number, options)
