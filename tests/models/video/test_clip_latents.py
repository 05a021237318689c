"""Latents of clips as colours, in the layouts of the real pipelines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from models.video.latents import ClipColours

FRAMES, ROWS, COLUMNS = 5, 6, 12


class Vae:
    """Encodes squares of 8 × 8 pixels as their mean colours, mixed into four channels."""

    def __init__(self, **config: Any) -> None:
        import torch

        self.mix = torch.randn((4, 3), generator=torch.Generator().manual_seed(5))
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.config = SimpleNamespace(**config)
        vars(self).update(config)  # one of them keeps them so

    def to(self, dtype: Any) -> None:
        self.dtype = dtype

    def encode(self, clip: Any) -> Any:
        import torch

        means = torch.nn.functional.avg_pool3d(clip, (1, 8, 8))
        mixed = torch.einsum("oc,bcthw->bothw", self.mix, means)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: mixed))


class AutoencoderKLWan(Vae): ...


class AutoencoderKLLTXVideo(Vae): ...


class AutoencoderKLCogVideoX(Vae): ...


def clip() -> Any:
    """Return a grey clip that is red and blue, side by side, in its middle frame alone."""
    import torch

    pixels = torch.zeros(1, 3, FRAMES, 8 * ROWS, 8 * COLUMNS)
    middle, half = FRAMES // 2, 4 * COLUMNS
    pixels[:, :, middle] = -1
    pixels[:, 0, middle, :, :half] = 0.8
    pixels[:, 2, middle, :, half:] = 0.8
    return pixels


def as_wan(latents: Any) -> Any:
    return latents


def as_cogvideox(latents: Any) -> Any:
    return latents.permute(0, 2, 1, 3, 4)


def as_ltx(latents: Any) -> Any:
    from diffusers import LTXPipeline

    return LTXPipeline._pack_latents(latents)


@pytest.mark.parametrize(
    ("pipeline", "vae", "layout"),
    [
        ("WanPipeline", AutoencoderKLWan, as_wan),
        ("LTXPipeline", AutoencoderKLLTXVideo, as_ltx),
        ("CogVideoXPipeline", AutoencoderKLCogVideoX, as_cogvideox),
    ],
)
@pytest.mark.parametrize("scaled", [False, True])
def test_the_frame_in_the_middle_is_shown_in_its_colours(
    pipeline: str, vae: Any, layout: Any, scaled: bool
) -> None:
    import torch

    mean, std = [0.5, -1.0, 0.2, 0.0], [2.0, 4.0, 2.0, 3.0]
    config = {"latents_mean": mean, "latents_std": std} if scaled else {"scaling_factor": 0.7}
    made = vae(**config)
    pipe = type(pipeline, (), {"vae": made})()
    colours = ClipColours.fit(pipe, 8)
    assert colours
    latents = made.encode(clip()).latent_dist.mode()
    if scaled:
        shape = (1, 4, 1, 1, 1)
        latents = (latents - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    else:
        latents = latents * 0.7
    image = colours.picture(layout(latents), 8 * COLUMNS, 8 * ROWS)
    assert image.size == (8 * COLUMNS, 8 * ROWS)
    left, right = image.getpixel((20, 24)), image.getpixel((76, 24))
    assert left == pytest.approx((229, 0, 0), abs=10)
    assert right == pytest.approx((0, 0, 229), abs=10)


def test_a_pipeline_whose_latents_nobody_knows_has_no_previews() -> None:
    pipe = type("SomePipeline", (), {"vae": AutoencoderKLWan()})()
    assert ClipColours.fit(pipe, 8) is None
