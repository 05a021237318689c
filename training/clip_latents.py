"""Draws many clips and keeps what the autoencoder makes of them, so that it need not do it again.

This module owns the data set of the clip model. Frame by frame it is that of the picture model,
with the same autoencoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.clip_scenes import clip_scene_of, frames_of
from training.scenes import Split

if TYPE_CHECKING:
    import torch

    from training.drawing import Drawing


@dataclass(frozen=True, slots=True)
class ClipLatents:
    """Clips as the transformer sees them.

    Attributes:
        values: n × channels × frames × 16 × 16, float16, as the autoencoder gives them.
        masks: Where the thing is, n × frames × 16 × 16, between 0 and 255.
    """

    values: torch.Tensor
    masks: torch.Tensor

    @property
    def scale(self) -> float:
        """Return what makes their standard deviation one; the pipeline knows no other shift."""
        return float(1 / self.values[:256].float().std())


def prepared_clips(path: Path, vae: Any, count: int) -> ClipLatents:
    """Return latents of the first so many clips; made once, then read from disk."""
    import torch

    if path.exists():
        return ClipLatents(**torch.load(path, weights_only=True, mmap=True))
    made = [_encoded(vae, frames_of(clip_scene_of(Split.TRAIN, n))) for n in range(count)]
    values, masks = (torch.stack(part) for part in zip(*made, strict=True))
    fresh = path.with_suffix(".new")
    torch.save({"values": values, "masks": masks}, fresh)
    fresh.replace(path)
    return ClipLatents(values, masks)


def _encoded(vae: Any, frames: list[Drawing]) -> tuple[torch.Tensor, torch.Tensor]:
    import numpy as np
    import torch

    pixels = torch.from_numpy(np.stack([np.asarray(frame.image) for frame in frames]))
    picture = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    picture = picture.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        values = vae.encode(picture).latent_dist.mode()
    whole = torch.from_numpy(np.stack([frame.mask for frame in frames])).float()
    masks = torch.nn.functional.avg_pool2d(whole.unsqueeze(1), 4).squeeze(1)
    return values.half().movedim(0, 1).contiguous(), masks.round().byte()
