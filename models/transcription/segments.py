"""Words with times into segments that read as sentences.

This module owns where a segment begins and ends. It is pure, and knows nothing of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from models.contracts import Segment, Word
from models.punctuation import CLAUSE_ENDS, ends_sentence

_PAUSE_S = 1.5
_LONGEST_S = 20.0


def segments_of(words: Iterable[Word], *, keep_words: bool) -> Iterator[Segment]:
    """Yield segments: each a sentence, what stands between two pauses, or a part of a long one.

    Args:
        words: In order of time, each with the space before it that its language wants.
        keep_words: Whether the segments carry their words.
    """
    held: list[Word] = []
    for word in words:
        if held and _ends(held, word):
            yield _segment(held, keep_words=keep_words)
            held = []
        held.append(word)
    if held:
        yield _segment(held, keep_words=keep_words)


def _ends(held: list[Word], following: Word) -> bool:
    last = held[-1]
    lasts_s = last.end_s - held[0].start_s
    return (
        ends_sentence(last.text, following.text)
        or following.start_s - last.end_s >= _PAUSE_S
        or lasts_s >= _LONGEST_S
        or (lasts_s >= _LONGEST_S / 2 and last.text.endswith(CLAUSE_ENDS))
    )


def _segment(words: list[Word], *, keep_words: bool) -> Segment:
    text = "".join(word.text for word in words)
    kept = tuple(Word(w.start_s, w.end_s, w.text.strip()) for w in words) if keep_words else ()
    return Segment(words[0].start_s, words[-1].end_s, text, kept)
