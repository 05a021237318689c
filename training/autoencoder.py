"""Trains the autoencoder: 64 pixels to latents of 8 × 16 × 16 and back.

Run it with ``python -m training.autoencoder``; it goes on where it was stopped.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from training.drawing import draw
from training.running import Run, optimizer_for, parser_for, rate_at
from training.scenes import Split, scene_of

if TYPE_CHECKING:
    import torch

BATCH = 16
PEAK_RATE = 1.2e-3
STEPS = 6250
LATENT_CHANNELS = 8
_KL_SHARE = 1e-4
_THING_WEIGHT = 2.0
_MEASURED = 64
_CROP_PX = 32
_WHOLE_FROM = 3910
"""Before this step it learns from quarters of pictures, in a quarter of the time."""

_JOINT_STEPS = 4600
_DECODER_FROM = 4281
_DECODER_RATE = 5e-4
_DECODER_NOISE = 0.1
"""From a step on the encoder stays as it is, so that the latents of the picture model keep their
meaning, and the decoder learns to bear with latents that are a little off."""


def new_autoencoder() -> Any:
    """Return an untrained autoencoder."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(16, 48, 128),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=LATENT_CHANNELS,
        sample_size=64,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0,
        force_upcast=False,
    )


def drawn(split: Split, numbers: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw scenes, half of them at rest, the others in the midst of their motion.

    Returns:
        Pictures, float between -1 and 1, n × 3 × 64 × 64; masks, between 0 and 1, n × 1 × 64 × 64.
    """
    import numpy as np
    import torch

    pictures, masks = [], []
    for number in numbers:
        drawing = draw(scene_of(split, number), moment=0.0 if number % 2 else number % 97 / 97)
        pictures.append(np.asarray(drawing.image))
        masks.append(drawing.mask)
    picture = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    mask = torch.from_numpy(np.stack(masks)).unsqueeze(1).float() / 255
    return picture.contiguous(memory_format=torch.channels_last), mask


def cropped(
    picture: torch.Tensor, mask: torch.Tensor, chance: random.Random
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a part of each picture, three times in four one where a thing is."""
    import torch

    parts, room = [], picture.shape[-1] - _CROP_PX
    for number in range(len(picture)):
        places = mask[number, 0].nonzero()
        if len(places) and chance.random() < 0.75:
            middle = places[chance.randrange(len(places))] - _CROP_PX // 2
            top, left = (min(room, max(0, int(place))) for place in middle)
        else:
            top, left = chance.randint(0, room), chance.randint(0, room)
        both = torch.cat([picture[number], mask[number]])
        parts.append(both[:, top : top + _CROP_PX, left : left + _CROP_PX])
    stacked = torch.stack(parts)
    return stacked[:, :3].contiguous(memory_format=torch.channels_last), stacked[:, 3:]


def loss_of(vae: Any, picture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return how far pictures are from what comes back of them, and a tiny KL."""
    posterior = vae.encode(picture).latent_dist
    loss = likeness_of(vae.decode(posterior.sample()).sample.float(), picture, mask)
    return loss + _KL_SHARE * posterior.kl().mean() / posterior.mean[0].numel()


def decoder_loss_of(vae: Any, picture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the same for the decoder alone, of latents that are a little off."""
    import torch

    with torch.no_grad():
        latents = vae.encode(picture).latent_dist.mode()
        noise = _DECODER_NOISE * torch.rand(len(latents), 1, 1, 1) * latents.std()
        latents = latents + noise * torch.randn_like(latents)
    return likeness_of(vae.decode(latents).sample.float(), picture, mask)


def likeness_of(back: torch.Tensor, picture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return how far pictures are apart, in colours and edges; things count more than the rest."""
    wrong = (back - picture).abs()
    places = (wrong * (1 + _THING_WEIGHT * mask)).mean()
    across = (_slope(back, 3) - _slope(picture, 3)).abs().mean()
    down = (_slope(back, 2) - _slope(picture, 2)).abs().mean()
    return places + across + down


def psnr_of(vae: Any, picture: torch.Tensor) -> float:
    """Return the mean over pictures of the peak signal to noise ratio, in dB."""
    import torch

    with torch.inference_mode():
        back = vae.decode(vae.encode(picture).latent_dist.mode()).sample.float().clamp(-1, 1)
    errors = (back - picture).pow(2).mean(dim=(1, 2, 3))
    return float((10 * torch.log10(4 / errors)).mean())


def train(steps: int, run: Run, vae: Any) -> None:
    """Train until so many steps are done."""
    import torch

    total = 0.0
    while run.step < steps:
        chance = random.Random(run.step)  # noqa: S311
        numbers = [chance.randrange(10**9) for _ in range(BATCH)]
        picture, mask = drawn(Split.TRAIN, numbers)
        if run.step < _WHOLE_FROM:
            picture, mask = cropped(picture, mask, chance)
        if run.step == _DECODER_FROM:
            vae.load_state_dict(run.averaged("vae"))
        joint = run.step < _DECODER_FROM
        with torch.autocast("cpu", torch.bfloat16):
            loss = (loss_of if joint else decoder_loss_of)(vae, picture, mask)
        loss.backward()
        run.stepped(_rate(run.step, steps))
        total += float(loss.detach())
        if run.step % 50 == 0:
            run.log(loss=total / 50)
            total = 0.0
        if run.step % 300 == 0:
            run.log(psnr=measured(run))
            run.restart_clock()
    run.save()


def _rate(step: int, steps: int) -> float:
    if step < _DECODER_FROM:
        return rate_at(step, _JOINT_STEPS, PEAK_RATE)
    return rate_at(step - _DECODER_FROM, steps - _DECODER_FROM, _DECODER_RATE)


def measured(run: Run) -> float:
    """Return the PSNR of the averaged weights on scenes that training has not seen."""
    import torch

    vae = new_autoencoder().to(memory_format=torch.channels_last).eval()
    vae.load_state_dict(run.averaged("vae"))
    return psnr_of(vae, drawn(Split.DEV, list(range(_MEASURED)))[0])


def resumed(options: Any) -> tuple[Run, Any]:
    """Return the run as it was left, or a new one."""
    import torch

    torch.manual_seed(0)
    vae = new_autoencoder().to(memory_format=torch.channels_last)
    modules = {"vae": vae}
    run = Run(
        options.folder / "autoencoder.pt",
        modules,
        optimizer_for(modules, PEAK_RATE, 1e-3),
        decay=0.998,
    )
    return run, vae


def _slope(picture: torch.Tensor, axis: int) -> torch.Tensor:
    return picture.diff(dim=axis)


def main() -> None:
    """Train, or go on."""
    import torch

    options = parser_for("Train the autoencoder.", STEPS).parse_args()
    torch.set_num_threads(options.threads)
    run, vae = resumed(options)
    train(options.steps, run, vae)
    if not math.isfinite(measured(run)):
        raise SystemExit("The weights are not finite.")


if __name__ == "__main__":
    main()
