"""Weights that their authors published as a pickle alone, turned into safetensors.

A pickle can run code when it is read. This module reads one once, right after it was fetched from
its pinned revision, with the reader that takes nothing but tensors and plain containers, and
deletes it. Nothing else here reads pickles of a hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from models.hub import PullFailed

PICKLED = "pytorch_model.bin"
"""What the names of pickled checkpoints end with."""


def convert_pickles(folder: Path) -> None:
    """Replace every pickled checkpoint below a folder by safetensors of the same tensors.

    Raises:
        PullFailed: One is not what a checkpoint should be, or has more in it than tensors.
    """
    for file in sorted(folder.rglob(f"*{PICKLED}")):
        _convert(file, file.with_name(file.name.replace(PICKLED, "model.safetensors")))


def _convert(file: Path, target: Path) -> None:
    try:
        import torch
        from safetensors.torch import save_file
    except ImportError as error:
        raise PullFailed("Converting weights needs PyTorch: pip install -e '.[vision]'") from error
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zipfile and torch each raise their own
        raise PullFailed(f"{file.name} is no plain checkpoint and was not read: {error}") from error
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in tensors.items()
    ):
        raise PullFailed(f"{file.name} has more in it than tensors by their names")
    apart = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    unfinished = target.with_name(target.name + ".unfinished")
    save_file(apart, unfinished, metadata={"format": "pt"})
    unfinished.rename(target)
    file.unlink()
