"""Words without punctuation as sentences."""

from __future__ import annotations

import pytest

from models.contracts import Word
from models.transcription.punctuate import restore


def said(text: str) -> list[Word]:
    """Return words of 0.2 s with 0.05 s between; each ``|`` is a second of silence, ``,`` 0.6 s."""
    words = []
    now_s = 0.0
    for piece in text.split():
        if piece in ("|", ","):
            now_s += 1.0 if piece == "|" else 0.6
            continue
        words.append(Word(now_s, now_s + 0.2, piece))
        now_s += 0.25
    return words


def restored(text: str, language: str = "en") -> str:
    return "".join(word.text for word in restore(said(text), language)).strip()


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ("THE TRAIN IS LATE | WE WAIT", "The train is late. We wait."),
        ("THE TRAIN IS LATE , WE WILL WAIT HERE", "The train is late. We will wait here."),
        ("YES | I'M HERE AND I STAY", "Yes. I'm here and I stay."),
        ("SHE WENT TO THE , MARKET YESTERDAY", "She went to the market yesterday."),
        ("SHE WENT TO THE | MARKET", "She went to the. Market."),
        ("DO YOU LIKE TEA | I DO", "Do you like tea? I do."),
        ("WHERE IS THE STATION", "Where is the station?"),
        ("WHAT A DAY THAT WAS", "What a day that was."),
        ("lower case stays readable", "Lower case stays readable."),
        ("HI I SAID", "Hi I said."),
        ("", ""),
    ],
)
def test_english_sentences(heard: str, written: str) -> None:
    assert restored(heard) == written


def test_other_languages_have_neither_i_nor_questions() -> None:
    assert restored("IST I DA | IS IT", "de") == "Ist i da. Is it."


def test_a_slow_speaker_does_not_make_a_sentence_of_every_word() -> None:
    words = [Word(number * 0.9, number * 0.9 + 0.4, "WORD") for number in range(8)]

    text = "".join(word.text for word in restore(words, "en"))

    assert text.count(".") == 1


def test_times_stay() -> None:
    words = said("ONE TWO THREE")

    times = [(word.start_s, word.end_s) for word in restore(words, "en")]

    assert times == [(word.start_s, word.end_s) for word in words]
