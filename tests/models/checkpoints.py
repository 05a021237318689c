"""Tiny checkpoints of real architectures, written as their authors publish them.

A *parrot* has the architecture's own layers with weights chosen so that each token is followed by
one certain token: greedy decoding recites a text, a high temperature wanders off.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_CORPUS = [
    "The rain in Spain stays mainly in the plain.",
    "What is the capital of France? The capital of France is Paris.",
    "user assistant system: you are a helpful assistant",
    "Once upon a time there was a parrot that could say anything at all.",
]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}"
    "{% elif m.role == 'user' %}<|User|>{{ m.content }}"
    "{% else %}<|Assistant|>{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant') }}"
    "{% endif %}<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A family of language models.

    Attributes:
        config: Name of its configuration class.
        template: Its chat template.
        special: Its control tokens; the first is the beginning, the last the end of a text.
        plain: Added tokens that are not special.
        extra: Fields of the configuration beyond the common ones.
    """

    config: str
    template: str
    special: tuple[str, ...]
    plain: tuple[str, ...] = ()
    extra: tuple[tuple[str, Any], ...] = ()


FAMILIES = {
    "llama": Family(
        "LlamaConfig",
        LLAMA,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "qwen3": Family(
        "Qwen3Config",
        CHATML,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        ("<think>", "</think>"),
        (("head_dim", 16),),
    ),
    "phi3": Family(
        "Phi3Config",
        PHI,
        ("<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"),
        extra=(("pad_token_id", 0),),
    ),
    "phi4": Family(
        "Phi3Config",
        CHATML.replace("\n", "<|im_sep|>", 1),
        ("<|dummy|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>", "<|endoftext|>"),
        extra=(("pad_token_id", 0), ("partial_rotary_factor", 0.5)),
    ),
    "deepseek-distill": Family(
        "Qwen2Config",
        DEEPSEEK,
        ("<|begin|>", "<|User|>", "<|Assistant|>", "<|end|>"),
        ("<think>", "</think>"),
    ),
    "mistral": Family(
        "MistralConfig",
        CHATML,
        ("<s>", "<|im_start|>", "<|im_end|>"),
        extra=(("sliding_window", 40),),
    ),
    "gemma3": Family(
        "Gemma3TextConfig",
        GEMMA,
        ("<bos>", "<start_of_turn>", "<end_of_turn>", "<eos>"),
        extra=(("head_dim", 16), ("sliding_window", 40), ("pad_token_id", 0)),
    ),
}


def write_random(folder: Path, name: str, seed: int = 0) -> Path:
    """Write a checkpoint of a family with random weights."""
    import torch
    from transformers import AutoModelForCausalLM

    family = FAMILIES[name]
    tokenizer = _tokenizer(family)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(_config(family, tokenizer, hidden_size=64))
    # The usual start makes all tokens about as likely; here one should win now and then.
    model.get_output_embeddings().weight.data *= 40
    return _save(folder, model, tokenizer)


def write_parrot(folder: Path, name: str, recital: Sequence[str], **changes: Any) -> Path:
    """Write a checkpoint that answers every prompt with the pieces of ``recital``.

    Args:
        folder: Where to.
        name: The family.
        recital: Texts and control tokens; no token may occur twice, nor the prompt's last one.
        changes: Fields of the family to replace, such as ``template``.
    """
    from transformers import AutoModelForCausalLM

    family = replace(FAMILIES[name], **changes)
    tokenizer = _tokenizer(family)
    size = 32 * -(-len(tokenizer) // 32)
    config = _config(family, tokenizer, hidden_size=size, tie_word_embeddings=False)
    model = AutoModelForCausalLM.from_config(config)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}], add_generation_prompt=True, tokenize=False
    )
    make_recite(model, tokenizer, prompt, recital)
    return _save(folder, model, tokenizer)


def make_recite(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    recital: Sequence[str],
) -> None:
    """Make a model answer whatever ends as ``prompt`` does with the pieces of ``recital``."""
    import torch

    for part, weights in model.named_parameters():
        if "visual" not in part and part.endswith(("o_proj.weight", "down_proj.weight")):
            weights.data.zero_()  # what remains is the residual stream: the token itself
    size = model.get_input_embeddings().weight.shape[1]
    model.get_input_embeddings().weight.data = torch.eye(len(tokenizer), size)
    ids = [tokenizer.encode(prompt, add_special_tokens=False)[-1]]
    for piece in recital:
        ids += tokenizer.encode(piece, add_special_tokens=False)
    assert len(set(ids)) == len(ids), "a parrot cannot say the same token twice"
    head = torch.zeros(len(tokenizer), size)
    for token, following in itertools.pairwise(ids):
        head[following, token] = 8 / size**0.5
    model.get_output_embeddings().weight.data = head


def write_tokenizer(folder: Path, name: str, **changes: Any) -> None:
    """Write a family's tokenizer alone; ``changes`` are fields of the family to replace."""
    _tokenizer(replace(FAMILIES[name], **changes)).save_pretrained(folder)


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        show_progress=False,
        special_tokens=list(family.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_tokens([AddedToken(text, special=False) for text in family.plain])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=family.special[0],
        eos_token=family.special[-1],
        chat_template=family.template,
    )


def _config(family: Family, tokenizer: PreTrainedTokenizerFast, **sizes: Any) -> Any:
    import transformers

    fields = {
        "vocab_size": len(tokenizer),
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": False,
    }
    return getattr(transformers, family.config)(**fields | dict(family.extra) | sizes)


def _save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["architectures"]
    return folder
