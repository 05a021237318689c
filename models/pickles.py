"""Weights that their authors published as pickles alone, turned into safetensors.

A pickle can run code when it is read. This module reads one once, right after it was fetched from
its pinned revision, with the reader that takes nothing but tensors and plain containers, and
deletes it. Checkpoints in several files are converted file by file. Nothing else here reads pickles
of a hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from models.hub import PullFailed

_PICKLED: Final = re.compile(r"(diffusion_)?pytorch_model(-\d+-of-\d+)?\.bin")
_INDEX: Final = re.compile(r"(diffusion_)?pytorch_model\.bin\.index\.json")


def convert_pickles(folder: Path) -> None:
    """Replace every pickled checkpoint below a folder by safetensors of the same tensors.

    Raises:
        PullFailed: One is not what a checkpoint should be, or has more in it than tensors.
    """
    for file in sorted(folder.rglob("*.bin")):
        if target := _safe_name(file.name):
            _convert(file, file.with_name(target))
    for index in sorted(folder.rglob("*.bin.index.json")):
        if match := _INDEX.fullmatch(index.name):
            _convert_index(index, index.with_name(f"{_stem(match)}.safetensors.index.json"))


def _safe_name(name: str) -> str | None:
    """Return what libraries call the safetensors of a pickle; None where it is no such pickle."""
    match = _PICKLED.fullmatch(name)
    return None if match is None else f"{_stem(match)}{match[2] or ''}.safetensors"


def _stem(match: re.Match[str]) -> str:
    """Diffusers keeps the names of its files, transformers does not."""
    return "diffusion_pytorch_model" if match[1] else "model"


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


def _convert_index(index: Path, target: Path) -> None:
    """Rewrite the list of which file has which tensor; it goes last, with all files converted."""
    try:
        listed = json.loads(index.read_text("utf-8"))
        safe = {tensor: _safe_name(name) for tensor, name in listed["weight_map"].items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PullFailed(f"{index.name} is no index of weights: {error}") from error
    if not all(name and index.with_name(name).is_file() for name in safe.values()):
        raise PullFailed(f"{index.name} lists weights that did not come; is a file left out?")
    target.write_text(json.dumps({**listed, "weight_map": safe}, indent=1, sort_keys=True))
    index.unlink()
