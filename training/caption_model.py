"""The caption model: BLIP's parts at a small size, its words, and the folder made of them.

This module owns shapes and the tokenizer. It trains nothing.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.captions import vocabulary
from training.scenes import SIDE_PX

if TYPE_CHECKING:
    import torch

PATCH_PX = 8
CELLS = SIDE_PX // PATCH_PX
"""The model looks at so many patches in a row."""

WIDTH = 192
HEADS = 6
LAYERS = 6
TEXT_LAYERS = 3
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
        size={"height": SIDE_PX, "width": SIDE_PX}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return BlipProcessor(pixels, new_tokenizer())


def new_captioner() -> Any:
    """Return an untrained captioner, which knows where its patches lie."""
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration

    tokenizer = new_tokenizer()
    common = {"hidden_size": WIDTH, "num_attention_heads": HEADS}
    text = {
        "vocab_size": len(tokenizer),
        "encoder_hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": TEXT_LAYERS,
        "max_position_embeddings": MAX_TOKENS,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "bos_token_id": tokenizer.bos_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "image_size": SIDE_PX,
        "patch_size": PATCH_PX,
    }
    model = BlipForConditionalGeneration(
        BlipConfig(text_config={**common, **text}, vision_config={**common, **vision})
    )
    with torch.no_grad():
        model.vision_model.embeddings.position_embedding.copy_(_places())
    return model


def save_captioner(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write a folder that ``transformers`` loads, with weights of half the size."""
    model = new_captioner()
    model.load_state_dict(weights)
    model.half().save_pretrained(folder)
    new_processor().save_pretrained(folder)


def _places() -> torch.Tensor:
    """Return waves that tell each patch its row and column: 1 × patches + 1 × width."""
    import torch

    rates = torch.exp(torch.arange(WIDTH // 4) * (-math.log(100.0) / (WIDTH // 4)))
    angles = torch.arange(CELLS)[:, None] * rates
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = line[:, None, :].expand(CELLS, CELLS, -1)
    columns = line[None, :, :].expand(CELLS, CELLS, -1)
    waves = torch.cat([rows, columns], dim=-1).reshape(1, CELLS * CELLS, WIDTH)
    return 0.2 * torch.cat([torch.zeros(1, 1, WIDTH), waves], dim=1)
