"""Sentences for words that came without any: full stops at pauses, question marks, capitals.

This module owns that, by rules: there is no model in it, so names stay small, and a speaker who
never pauses makes long sentences. It is pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from statistics import median

from models.contracts import Word

_LONG_PAUSE_S = 1.0
_SHORT_PAUSE_S = 0.45
_PAUSE_FACTOR = 5.0
_FEWEST_WORDS = 3
_I = re.compile(r"\Ai(?='(?:m|ve|ll|d|s)$|$)")
_ASKS = re.compile(
    r"(?:(?:do|does|did|are|is|am|was|were|have|has|had|can|could|will|would|should|shall|may|"
    r"must|don't|doesn't|didn't|aren't|isn't|can't|couldn't|won't|wouldn't|shouldn't|haven't)"
    r" (?:i|you|he|she|it|we|they|there|this|that|these|those|anyone|anybody|somebody|someone)"
    r"|(?:who|what|where|when|why|how|which)(?:'s| (?:is|are|was|were|do|does|did|can|could|will|"
    r"would|should|have|has|had|many|much|long|old|far|often))"
    r")\b"
)
_LEAVES_OPEN = frozenset(
    [
        *("a", "an", "the", "my", "your", "his", "her", "its", "our", "their", "very"),
        *("and", "or", "but", "than", "as", "if", "because", "is", "are", "was", "were", "be"),
        *("of", "to", "in", "on", "at", "by", "for", "with", "from", "into"),
    ]
)


def restore(words: Iterable[Word], language: str) -> Iterator[Word]:
    """Yield the words as they are written in sentences.

    Args:
        words: In order of time, without punctuation; all in capitals, or all without.
        language: BCP 47 code. In English ``I`` is written so, and questions are told by how they
            begin.
    """
    listed = list(words)
    if _shouted(listed):
        listed = [replace(word, text=word.text.lower()) for word in listed]
    english = language.split("-")[0].lower() == "en"
    for sentence in _sentences(listed, english=english):
        yield from _written(sentence, english=english)


def _shouted(words: list[Word]) -> bool:
    return "".join(word.text for word in words).isupper()


def _sentences(words: list[Word], *, english: bool) -> Iterator[list[Word]]:
    """Yield the words between pauses that are long for this speaker."""
    if not words:
        return
    pauses = [after.start_s - before.end_s for before, after in pairwise(words)]
    usual_s = median(pauses) if pauses else 0.0
    enough_s = min(_LONG_PAUSE_S, max(_SHORT_PAUSE_S, usual_s * _PAUSE_FACTOR))
    held: list[Word] = []
    for word, pause_s in zip(words, [*pauses, _LONG_PAUSE_S], strict=True):
        held.append(word)
        goes_on = pause_s < _LONG_PAUSE_S and (
            len(held) < _FEWEST_WORDS or (english and word.text.lower() in _LEAVES_OPEN)
        )
        if pause_s >= enough_s and not goes_on:
            yield held
            held = []


def _written(sentence: list[Word], *, english: bool) -> Iterator[Word]:
    texts = [word.text.strip() for word in sentence]
    if english:
        texts = [_I.sub("I", text) for text in texts]
    asks = english and _ASKS.match(" ".join(texts).lower())
    texts[0] = texts[0][:1].upper() + texts[0][1:]
    texts[-1] += "?" if asks else "."
    for word, text in zip(sentence, texts, strict=True):
        yield replace(word, text=f" {text}")
