"""Tiny checkpoints of Swin2SR, in the folders that its authors publish."""

from __future__ import annotations

from pathlib import Path


def write_upscaler(folder: Path, factor: int = 4, *, pickled: bool = False) -> Path:
    """Write a checkpoint with random weights, the same ones each time.

    Args:
        folder: Where to.
        factor: How many times as wide a picture becomes; 4 has the layers of the real-world model.
        pickled: Write the weights as they are published, not as safetensors.
    """
    import torch
    from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution

    torch.manual_seed(0)
    config = Swin2SRConfig(
        embed_dim=12,
        depths=[2, 2],
        num_heads=[2, 2],
        initializer_range=0.05,
        upscale=factor,
        upsampler="nearest+conv" if factor == 4 else "pixelshuffle",
    )
    model = Swin2SRForImageSuperResolution(config).eval()
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder
