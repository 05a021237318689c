"""What a clip looks like while it forms: a frame in the middle of its latents, as colours.

This module owns how families of pipelines lay out their latents. Others have no previews. The map
from latents to colours is that of pictures, fitted to the model's own VAE on a clip of one frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from models.image.latents import LatentColours

if TYPE_CHECKING:
    import torch
    from PIL import Image

_FITTED_LATENTS: Final = 24
"""Side of the picture that the map is fitted to, in latents: enough for the 128 channels of LTX."""

Frame = Callable[["torch.Tensor", int, int], "torch.Tensor"]
"""Takes latents, and how many of them are in a column and in a row; returns channels x rows x
columns of a frame in the middle."""


def _channels_first(latents: torch.Tensor, _rows: int, _columns: int) -> torch.Tensor:
    return latents[0, :, latents.shape[2] // 2]


def _frames_first(latents: torch.Tensor, _rows: int, _columns: int) -> torch.Tensor:
    return latents[0, latents.shape[1] // 2]


def _packed(latents: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Undo the packing of all places into one row, frame by frame."""
    frames = latents[0].unflatten(0, (-1, rows, columns))
    return frames[len(frames) // 2].permute(2, 0, 1)


_LAYOUTS: Final[dict[str, Frame]] = {
    "AnimateDiffPipeline": _channels_first,
    "CogVideoXPipeline": _frames_first,
    "CogVideoXImageToVideoPipeline": _frames_first,
    "LattePipeline": _channels_first,
    "LTXPipeline": _packed,
    "LTXImageToVideoPipeline": _packed,
    "WanPipeline": _channels_first,
    "WanImageToVideoPipeline": _channels_first,
}


class ClipColours:
    """Shows latents of one pipeline."""

    def __init__(self, colours: LatentColours, frame: Frame, latent_px: int) -> None:
        self._colours = colours
        self._frame = frame
        self._latent_px = latent_px

    @classmethod
    def fit(cls, pipe: Any, latent_px: int) -> ClipColours | None:
        """Fit the map to a pipeline; None where nobody knows its latents.

        Args:
            pipe: The pipeline, with its VAE on the device that computes.
            latent_px: Pixels that are one latent, in a row.
        """
        frame = _LAYOUTS.get(type(pipe).__name__)
        colours = frame and LatentColours.fit(pipe.vae, side_px=_FITTED_LATENTS * latent_px)
        return cls(colours, frame, latent_px) if frame and colours else None

    def picture(self, latents: torch.Tensor, width_px: int, height_px: int) -> Image.Image:
        """Show a frame in the middle of the clip; the size is that of the clip to come."""
        frame = self._frame(latents, height_px // self._latent_px, width_px // self._latent_px)
        return self._colours.picture(frame[None], width_px, height_px)
