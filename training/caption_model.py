"""The caption model: LeViT and BERT at a small size, their words, and the folder made of them.

This module owns shapes and the tokenizer. It trains nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.captions import vocabulary

if TYPE_CHECKING:
    import torch

PICTURE_PX = 128
PATCH_PX = 16
CELLS = PICTURE_PX // PATCH_PX
"""The model looks at so many patches in a row."""

WIDTH = 192
HEADS = 6
LAYERS = 4
TEXT_LAYERS = 2
MAX_TOKENS = 48

UNKNOWN = "i do not know this kind of picture"
"""What is said of a picture that is no such scene."""

_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")


def new_tokenizer() -> Any:
    """Return the tokenizer: one token a word, and one a comma."""
    from transformers import BertTokenizerFast

    listed = dict.fromkeys([*_MARKS, *vocabulary(), *UNKNOWN.split()])
    tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(listed)})
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.model_max_length = MAX_TOKENS
    return tokenizer


def new_processor() -> Any:
    """Return what turns pictures into pixels, and tokens into words."""
    from transformers import BlipImageProcessor, BlipProcessor

    pixels = BlipImageProcessor(
        size={"height": PICTURE_PX, "width": PICTURE_PX},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return BlipProcessor(pixels, new_tokenizer())


def new_captioner() -> Any:
    """Return an untrained captioner: LeViT looks, with convolutions first, and BERT writes.

    At this size convolutions learn shapes with a tenth of the pictures that patches alone ask for.
    """
    from transformers import (
        BertConfig,
        LevitConfig,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
    )

    tokenizer = new_tokenizer()
    vision = LevitConfig(
        image_size=PICTURE_PX,
        patch_size=PATCH_PX,
        hidden_size=WIDTH,  # the decoder asks for it
        hidden_sizes=[WIDTH, WIDTH],
        depths=[LAYERS],
        num_attention_heads=[HEADS],
        key_dim=[16],
        attention_ratio=[2],
        mlp_ratio=[2],
    )
    vision.down_ops = [[""]]  # all patches are kept to the end
    text = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=MAX_TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = VisionEncoderDecoderModel(
        VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text)
    )
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = tokenizer.bos_token_id
        config.bos_token_id = tokenizer.bos_token_id
        config.eos_token_id = tokenizer.sep_token_id
        config.pad_token_id = tokenizer.pad_token_id
    return model


def save_captioner(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write a folder that ``transformers`` loads, with weights of half the size."""
    model = new_captioner()
    model.load_state_dict(weights)
    model.half().save_pretrained(folder)
    new_processor().save_pretrained(folder)
