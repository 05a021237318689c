"""Words become segments that read as sentences."""

from models.contracts import Word
from models.transcription.segments import segments_of


def words(text: str, seconds: float = 0.3) -> list[Word]:
    return [
        Word(number * seconds, (number + 1) * seconds, f" {word}")
        for number, word in enumerate(text.split())
    ]


def texts(found: list[Word]) -> list[str]:
    return [segment.text.strip() for segment in segments_of(found, keep_words=False)]


def test_sentences_become_segments_with_their_times() -> None:
    first, second = segments_of(words("How are you? I am fine."), keep_words=False)

    assert (first.text, first.start_s, round(first.end_s, 3)) == (" How are you?", 0.0, 0.9)
    assert (second.text, second.words) == (" I am fine.", ())


def test_titles_do_not_end_a_sentence() -> None:
    assert texts(words("We met Dr. Smith. He waved.")) == ["We met Dr. Smith.", "He waved."]


def test_a_pause_ends_a_segment() -> None:
    early = words("so I said")
    late = [Word(w.start_s + 5, w.end_s + 5, w.text) for w in words("nothing at all")]

    assert texts(early + late) == ["so I said", "nothing at all"]


def test_speech_without_full_stops_is_cut_at_clauses_or_in_time() -> None:
    clauses = texts(words("and then, " * 60))
    endless = list(segments_of(words("and " * 300), keep_words=False))

    assert all(clause.endswith(",") for clause in clauses)
    assert all(segment.end_s - segment.start_s < 21 for segment in endless)
    assert len(endless) > 3


def test_words_are_kept_when_they_are_asked_for() -> None:
    (segment,) = segments_of(words("Hello there."), keep_words=True)

    assert [word.text for word in segment.words] == ["Hello", "there."]
