"""Transcripts as files that players and people can read."""

import json
import re

import pytest

from models.contracts import Segment, TranscriptionResult, Usage, Word
from models.transcription.formats import render

LONG = (
    "This is a rather long sentence that nobody could read in two lines of a film, "
    "so it is shown as several subtitles. Then another one follows, which is shorter."
)


def result(*segments: Segment, language: str = "en") -> TranscriptionResult:
    end_s = segments[-1].end_s if segments else 0.0
    return TranscriptionResult(segments, language, end_s, Usage(end_s, "seconds"))


def test_srt_numbers_and_times_subtitles() -> None:
    text = render(
        result(Segment(0.0, 1.5, " Hello there."), Segment(3661.25, 3662.0, "Bye.")), "srt"
    )

    assert text == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n2\n01:01:01,250 --> 01:01:02,000\nBye.\n"
    )


def test_vtt_has_its_head_and_escapes_markup() -> None:
    text = render(result(Segment(0.0, 1.5, "<b>Fish & chips</b>")), "vtt")

    assert text == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n&lt;b&gt;Fish &amp; chips&lt;/b&gt;\n"
    )


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_an_arrow_in_the_text_is_not_taken_for_a_time(kind) -> None:
    text = render(result(Segment(0.0, 1.0, "one --> two\n\nthree")), kind)

    assert text.count("-->") == 1
    assert "one → two three" in text


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_long_segments_become_subtitles_of_two_lines(kind) -> None:
    text = render(result(Segment(10.0, 20.0, LONG)), kind)

    cues = re.findall(r"(\S+) --> (\S+)\n((?:.+\n)+)", text)
    assert len(cues) >= 2
    for begin, end, lines in cues:
        assert begin < end
        assert lines.count("\n") <= 2
        assert all(len(line) <= 42 for line in lines.splitlines())
    assert [end for _, end, _ in cues[:-1]] == [begin for begin, _, _ in cues[1:]]
    assert " ".join(line for _, _, lines in cues for line in lines.splitlines()) == LONG


def test_times_of_words_are_used_where_there_are_some() -> None:
    words = tuple(
        Word(number * 1.0, number + 0.5, word) for number, word in enumerate(LONG.split())
    )

    text = render(result(Segment(0.0, words[-1].end_s, LONG, words)), "srt")

    times = re.findall(r"00:00:(\d\d),(\d+) --> 00:00:(\d\d),(\d+)", text)
    assert all(start_ms == "000" and end_ms == "500" for _, start_ms, _, end_ms in times)


def test_writing_without_spaces_is_cut_too() -> None:
    sentence = "今天天气很好我们一起去公园散步吧" * 10

    text = render(result(Segment(0.0, 20.0, sentence), language="zh"), "srt")

    lines = [line for line in text.splitlines() if line and line[0] in sentence]
    assert all(len(line) <= 42 for line in lines)
    assert "".join(lines) == sentence


def test_plain_text_has_paragraphs_where_somebody_paused() -> None:
    text = render(
        result(
            Segment(0.0, 1.0, " One."), Segment(1.2, 2.0, " Two."), Segment(5.0, 6.0, " Three.")
        ),
        "txt",
    )

    assert text == "One. Two.\n\nThree.\n"


def test_plain_text_without_pauses_has_paragraphs_all_the_same() -> None:
    segments = (Segment(i * 1.0, i + 1.0, "Somebody speaks without end.") for i in range(100))

    paragraphs = render(result(*segments), "txt").split("\n\n")

    assert all(500 < len(paragraph) < 700 for paragraph in paragraphs[:-1])


def test_json_has_everything() -> None:
    transcript = result(Segment(0.0, 1.0, " Grüße.", (Word(0.0, 1.0, " Grüße."),)))

    document = json.loads(render(transcript, "json"))

    assert document == {
        "language": "en",
        "duration_s": 1.0,
        "text": "Grüße.",
        "segments": [
            {
                "start_s": 0.0,
                "end_s": 1.0,
                "text": "Grüße.",
                "words": [{"start_s": 0.0, "end_s": 1.0, "text": "Grüße."}],
            }
        ],
    }


@pytest.mark.parametrize(("kind", "expected"), [("txt", ""), ("srt", ""), ("vtt", "WEBVTT\n")])
def test_silence_makes_an_empty_file_that_is_valid(kind, expected: str) -> None:
    assert render(result(), kind) == expected


TALK = (
    Segment(0.0, 1.0, " Hello.", (Word(0.0, 1.0, "Hello."),), "Speaker 1"),
    Segment(1.1, 2.0, " How are you?", (), "Speaker 1"),
    Segment(2.1, 3.0, " Fine.", (), "Speaker 2"),
    Segment(3.1, 4.0, " Good.", (), "Speaker 1"),
)


def test_plain_text_has_a_paragraph_for_each_turn() -> None:
    assert render(result(*TALK), "txt") == (
        "Speaker 1: Hello. How are you?\n\nSpeaker 2: Fine.\n\nSpeaker 1: Good.\n"
    )


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_subtitles_name_who_begins_to_speak(kind) -> None:
    lines = [line for line in render(result(*TALK), kind).splitlines() if line.endswith((".", "?"))]

    assert lines == ["Speaker 1: Hello.", "How are you?", "Speaker 2: Fine.", "Speaker 1: Good."]


def test_long_subtitles_name_the_speaker_once() -> None:
    words = tuple(Word(n * 1.0, n + 0.5, word) for n, word in enumerate(LONG.split()))

    text = render(result(Segment(0.0, 99.0, LONG, words, "Speaker 1")), "srt")

    assert text.count("Speaker 1:") == 1


def test_json_names_the_speaker_of_every_segment() -> None:
    document = json.loads(render(result(*TALK), "json"))

    speakers = [segment["speaker"] for segment in document["segments"]]
    assert speakers == ["Speaker 1", "Speaker 1", "Speaker 2", "Speaker 1"]
    assert document["text"] == "Hello. How are you? Fine. Good."
