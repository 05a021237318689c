"""The tokenizer of the embedded models: one token a word, and one for every word it does not know.

This module owns how captions become numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.captions import vocabulary

MAX_TOKENS = 32
"""With the marks of the beginning and the end."""

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"
_MARKS = (PAD, UNKNOWN, BEGIN, END)


def new_tokenizer(
    *, begin: bool = True, words: Sequence[str] | None = None, longest: int = MAX_TOKENS
) -> Any:
    """Return the tokenizer. Case, commas and full stops make no difference to it.

    Args:
        begin: Whether it marks the beginning, as CLIP's do and T5's do not.
        words: What it knows, in the order of their numbers; those of pictures, if left out.
        longest: Tokens that are read, with the marks.
    """
    from tokenizers import Regex, Tokenizer, normalizers
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    listed = [*_MARKS, *(word for word in words or vocabulary() if word.isalpha())]
    numbers = {word: number for number, word in enumerate(listed)}
    inner = Tokenizer(WordLevel(numbers, unk_token=UNKNOWN))
    inner.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[^\p{L}\p{N}]"), " "),
        ]
    )
    inner.pre_tokenizer = WhitespaceSplit()
    inner.post_processor = TemplateProcessing(
        single=f"{BEGIN} $A {END}" if begin else f"$A {END}",
        special_tokens=[(BEGIN, numbers[BEGIN]), (END, numbers[END])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
    )
