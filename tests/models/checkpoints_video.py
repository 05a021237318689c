"""Tiny checkpoints of real text-to-video pipelines, in the folders that their authors publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.checkpoint import clip_tokenizer
from tests.models.checkpoints_pictures import _clip, _t5, _t5_tokenizer, _vae

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_WIDTH = 32
_CLIP_WIDTH = 16


def write_pipeline(folder: Path, family: str) -> Path:
    """Write a checkpoint of a family with random weights, the same ones each time."""
    import torch

    torch.manual_seed(0)
    FAMILIES[family]().save_pretrained(folder)
    return folder


def _wan(*, each_frame_timed: bool) -> DiffusionPipeline:
    """Return Wan 2.1, or Wan 2.2's small model, which may begin with a picture."""
    from diffusers import (
        AutoencoderKLWan,
        FlowMatchEulerDiscreteScheduler,
        WanPipeline,
        WanTransformer3DModel,
    )
    from transformers import UMT5Config, UMT5EncoderModel

    vae = AutoencoderKLWan(
        base_dim=3,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=_WIDTH,
        freq_dim=256,
        ffn_dim=_WIDTH,
        num_layers=1,
        rope_max_seq_len=64,
    )
    tokenizer = _t5_tokenizer()
    config = UMT5Config(
        vocab_size=len(tokenizer), d_model=_WIDTH, d_kv=8, d_ff=64, num_layers=1, num_heads=2
    )
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(config).eval(),
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        transformer=transformer,
        expand_timesteps=each_frame_timed,
    )


def _ltx() -> DiffusionPipeline:
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )

    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
    )
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=_WIDTH,
        num_layers=1,
        caption_channels=_WIDTH,
    )
    return LTXPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=_t5(_WIDTH),
        tokenizer=_t5_tokenizer(),
        transformer=transformer,
    )


def _cogvideox() -> DiffusionPipeline:
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )

    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
    )
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=_WIDTH,
        num_layers=1,
        sample_width=8,
        sample_height=8,
        sample_frames=9,
    )
    return CogVideoXPipeline(
        tokenizer=_t5_tokenizer(),
        text_encoder=_t5(_WIDTH),
        vae=vae,
        transformer=transformer,
        scheduler=CogVideoXDDIMScheduler(),
    )


def _animatediff() -> DiffusionPipeline:
    from diffusers import (
        AnimateDiffPipeline,
        DDIMScheduler,
        MotionAdapter,
        UNet2DConditionModel,
    )

    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=_CLIP_WIDTH,
        norm_num_groups=2,
    )
    adapter = MotionAdapter(
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_norm_num_groups=2,
        motion_num_attention_heads=4,
    )
    return AnimateDiffPipeline(
        vae=_vae(4),
        text_encoder=_clip(_CLIP_WIDTH),
        tokenizer=clip_tokenizer(),
        unet=unet,
        motion_adapter=adapter,
        scheduler=DDIMScheduler(beta_schedule="linear", clip_sample=False),
    )


FAMILIES: dict[str, Callable[[], Any]] = {
    "wan": lambda: _wan(each_frame_timed=False),
    "wan-2.2": lambda: _wan(each_frame_timed=True),
    "ltx": _ltx,
    "cogvideox": _cogvideox,
    "animatediff": _animatediff,
}
