"""The clip model: Latte's parts at a small size, and the pipeline made of them.

This module owns shapes. It trains nothing. Blocks that look over a frame take turns with blocks
that look over the frames of a place; the autoencoder is that of the picture model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.autoencoder import LATENT_CHANNELS
from training.clip_captions import clip_vocabulary
from training.motion import FRAMES
from training.picture_model import halved
from training.tokens import new_tokenizer

if TYPE_CHECKING:
    import torch

LAYERS = 4
"""Of each of the two sorts of blocks."""

WIDTH = 160
HEADS = 4
PATCH = 2
LATENT_SIDE = 16
CELLS = LATENT_SIDE // PATCH
"""The transformer's tokens in a row."""

SIGMA_SHIFT = 5.0
"""Frames that are alike show through the noise sooner than one picture does."""

_TEXT_WIDTH = 128
_TEXT_LAYERS = 2
_LONGEST = 120
"""The pipeline cuts prompts there, whatever it is told."""


def new_transformer() -> Any:
    """Return an untrained denoiser. Only the first half of its channels is used by the pipeline."""
    from diffusers import LatteTransformer3DModel

    return LatteTransformer3DModel(
        sample_size=LATENT_SIDE,
        patch_size=PATCH,
        in_channels=LATENT_CHANNELS,
        out_channels=2 * LATENT_CHANNELS,
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        cross_attention_dim=WIDTH,
        caption_channels=_TEXT_WIDTH,
        attention_bias=True,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        num_embeds_ada_norm=1000,
        video_length=FRAMES,
    )


def new_clip_tokenizer() -> Any:
    """Return the tokenizer of the words of clips."""
    return new_tokenizer(begin=False, words=clip_vocabulary(), longest=_LONGEST)


def new_text_encoder() -> Any:
    """Return an untrained text encoder."""
    from transformers import T5Config, T5EncoderModel

    tokenizer = new_clip_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=_TEXT_WIDTH,
        d_kv=_TEXT_WIDTH // 4,
        d_ff=2 * _TEXT_WIDTH,
        num_layers=_TEXT_LAYERS,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return T5EncoderModel(config)


def new_modules() -> dict[str, Any]:
    """Return what is trained together, by the pipeline's names."""
    return {"transformer": new_transformer(), "text_encoder": new_text_encoder()}


def clean_of(
    modules: dict[str, Any], noisy: torch.Tensor, sigma: torch.Tensor, read: Any
) -> torch.Tensor:
    """Return clips without their noise, n × channels × frames × 16 × 16.

    Words leave little open of a clip, so that it is more easily said than the way to the noise.

    Args:
        modules: Those of ``new_modules``.
        noisy: Clips with noise, of the same shape.
        sigma: The share of noise in each.
        read: What the tokenizer made of the captions.
    """
    words = modules["text_encoder"](read.input_ids, attention_mask=read.attention_mask)[0]
    made: torch.Tensor = modules["transformer"](
        hidden_states=noisy, encoder_hidden_states=words, timestep=sigma * 1000
    ).sample
    return made[:, :LATENT_CHANNELS].float()


def new_scheduler() -> Any:
    """Return the scheduler that clips are drawn with."""
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(
        prediction_type="sample", use_flow_sigmas=True, flow_shift=SIGMA_SHIFT
    )


def pipeline_of(modules: dict[str, Any], vae: Any) -> Any:
    """Return the pipeline over trained parts."""
    from diffusers import LattePipeline

    for module in (*modules.values(), vae):
        module.eval()
    pipe = LattePipeline(
        tokenizer=new_clip_tokenizer(), vae=vae, scheduler=new_scheduler(), **modules
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_pipeline(folder: Path, modules: dict[str, Any], vae: Any) -> None:
    """Write the pipeline's folder, in half precision."""
    pipe = pipeline_of(*halved(new_modules(), modules, vae))
    pipe.save_pretrained(folder, safe_serialization=True)
