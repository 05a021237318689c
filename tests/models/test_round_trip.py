"""The embedded voice is understood by the embedded ear: ten sentences, at most 5 % wrong words."""

from __future__ import annotations

import re

import pytest

from models.contracts import SpeechRequest, SpeechResult, TranscriptionRequest
from models.speech import hibari
from models.transcription import whisper
from tests.models.control import ScratchControl, result_of

SENTENCES = [
    "The museum opens at nine in the morning and closes at six on weekdays.",
    "Please remember to water the plants before you leave for the weekend.",
    "Our train was twenty minutes late because of the heavy snow.",
    "She bought three apples, two lemons and a loaf of bread at the market.",
    "A gentle breeze carried the smell of the sea through the open window.",
    "He forgot his umbrella at the library and walked home in the rain.",
    "The children built a small boat and sailed it across the pond.",
    "Could you tell me where the nearest post office is?",
    "Dr. Brown will see you on Tuesday at half past ten.",
    "If the battery is empty, connect the cable and wait for an hour.",
]

_NUMBERS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
]
_WORDS = {str(number): word for number, word in enumerate(_NUMBERS)} | {
    "20": "twenty",
    "10:30": "half past ten",
    "dr": "doctor",
}


def words_of(text: str) -> list[str]:
    """Return the words without case, punctuation and the choice of digits or letters."""
    found = re.findall(r"\d+:\d+|[a-z0-9']+", text.lower())
    return " ".join(_WORDS.get(word, word) for word in found).split()


def errors(said: list[str], heard: list[str]) -> int:
    """Return how many words were left out, added or taken for others (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, start=1):
        before, row[0] = row[0], number
        for place, other in enumerate(heard, start=1):
            cost = min(row[place] + 1, row[place - 1] + 1, before + (word != other))
            before, row[place] = row[place], cost
    return row[-1]


def test_errors_are_counted() -> None:
    assert errors(["a", "b", "c"], ["a", "b", "c"]) == 0
    assert errors(["a", "b", "c"], ["a", "x", "c", "d"]) == 2
    assert errors(["a", "b", "c"], []) == 3
    assert words_of("At 9, Dr. Brown's!") == ["at", "nine", "doctor", "brown's"]


@pytest.mark.slow
def test_what_the_voice_says_is_understood(packaged, control: ScratchControl) -> None:
    voice = hibari.load(*packaged("hibari"), "cpu")
    ear = whisper.load(*packaged("whisper-tiny-en"), "cpu").handler
    wrong = total = 0
    heard: list[str] = []
    for sentence in SENTENCES:
        spoken = result_of(voice.run(SpeechRequest(sentence, seed=1), control))
        assert isinstance(spoken, SpeechResult)
        text = result_of(ear.run(TranscriptionRequest(spoken.media), control)).text
        heard.append(text)
        wrong += errors(words_of(sentence), words_of(text))
        total += len(words_of(sentence))

    assert wrong / total <= 0.05, heard
    print(f"word error rate {wrong / total:.1%}")
