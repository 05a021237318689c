"""What every training run shares: a schedule, an average of the weights, checkpoints that resume.

This module owns how a run is kept on disk. It knows no model and no data.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

DATA = Path("data/training")
"""Where runs keep their checkpoints. It can be thrown away; the weights are copied out of it."""

CHECKPOINT_EVERY_S = 180.0
_WARM_UP = 200
_FLOOR = 0.02


def parser_for(description: str, steps: int) -> argparse.ArgumentParser:
    """Return the command line that all runs share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="when the run is complete")
    parser.add_argument("--folder", type=Path, default=DATA, help="where the runs are kept")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def rate_at(step: int, steps: int, peak: float, hold: float = 0.0) -> float:
    """Return the learning rate: up in a line, level for a share of the steps, down in a cosine."""
    if step < _WARM_UP:
        return peak * (step + 1) / _WARM_UP
    start = max(_WARM_UP, hold * steps)
    share = min(1.0, max(0.0, (step - start) / max(1, steps - start)))
    return peak * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * share)))


@dataclass
class Run:
    """Modules in training, and how far they are.

    Attributes:
        path: The checkpoint.
        modules: What is trained, by name.
        optimizer: Its optimizer.
        decay: How slowly the average follows.
        averages: The averaged weights, by module.
        keeps: Whether this process writes; of several workers one does.
        step: Steps done.
        seconds: Time spent in steps, over all sessions.
    """

    path: Path
    modules: dict[str, torch.nn.Module]
    optimizer: torch.optim.Optimizer | Both
    decay: float = 0.999
    averages: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    keeps: bool = True
    step: int = 0
    seconds: float = 0.0
    _saved_at: float = field(default_factory=time.monotonic)
    _stepped_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Take the averages from the weights, or everything from the checkpoint."""
        import torch

        self.averages = {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in self.modules.items()
        }
        if not self.path.exists():
            return
        kept = torch.load(self.path, weights_only=True)
        for name, module in self.modules.items():
            module.load_state_dict(kept["modules"][name])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.averages, self.step, self.seconds = kept["averages"], kept["step"], kept["seconds"]
        torch.set_rng_state(kept["random"])

    def stepped(self, rate: float) -> None:
        """Take a step with the gradients that there are, and keep a checkpoint when one is due."""
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average()
        now = time.monotonic()
        self.seconds += now - self._stepped_at
        self._stepped_at = now
        if now - self._saved_at >= CHECKPOINT_EVERY_S:
            self.save()

    def restart_clock(self) -> None:
        """Leave out the time since the last step, such as that of an evaluation."""
        self._stepped_at = time.monotonic()

    def averaged(self, name: str) -> dict[str, torch.Tensor]:
        """Return the averaged weights of a module."""
        return self.averages[name]

    def save(self) -> None:
        """Keep everything that a later run needs to go on as if it had never ended."""
        import torch

        if not self.keeps:
            return
        kept = {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizer": self.optimizer.state_dict(),
            "averages": self.averages,
            "step": self.step,
            "seconds": self.seconds,
            "random": torch.get_rng_state(),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        torch.save(kept, fresh)
        fresh.replace(self.path)
        self._saved_at = time.monotonic()

    def log(self, **values: float) -> None:
        """Write a line of figures beside the checkpoint."""
        if not self.keeps:
            return
        line = {"step": self.step, "seconds": round(self.seconds), **values}
        with self.path.with_suffix(".jsonl").open("a") as log:
            log.write(json.dumps({k: round(v, 5) for k, v in line.items()}) + "\n")

    def _average(self) -> None:
        import torch

        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, module in self.modules.items():
                kept = self.averages[name]
                for key, value in module.state_dict().items():
                    if value.dtype.is_floating_point:
                        kept[key].lerp_(value, 1 - decay)
                    else:
                        kept[key].copy_(value)


def optimizer_for(modules: dict[str, Any], rate: float, weight_decay: float) -> Any:
    """Return AdamW over modules; biases, norms and tables of words are not decayed."""
    decayed: list[torch.nn.Parameter] = []
    free: list[torch.nn.Parameter] = []
    for module in modules.values():
        for name, parameter in module.named_parameters():
            plain = parameter.ndim < 2 or "embedding" in name
            (free if plain else decayed).append(parameter)
    return _adamw(decayed, free, rate, weight_decay)


def faster_optimizer_for(
    modules: dict[str, Any], inner: Callable[[str], bool], rate: float, weight_decay: float
) -> Any:
    """Return Muon over the inner matrices and AdamW over the rest.

    Args:
        modules: What is trained, by name.
        inner: Tells from a parameter's name whether its matrix lies within the model, not at the
            edge where words, latents or names go in and out.
        rate: The peak learning rate of both.
        weight_decay: Of matrices.
    """
    import torch

    matrices: list[torch.nn.Parameter] = []
    decayed: list[torch.nn.Parameter] = []
    free: list[torch.nn.Parameter] = []
    for module_name, module in modules.items():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 2 and inner(f"{module_name}.{name}"):
                matrices.append(parameter)
            else:
                plain = parameter.ndim < 2 or "embedding" in name
                (free if plain else decayed).append(parameter)
    muon = torch.optim.Muon(
        matrices, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return Both(muon, _adamw(decayed, free, rate, weight_decay))


class Both:
    """Two optimizers that step together."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        """Take the parts."""
        self._parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """All groups of the parts."""
        return [group for part in self._parts for group in part.param_groups]

    def step(self) -> None:
        """Take a step with each."""
        for part in self._parts:
            part.step()

    def zero_grad(self, *, set_to_none: bool) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what both need to go on."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, kept: list[dict[str, Any]]) -> None:
        """Go on from what was kept."""
        for part, state in zip(self._parts, kept, strict=True):
            part.load_state_dict(state)


def _adamw(
    decayed: list[torch.nn.Parameter],
    free: list[torch.nn.Parameter],
    rate: float,
    weight_decay: float,
) -> Any:
    import torch

    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True)
