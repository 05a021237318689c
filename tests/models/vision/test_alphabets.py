"""Which characters may stand on a page, when its languages are known."""

from __future__ import annotations

import pytest

from models.vision.alphabets import known, possible

CHARACTERS = ["blank", "a", "Z", "ä", "Ä", "ß", "é", "ģ", "中", "の", "7", "€", "’", "'"]


def left(*languages: str) -> str:
    allowed = possible(CHARACTERS, languages)
    return "".join(c for c, may in zip(CHARACTERS, allowed, strict=True) if may and len(c) == 1)


@pytest.mark.parametrize(
    ("languages", "characters"),
    [
        ((), "aZäÄßéģ中の7€’'"),
        (("en",), "aZ7€’'"),
        (("de",), "aZäÄß7€’'"),
        (("de", "fr"), "aZäÄßé7€’'"),
        (("DE-AT",), "aZäÄß7€’'"),
        (("zh",), "aZ中7€’'"),
        (("ja",), "aZ中の7€’'"),
        (("cs",), "aZé7€"),
        (("cs", "en"), "aZé7€’'"),
        (("xx",), "aZäÄßéģ中の7€’'"),
    ],
)
def test_letters_of_other_languages_are_left_out(
    languages: tuple[str, ...], characters: str
) -> None:
    assert left(*languages) == characters


def test_the_blank_of_the_model_stays() -> None:
    assert possible(CHARACTERS, ["en"])[0]


def test_what_is_not_known_is_said_not_to_be() -> None:
    assert known(["de", "zh-TW", "ja"])
    assert not known(["de", "ru"])
