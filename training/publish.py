"""Writes the finished models where the bot finds them: ``models/embedded/``.

Run it with ``python -m training.publish`` after the runs; it takes what they have kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training import clip_model, clips
from training.caption_model import save_captioner
from training.clip_latents import prepared_clips
from training.flow import finished_autoencoder
from training.latents import prepared
from training.picture_model import new_modules, save_pipeline
from training.pictures import SCENES
from training.running import DATA

if TYPE_CHECKING:
    import torch

EMBEDDED = Path("models/embedded")
PICTURES = "drawings"
CAPTIONS = "drawings-captioner"
CLIPS = "drawings-in-motion"
JUDGE = Path("training/weights/judge.safetensors")


def publish_pictures(folder: Path, target: Path) -> None:
    """Write the pipeline of the last checkpoint, in half precision.

    Not its averages: once the rate has fallen they lag behind, and kites become birds.
    """
    import torch

    vae = finished_autoencoder(folder)
    latents = prepared(folder / "latents.pt", vae, SCENES)
    vae.register_to_config(scaling_factor=latents.scale, shift_factor=latents.shift)
    kept = torch.load(folder / "pictures.pt", weights_only=True)["modules"]
    modules = new_modules()
    for name, module in modules.items():
        module.load_state_dict(kept[name])
    save_pipeline(target, modules, vae)


def publish_captions(folder: Path, target: Path) -> None:
    """Write the captioner of the last checkpoint, in half precision.

    Its rate has fallen to almost nothing by then, so that the average of the weights lags behind
    them: left and right it told apart less often.
    """
    import torch

    kept = torch.load(folder / "captioner.pt", weights_only=True)["modules"]
    save_captioner(target, kept["captioner"])


def publish_clips(folder: Path, target: Path) -> None:
    """Write the clip model of the last checkpoint, in half precision; not its averages either."""
    import torch

    vae = finished_autoencoder(folder)
    latents = prepared_clips(folder / "clips-latents.pt", vae, clips.CLIPS)
    vae.register_to_config(scaling_factor=latents.scale)
    kept = torch.load(folder / "clips.pt", weights_only=True)["modules"]
    modules = clip_model.new_modules()
    for name, module in modules.items():
        module.load_state_dict(kept[name])
    clip_model.save_pipeline(target, modules, vae)


def publish_judge(folder: Path, target: Path) -> None:
    """Write the judge's weights, in half precision: tests measure the models with it."""
    import torch
    from safetensors.torch import save_file

    kept: dict[str, torch.Tensor] = torch.load(folder / "judge-weights.pt", weights_only=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: _halved(value) for name, value in kept.items()}, target)


def _halved(value: Any) -> Any:
    return value.half().contiguous() if value.is_floating_point() else value


def main() -> None:
    """Write what there is."""
    parser = argparse.ArgumentParser(description="Write the finished models.")
    parser.add_argument("--folder", type=Path, default=DATA, help="where the runs are kept")
    parser.add_argument("--only", choices=("pictures", "captions", "clips", "judge"))
    options = parser.parse_args()
    if options.only in (None, "pictures"):
        publish_pictures(options.folder, EMBEDDED / PICTURES)
    if options.only in (None, "captions"):
        publish_captions(options.folder, EMBEDDED / CAPTIONS)
    if options.only in (None, "clips"):
        publish_clips(options.folder, EMBEDDED / CLIPS)
    if options.only in (None, "judge"):
        publish_judge(options.folder, JUDGE)


if __name__ == "__main__":
    main()
