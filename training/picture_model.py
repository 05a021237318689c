"""The picture model: Stable Diffusion 3's parts at a small size, and the pipeline made of them.

This module owns shapes. It trains nothing.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.autoencoder import LATENT_CHANNELS
from training.tokens import MAX_TOKENS, new_tokenizer

if TYPE_CHECKING:
    import torch

LAYERS = 6
WIDTH = 192
HEADS = 3
TEXT_WIDTHS = (160, 32)
TEXT_LAYERS = (4, 2)
SIGMA_SHIFT = 3.0
THIRD_TOKENS = 1
"""What the pipeline must be told as ``max_sequence_length``."""


def new_transformer() -> Any:
    """Return an untrained denoiser of 64 tokens, 2 × 2 latents each."""
    from diffusers import SD3Transformer2DModel

    return SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        caption_projection_dim=WIDTH,
        joint_attention_dim=sum(TEXT_WIDTHS),
        pooled_projection_dim=sum(TEXT_WIDTHS),
        pos_embed_max_size=8,
        qk_norm="rms_norm",
    )


def new_text_encoder(number: int) -> Any:
    """Return an untrained text encoder; the pipeline asks for two, so the second is the least."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    tokenizer, width = new_tokenizer(), TEXT_WIDTHS[number]
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        projection_dim=width,
        intermediate_size=2 * width,
        num_hidden_layers=TEXT_LAYERS[number],
        num_attention_heads=max(1, width // 40),
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModelWithProjection(config)


def new_third_encoder() -> Any:
    """Return what fills T5's place in the pipeline, which asks for one: it reads the end mark."""
    from transformers import T5Config, T5EncoderModel

    tokenizer = new_tokenizer(begin=False)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=sum(TEXT_WIDTHS),
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return T5EncoderModel(config)


def new_modules() -> dict[str, Any]:
    """Return what is trained together, by the pipeline's names."""
    return {
        "transformer": new_transformer(),
        "text_encoder": new_text_encoder(0),
        "text_encoder_2": new_text_encoder(1),
        "text_encoder_3": new_third_encoder(),
    }


def encoded(modules: dict[str, Any], ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the words as the pipeline gives them to the transformer: one by one, and pooled."""
    import torch

    names = ("text_encoder", "text_encoder_2")
    told = [modules[name](ids, output_hidden_states=True) for name in names]
    words = torch.cat([out.hidden_states[-2] for out in told], dim=-1)
    end = torch.full((len(ids), THIRD_TOKENS), modules["text_encoder_3"].config.eos_token_id)
    words = torch.cat([words, modules["text_encoder_3"](end)[0]], dim=1)
    return words, torch.cat([out.text_embeds for out in told], dim=-1)


def new_scheduler() -> Any:
    """Return the scheduler that pictures are drawn with."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=SIGMA_SHIFT)


def pipeline_of(modules: dict[str, Any], vae: Any) -> Any:
    """Return the pipeline over trained parts."""
    from diffusers import StableDiffusion3Pipeline

    for module in (*modules.values(), vae):
        module.eval()
    pipe = StableDiffusion3Pipeline(
        vae=vae,
        scheduler=new_scheduler(),
        tokenizer=new_tokenizer(),
        tokenizer_2=new_tokenizer(),
        tokenizer_3=new_tokenizer(begin=False),
        **modules,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_pipeline(folder: Path, modules: dict[str, Any], vae: Any) -> None:
    """Write the pipeline's folder, in half precision."""
    pipe = pipeline_of(*halved(new_modules(), modules, vae))
    pipe.save_pretrained(folder, safe_serialization=True)


def halved(fresh: dict[str, Any], modules: dict[str, Any], vae: Any) -> tuple[dict[str, Any], Any]:
    """Return fresh modules with the weights of trained ones, and the VAE, in half precision."""
    for name, module in fresh.items():
        module.half().load_state_dict(modules[name].state_dict())
    return fresh, copy.deepcopy(vae).half()
