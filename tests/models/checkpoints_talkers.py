"""Tiny checkpoints of models that talk about pictures, written as their authors publish them.

A *parrot* recites a text: its layers add nothing to the stream of tokens, and its head makes each
token follow one certain other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass
from tests.models.checkpoints import make_recite
from tests.models.checkpoints_vision import _byte_pairs, _save, _seeded

SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %} {{ part['text'] }}{% else %}<image>{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
QWEN = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TALKERS = ("smolvlm", "qwen2_5_vl", "qwen3_vl")


def write_talker(folder: Path, family: str, recital: Sequence[str] | None = None) -> Path:
    """Write a model that talks about pictures.

    Args:
        folder: Where to.
        family: One of ``TALKERS``.
        recital: What it says to everything; None for random weights. No token may occur twice.
    """
    from transformers import AutoModelForImageTextToText

    processor = _talking_processor(family)
    tokenizer = processor.tokenizer
    size = 32 * -(-len(tokenizer) // 32) if recital else 64
    config = _talking_config(family, tokenizer, size)
    model = _seeded(AutoModelForImageTextToText.from_config, config)
    if recital is None:
        # The usual start makes all tokens about as likely; here one should win now and then.
        model.get_output_embeddings().weight.data *= 40
    else:
        content = [{"type": "image"}, {"type": "text", "text": "?"}]
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        make_recite(model, tokenizer, prompt, recital)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.eos_token_id
    return _save(folder, model, processor)


def _talking_processor(family: str) -> Any:
    import transformers

    if family == "smolvlm":
        tiles = [f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5)]
        marks = ("<image>", "<fake_token_around_image>", "<global-img>", *tiles)
        tokenizer = _byte_pairs(("<|im_start|>", *marks, "<end_of_utterance>"), SMOLVLM)
        square = {"height": 64, "width": 64}
        return transformers.SmolVLMProcessor(
            transformers.SmolVLMImageProcessor(
                size={"longest_edge": 256}, max_image_size={"longest_edge": 64}
            ),
            tokenizer,
            transformers.SmolVLMVideoProcessor(size={"longest_edge": 64}, max_image_size=square),
            image_seq_len=4,
            chat_template=SMOLVLM,
        )
    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _byte_pairs(("<|endoftext|>", "<|im_start|>", *marks, "<|im_end|>"), QWEN)
    patch = 14 if family == "qwen2_5_vl" else 16
    pixels = transformers.Qwen2VLImageProcessor(
        patch_size=patch, size={"shortest_edge": 1024, "longest_edge": 16384}
    )
    if family == "qwen2_5_vl":
        return transformers.Qwen2_5_VLProcessor(
            pixels, tokenizer, transformers.Qwen2VLVideoProcessor(), chat_template=QWEN
        )
    return transformers.Qwen3VLProcessor(
        pixels, tokenizer, transformers.Qwen3VLVideoProcessor(), chat_template=QWEN
    )


def _talking_config(family: str, tokenizer: Any, size: int) -> Any:
    import transformers

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": size,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": size // 4,
        "max_position_embeddings": 1024,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": False,
    }
    number = tokenizer.convert_tokens_to_ids
    if family == "smolvlm":
        return transformers.SmolVLMConfig(
            text_config={"model_type": "llama", **text},
            vision_config={
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "image_size": 64,
                "patch_size": 16,
            },
            scale_factor=2,
            image_token_id=number("<image>"),
            tie_word_embeddings=False,
            pad_token_id=tokenizer.eos_token_id,
        )
    half = size // 8
    rope = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [half - 2 * (half // 3), half // 3, half // 3],
    }
    vision = {"depth": 2, "num_heads": 4, "hidden_size": 32, "intermediate_size": 64}
    marks = {
        "image_token_id": number("<|image_pad|>"),
        "video_token_id": number("<|video_pad|>"),
        "vision_start_token_id": number("<|vision_start|>"),
        "vision_end_token_id": number("<|vision_end|>"),
        "tie_word_embeddings": False,
    }
    if family == "qwen2_5_vl":
        return transformers.Qwen2_5_VLConfig(
            text_config={**text, "rope_parameters": rope},
            vision_config={**vision, "out_hidden_size": size, "fullatt_block_indexes": [1]},
            **marks,
        )
    return transformers.Qwen3VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={
            **vision,
            "out_hidden_size": size,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 64,
        },
        **marks,
    )
