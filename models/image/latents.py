"""What a picture looks like while it forms: latents as colours, at next to no cost.

This module owns that approximation. A linear map from latents to colours is fitted once, to the
model's own VAE, so that it suits any family; the VAE itself would cost as much as a step or more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL import Image

_FITTED_PX = 256
_FITTED_COLOURS = 24
_RIDGE = 1e-4
_SHOWN_PX = 384
_OF_CLIPS = frozenset({"AutoencoderKLCogVideoX", "AutoencoderKLLTXVideo", "AutoencoderKLWan"})


class LatentColours:
    """Shows latents of one VAE."""

    def __init__(self, weights: torch.Tensor) -> None:
        """Keep the map: latent channels and a constant, each to red, green and blue."""
        self._weights = weights

    @classmethod
    def fit(cls, vae: Any, *, side_px: int = _FITTED_PX) -> LatentColours | None:
        """Fit the map to a VAE; None where it has none of the usual shape.

        Args:
            vae: Of pictures, or of clips, which begins a clip with a frame of its own.
            side_px: Side of the picture that it is fitted to.
        """
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        picture = _smooth_colours(side_px).to(vae.device)
        try:
            with torch.inference_mode():
                latents = _encoded(vae, picture)
        except (AttributeError, TypeError, ValueError):
            return None
        if latents.ndim != 4 or not latents.isfinite().all():
            return None
        colours = adaptive_avg_pool2d(picture, latents.shape[-2:])
        known = _with_constant(latents[0].float().cpu())
        wanted = colours[0].flatten(1).T.float().cpu()
        square = known.T @ known
        square += torch.diag(_RIDGE * square.diag() + _RIDGE**2)  # channels may be alike, or empty
        return cls(torch.linalg.solve(square, known.T @ wanted))

    def picture(self, latents: torch.Tensor, width_px: int, height_px: int) -> Image.Image:
        """Show the first of a batch of latents; the size is that of the picture to come."""
        from PIL import Image

        rows = latents[0].detach().float()
        channels = len(self._weights) - 1
        if rows.ndim == 2:
            rows = _unpacked(rows, channels, width_px / height_px)
        rows = rows / rows.std().clamp(min=1.0)  # some schedulers keep the noise unscaled
        colours = _with_constant(rows) @ self._weights.to(rows.device)
        pixels = (colours.clamp(-1, 1) + 1) * 127.5
        image = Image.fromarray(pixels.view(*rows.shape[-2:], 3).byte().cpu().numpy())
        shown = min(1.0, _SHOWN_PX / max(width_px, height_px))
        size = (max(1, round(width_px * shown)), max(1, round(height_px * shown)))
        return image.resize(size, Image.Resampling.BICUBIC)


def _smooth_colours(side_px: int) -> torch.Tensor:
    """Return a picture of many soft colours, the same each time, between -1 and 1."""
    import torch
    from torch.nn.functional import interpolate

    random = torch.Generator().manual_seed(0)
    colours = torch.rand((1, 3, _FITTED_COLOURS, _FITTED_COLOURS), generator=random)
    size = (side_px, side_px)
    return interpolate(colours, size=size, mode="bicubic").clamp(0, 1) * 2 - 1


def _encoded(vae: Any, picture: torch.Tensor) -> torch.Tensor:
    """Return latents as a denoiser sees them."""
    import torch

    dtype = vae.dtype
    if dtype is torch.float16 and getattr(vae.config, "force_upcast", False):
        vae.to(torch.float32)
    pixels = picture.to(vae.dtype)
    try:
        if type(vae).__name__ in _OF_CLIPS:
            latents = vae.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0]
        else:
            latents = vae.encode(pixels).latent_dist.mode()
    finally:
        vae.to(dtype)
    return _scaled(vae, latents)


def _scaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Bring latents into the range that a denoiser was trained on."""
    import torch

    factor = getattr(vae.config, "scaling_factor", None) or 1.0
    where = vae if type(vae).__name__ == "AutoencoderKLLTXVideo" else vae.config
    mean, std = (getattr(where, name, None) for name in ("latents_mean", "latents_std"))
    if mean is None or std is None:
        return (latents - (getattr(vae.config, "shift_factor", None) or 0.0)) * factor
    mean, std = (torch.as_tensor(each).to(latents)[:, None, None] for each in (mean, std))
    return (latents - mean) * factor / std


def _unpacked(rows: torch.Tensor, channels: int, shape: float) -> torch.Tensor:
    """Undo the packing of squares of 2 × 2 into one row each (Flux)."""
    count = rows.shape[0]
    height = max(1, round((count / shape) ** 0.5))
    while count % height:
        height -= 1
    squares = rows.view(height, count // height, channels, 2, 2)
    return squares.permute(2, 0, 3, 1, 4).reshape(channels, 2 * height, -1)


def _with_constant(latents: torch.Tensor) -> torch.Tensor:
    """Return a row of channels and a one for each place."""
    import torch

    rows = latents.flatten(1).T
    return torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
