"""Draws many scenes and keeps what the autoencoder makes of them, so that it need not do it again.

This module owns the data set of the picture model: latents, where the things are, and the numbers
of the scenes, from which everything else follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.drawing import draw
from training.scenes import Colour, Kind, Scene, Split, composed, scene_of

if TYPE_CHECKING:
    import torch

CELLS = 8
"""The transformer's tokens in a row."""

NONE = len(Kind)
"""Stands for no thing."""

_BATCH = 32
_SEEN = 0.3
_KINDS, _COLOURS = tuple(Kind), tuple(Colour)


@dataclass(frozen=True, slots=True)
class Latents:
    """Scenes as the transformer sees them.

    Attributes:
        values: n × channels × 16 × 16, float16, as the autoencoder gives them.
        masks: Where things are, n × 16 × 16, between 0 and 255.
        kinds, colours: What is in each of ``CELLS`` × ``CELLS`` cells; ``NONE`` for nothing.
    """

    values: torch.Tensor
    masks: torch.Tensor
    kinds: torch.Tensor
    colours: torch.Tensor

    @property
    def shift(self) -> float:
        """Return the mean over everything."""
        return float(self.values[:4096].float().mean())

    @property
    def scale(self) -> float:
        """Return what makes their standard deviation one."""
        return float(1 / self.values[:4096].float().std())


def prepared(path: Path, vae: Any, count: int) -> Latents:
    """Return latents of the first so many scenes; made once, then read from disk."""
    import torch

    if path.exists():
        return Latents(**torch.load(path, weights_only=True))
    made = [_encoded(vae, range(n, min(count, n + _BATCH))) for n in range(0, count, _BATCH)]
    names = ("values", "masks", "kinds", "colours")
    kept = {name: torch.cat([batch[name] for batch in made]) for name in names}
    fresh = path.with_suffix(".new")
    torch.save(kept, fresh)
    fresh.replace(path)
    return Latents(**kept)


def _encoded(vae: Any, numbers: range) -> dict[str, torch.Tensor]:
    import numpy as np
    import torch

    scenes = [composed(scene_of(Split.TRAIN, number)) for number in numbers]
    drawings = [draw(scene) for scene in scenes]
    pixels = torch.from_numpy(np.stack([np.asarray(drawing.image) for drawing in drawings]))
    picture = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    picture = picture.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        values = vae.encode(picture).latent_dist.mode()
    whole = torch.from_numpy(np.stack([drawing.mask for drawing in drawings])).float()
    masks = torch.nn.functional.avg_pool2d(whole.unsqueeze(1), 4).squeeze(1)
    pairs = list(zip(scenes, drawings, strict=True))
    named = [_named(scene, [np.asarray(m) for m in drawing.masks]) for scene, drawing in pairs]
    kinds, colours = (torch.from_numpy(np.stack(part)) for part in zip(*named, strict=True))
    return {
        "values": values.half(),
        "masks": masks.round().byte(),
        "kinds": kinds,
        "colours": colours,
    }


def _named(scene: Scene, masks: list[Any]) -> tuple[Any, Any]:
    """Return kind and colour by cell: of what covers enough of it."""
    import numpy as np

    kinds = np.full((CELLS, CELLS), NONE, np.uint8)
    colours = np.full((CELLS, CELLS), NONE, np.uint8)
    for thing, mask in zip(scene.things, masks, strict=True):
        side = len(mask) // CELLS
        share = mask.reshape(CELLS, side, CELLS, side).mean(axis=(1, 3)) / 255
        kinds[share > _SEEN] = _KINDS.index(thing.kind)
        colours[share > _SEEN] = _COLOURS.index(thing.colour)
    return kinds, colours
