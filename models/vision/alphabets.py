"""Which letters the languages use that a reader of text was found to know.

This module owns the letters beyond A to Z, by language, and which of a model's characters are left
when the languages of a page are known. It is pure.

The letters are those of https://cldr.unicode.org (main exemplar characters).
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Final

ALPHABETS: Final[dict[str, str]] = {
    "af": "áâèéêëîïôöúû", "az": "çəğıİöşü", "bs": "čćđšž", "ca": "àçèéíïòóúü",
    "cs": "áčďéěíňóřšťúůýž", "da": "æøåé", "de": "äöüß", "en": "", "es": "áéíñóúü",
    "et": "äöõüšž", "eu": "çñ", "fi": "äöåšž", "fr": "àâæçéèêëîïôœùûüÿ", "ga": "áéíóú",
    "gl": "áéíñóúü", "hr": "čćđšž", "hu": "áéíóöőúüű", "id": "", "is": "áðéíóúýþæö",
    "it": "àèéìîòù", "ku": "çêîşû", "la": "āēīōūæœ", "lb": "äëéöü", "lt": "ąčęėįšųūž",
    "lv": "āčēģīķļņšūž", "mi": "āēīōū", "ms": "", "mt": "ċġħżàèìòù", "nl": "áéëèïíóöúü",
    "no": "æøåéèêóòâô", "oc": "àáçèéíïòóúü", "pl": "ąćęłńóśźż", "pt": "áâãàçéêíóôõúü", "qu": "ñ",
    "rm": "àèéìîòù", "ro": "ăâîșțşţ", "sk": "áäčďéíĺľňóôŕšťúýž", "sl": "čšž", "sq": "çë",
    "sr": "čćđšž", "sv": "åäöéà", "sw": "", "tl": "ñ", "tr": "âçğıİîöşûü", "uz": "",
}  # fmt: skip
"""Letters of Latin alphabets, small ones; "İ" has no single small one.

Uzbek writes oʻ and gʻ, whose marks are read as the apostrophes that they look like."""

_CARONS: Final = frozenset({"cs", "sk"})
"""Their ď, ľ and ť are printed with an apostrophe, and neither has any other."""
_APOSTROPHES: Final = frozenset("'’‘´`ʼ")
_IDEOGRAPHS: Final = (("\u3400", "\u9fff"), ("\uf900", "\ufaff"), ("\u3005", "\u3007"))
_KANA: Final = (("\u3040", "\u30ff"),)
_SCRIPTS: Final = {"zh": _IDEOGRAPHS, "ja": (*_IDEOGRAPHS, *_KANA)}
"""What is written with thousands of letters, as ranges."""


def known(languages: Iterable[str]) -> bool:
    """Return whether the letters of all these languages are known here."""
    return all(_main(code) in ALPHABETS or _main(code) in _SCRIPTS for code in languages)


def possible(characters: Sequence[str], languages: Collection[str]) -> list[bool]:
    """Return which of a model's characters may occur on a page in some languages.

    Only letters are ruled out, and apostrophes where they can only be a part of one. Without a
    language, or with one that is not ``known``, everything may occur.

    Args:
        characters: What the model tells apart.
        languages: BCP 47 codes.
    """
    codes = {_main(code) for code in languages}
    if not codes or not known(codes):
        return [True] * len(characters)
    small = {letter for code in codes for letter in ALPHABETS.get(code, "")}
    letters = {*string.ascii_letters, *small, *(letter.upper() for letter in small)}
    ranges = [bounds for code in codes for bounds in _SCRIPTS.get(code, ())]
    unmarked = codes <= _CARONS

    def may_occur(character: str) -> bool:
        if unmarked and character in _APOSTROPHES:
            return False
        if len(character) != 1 or not unicodedata.category(character).startswith("L"):
            return True
        return character in letters or any(low <= character <= high for low, high in ranges)

    return [may_occur(character) for character in characters]


def _main(code: str) -> str:
    return code.partition("-")[0].lower()
