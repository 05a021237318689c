"""Where sentences end, for what is spoken and for what is written down.

This module owns that one question for any language with a full stop of some kind. It is pure.
"""

from __future__ import annotations

import re

SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "؟", "।")
CLAUSE_ENDS = (",", ";", ":", "—", "–", "，", "、", "；", "：", "،")
CLOSERS = "\"'”’»)]}」』）"

_OPENERS = "\"'“‘«([{「『（"
_TITLES = ["mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "gen", "col", "sgt", "capt", "rev"]
_SHORTHAND = ["vs", "no", "vol", "fig", "approx", "e.g", "i.e", "etc", "cf"]
_FOREIGN = ["z.b", "bzw", "ca", "nr", "inkl", "mme", "mlle", "sig", "sra"]
_ABBREVIATIONS = frozenset([*_TITLES, *_SHORTHAND, *_FOREIGN])
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")


def ends_sentence(word: str, following: str) -> bool:
    """Return whether a sentence ends with a word, given the one that follows.

    Args:
        word: With its punctuation, such as ``end.`` or ``Dr.``.
        following: The next word; empty at the end of the text.
    """
    bare = word.strip().rstrip(CLOSERS)
    following = following.strip().lstrip(_OPENERS)
    if not bare.endswith(SENTENCE_ENDS):
        return False
    if bare != word.strip() and following[:1].islower():
        return False  # "Really?" he said.
    stem = bare.removesuffix(".").lstrip(_OPENERS)
    if not following or stem == bare.lstrip(_OPENERS):
        return True
    return stem.lower() not in _ABBREVIATIONS and (stem == "I" or not _INITIALS.fullmatch(stem))
