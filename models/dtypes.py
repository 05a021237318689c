"""Which type the weights of a transformers model have in memory.

This module owns that choice. It loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def weights_dtype(wanted: str, stored: torch.dtype | None, device: str) -> torch.dtype:
    """Choose the type of the weights: the stored one, where the device is fast with it.

    Args:
        wanted: A type's name, such as ``float16``, or ``auto``.
        stored: The type in the files; None is float32.
        device: ``cpu``, ``cuda:0``, ...
    """
    import torch

    if wanted != "auto":
        chosen: torch.dtype = getattr(torch, wanted)
        return chosen
    stored = stored or torch.float32
    if device == "cpu":
        return torch.float32 if stored is torch.float16 else stored
    if stored is not torch.float32:
        return stored
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
