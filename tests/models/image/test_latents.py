"""Latents as colours, with a VAE whose colours are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from models.image.latents import LatentColours


class PlainVae:
    """Encodes squares of 8 × 8 pixels as their mean colours, mixed into four channels."""

    def __init__(self, **config: Any) -> None:
        import torch

        random = torch.Generator().manual_seed(5)
        self.mix = torch.randn((4, 3), generator=random)
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self.config = SimpleNamespace(**{"scaling_factor": 0.18, "shift_factor": None, **config})

    def to(self, dtype: Any) -> None:
        self.dtype = dtype

    def encode(self, picture: Any) -> Any:
        import torch

        means = torch.nn.functional.avg_pool2d(picture, 8)
        mixed = torch.einsum("oc,bchw->bohw", self.mix, means)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: mixed))

    def latents(self, picture: Any) -> Any:
        shift = self.config.shift_factor or 0
        return (self.encode(picture).latent_dist.mode() - shift) * self.config.scaling_factor


def red_and_blue(width: int, height: int) -> Any:
    """Return a picture whose left half is red, and its right half blue."""
    import torch

    picture = -torch.ones(1, 3, height, width)
    picture[:, 0, :, : width // 2] = 0.8
    picture[:, 2, :, width // 2 :] = 0.8
    return picture


@pytest.mark.parametrize("shift", [None, 0.3])
@pytest.mark.parametrize("packed", [False, True])
def test_colours_come_out_as_they_went_in(shift: float | None, packed: bool) -> None:
    from diffusers import FluxPipeline

    vae = PlainVae(shift_factor=shift)
    colours = LatentColours.fit(vae)
    assert colours
    latents = vae.latents(red_and_blue(192, 96))
    if packed:
        latents = FluxPipeline._pack_latents(latents, 1, 4, 12, 24)
        assert latents.ndim == 3
    image = colours.picture(latents, 192, 96)
    assert image.size == (192, 96)
    left, right = image.getpixel((40, 48)), image.getpixel((150, 48))
    assert left == pytest.approx((229, 0, 0), abs=8)
    assert right == pytest.approx((0, 0, 229), abs=8)


def test_large_pictures_are_shown_small() -> None:
    vae = PlainVae()
    colours = LatentColours.fit(vae)
    assert colours
    assert colours.picture(vae.latents(red_and_blue(1024, 512)), 1024, 512).size == (384, 192)


def test_unscaled_noise_does_not_drown_everything() -> None:
    import torch

    vae = PlainVae()
    colours = LatentColours.fit(vae)
    assert colours
    image = colours.picture(torch.randn(1, 4, 12, 24) * 14, 192, 96)
    extreme = sum(image.convert("L").histogram()[250:])
    assert extreme < 0.5 * 192 * 96


def test_half_precision_that_overflows_is_fitted_in_full() -> None:
    import torch

    vae = PlainVae(force_upcast=True)
    vae.dtype = torch.float16
    assert LatentColours.fit(vae)
    assert vae.dtype is torch.float16


def test_a_vae_of_another_kind_has_no_previews() -> None:
    vae = PlainVae()
    vae.encode = lambda _picture: object()  # type: ignore[method-assign]
    assert LatentColours.fit(vae) is None
