"""Models to draw and to film with, for measuring: Stable Diffusion 1.5 and AnimateDiff, but
narrower, and unlearned.

This module owns such checkpoints. What a step costs and holds depends on shapes, not on what was
learned, so that random weights will do; the real ones take minutes for a picture on a processor.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from models.catalog import ModelSpec, PathSource
from models.contracts import Modality

MODERATE, SMALL = 64, 32
"""Channels of the first block; the real models have 320."""

_TEXT_WIDTH = 256


def drawing_model(model_id: str, width: int, **options: Any) -> ModelSpec:
    """Return a row of the catalogue for a model of pictures.

    Args:
        model_id: Anything that is not in the catalogue yet.
        width: Channels of the first block, a multiple of 32. Each is written once a run.
        options: Of the backend.
    """
    return _row(model_id, Modality.IMAGE, "diffusers", _pictures(width), options)


def filming_model(model_id: str, width: int, **options: Any) -> ModelSpec:
    """Return a row of the catalogue for a model of clips; see ``drawing_model``."""
    return _row(model_id, Modality.VIDEO, "diffusers-video", _clips(width), options)


def _row(
    model_id: str, modality: Modality, backend: str, folder: Path, options: dict[str, Any]
) -> ModelSpec:
    return ModelSpec(
        id=model_id,
        name=model_id,
        source=PathSource(path=str(folder)),
        modality=modality,
        backend=backend,
        licence="MIT",
        commercial_use=True,
        memory_mb=800,
        load_s=10,
        options=options,
    )


# --------------------------------------------------------------------------- checkpoints


@cache
def _folders() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sextant-checkpoints-")


@cache
def _pictures(width: int) -> Path:
    """Write a checkpoint as its authors publish theirs."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline

    parts = _parts(width)
    folder = Path(_folders().name) / f"pictures-{width}"
    StableDiffusionPipeline(
        **parts,
        scheduler=PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


@cache
def _clips(width: int) -> Path:
    from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter

    parts = _parts(width)
    folder = Path(_folders().name) / f"clips-{width}"
    AnimateDiffPipeline(
        **parts,
        motion_adapter=MotionAdapter(block_out_channels=_channels(width)),
        scheduler=DDIMScheduler(beta_schedule="linear", clip_sample=False),
    ).save_pretrained(folder)
    return folder


def _parts(width: int) -> dict[str, Any]:
    """Return what both kinds are made of, with the same weights each time."""
    import torch
    from diffusers import UNet2DConditionModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    return {
        "vae": _vae(width // 2),
        "text_encoder": _text_encoder(),
        "tokenizer": clip_tokenizer(),
        "unet": UNet2DConditionModel(
            sample_size=64,
            block_out_channels=_channels(width),
            cross_attention_dim=_TEXT_WIDTH,
            attention_head_dim=8,
        ),
    }


def _channels(width: int) -> tuple[int, ...]:
    return width, 2 * width, 4 * width, 4 * width


def _vae(width: int) -> Any:
    """Return a VAE that halves three times, as the real one does."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=_channels(width),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=min(32, width),
        latent_channels=4,
    )


def _text_encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=4 * _TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def clip_tokenizer() -> Any:
    """Return CLIP's tokenizer with an alphabet and no words."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    entries = [*letters, *(f"{letter}</w>" for letter in letters)]
    entries += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
