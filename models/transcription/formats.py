"""A transcript as a file: plain text, SubRip, WebVTT, JSON.

This module owns the text of those formats and nothing else: it is pure, and delivery uses it in
the bot process. It must not import a library that is heavy or a backend.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from models.contracts import Segment, TranscriptionResult
from models.punctuation import SENTENCE_ENDS, ends_sentence

TranscriptFormat = Literal["txt", "srt", "vtt", "json"]

_LINE_CHARS = 42
_CUE_LINES = 2
_PARAGRAPH_PAUSE_S = 2.0
_PARAGRAPH_CHARS = 600


@dataclass(frozen=True, slots=True)
class _Cue:
    start_s: float
    end_s: float
    text: str


def render(result: TranscriptionResult, format: TranscriptFormat) -> str:  # noqa: A002
    """Return a transcript as the text of a file. Where the speaker changes, the new one is named.

    Args:
        result: What was said; without segments the file is still a valid, empty one.
        format: ``txt`` has paragraphs at long pauses, ``srt`` and ``vtt`` have subtitles of at most
            two lines, ``json`` has everything, with times in seconds.
    """
    match format:
        case "txt":
            return _plain(result.segments)
        case "srt":
            return _srt(result.segments)
        case "vtt":
            return _vtt(result.segments)
        case "json":
            return _json(result)


def _plain(segments: tuple[Segment, ...]) -> str:
    paragraphs: list[str] = []
    end_s = 0.0
    speaker = ""
    for segment in _named(segments):
        text = _one_line(segment.text)
        if not text:
            continue
        changed, speaker = segment.speaker != speaker, segment.speaker
        pause_s = segment.start_s - end_s
        if paragraphs and not changed and not _begins_paragraph(paragraphs[-1], pause_s):
            paragraphs[-1] += f" {text}"
        else:
            paragraphs.append(text)
        end_s = segment.end_s
    return "\n\n".join(paragraphs) + "\n" if paragraphs else ""


def _begins_paragraph(before: str, pause_s: float) -> bool:
    if pause_s >= _PARAGRAPH_PAUSE_S:
        return True
    return len(before) >= _PARAGRAPH_CHARS and before.endswith(SENTENCE_ENDS)


def _srt(segments: tuple[Segment, ...]) -> str:
    return "\n".join(
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{_lines(cue.text)}\n"
        for number, cue in enumerate(_cues(segments), start=1)
    )


def _vtt(segments: tuple[Segment, ...]) -> str:
    cues = (
        f"\n{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{_escaped(_lines(cue.text))}\n"
        for cue in _cues(segments)
    )
    return "WEBVTT\n" + "".join(cues)


def _json(result: TranscriptionResult) -> str:
    segments = []
    for segment in result.segments:
        row: dict[str, object] = {
            "start_s": round(segment.start_s, 3),
            "end_s": round(segment.end_s, 3),
            "text": segment.text.strip(),
        }
        if segment.speaker:
            row["speaker"] = segment.speaker
        if segment.words:
            row["words"] = [
                {"start_s": round(w.start_s, 3), "end_s": round(w.end_s, 3), "text": w.text.strip()}
                for w in segment.words
            ]
        segments.append(row)
    document = {
        "language": result.language,
        "duration_s": round(result.duration_s, 3),
        "text": result.text,
        "segments": segments,
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _named(segments: tuple[Segment, ...]) -> Iterator[Segment]:
    """Yield the segments; the first of each turn begins with who speaks."""
    speaker = ""
    for segment in segments:
        if not segment.text.strip() or segment.speaker in ("", speaker):
            yield segment
            continue
        speaker = segment.speaker
        words = segment.words
        if words:
            first = replace(words[0], text=f"{speaker}: {words[0].text.strip()}")
            words = (first, *words[1:])
        yield replace(segment, text=f"{speaker}: {segment.text.strip()}", words=words)


# --------------------------------------------------------------------------- subtitles


def _cues(segments: tuple[Segment, ...]) -> Iterator[_Cue]:
    """Yield subtitles that fit into two lines; a long segment becomes several."""
    for segment in _named(segments):
        text = _one_line(segment.text)
        if not text:
            continue
        if _fits(text):
            yield _Cue(segment.start_s, segment.end_s, text)
        else:
            yield from _split(segment)


def _split(segment: Segment) -> Iterator[_Cue]:
    words = _timed_words(segment)
    gap = " " if " " in segment.text.strip() else ""  # Chinese and Japanese have none
    first = 0
    for place in range(1, len(words) + 1):
        if place < len(words):
            longer = gap.join(w.text for w in words[first : place + 1])
            ended = ends_sentence(words[place - 1].text, words[place].text)
            if _fits(longer) and not (ended and len(longer) > _LINE_CHARS):
                continue
        cue = words[first:place]
        yield _Cue(cue[0].start_s, cue[-1].end_s, gap.join(w.text for w in cue))
        first = place


def _timed_words(segment: Segment) -> list[_Cue]:
    """Return the words with their times, shared out by length where the model gave none."""
    if segment.words:
        return [_Cue(w.start_s, w.end_s, w.text.strip()) for w in segment.words if w.text.strip()]
    words = [
        piece
        for word in segment.text.split()
        for piece in textwrap.wrap(word, _LINE_CHARS, break_on_hyphens=False)
    ]
    total = sum(len(word) + 1 for word in words)
    second_per_char = (segment.end_s - segment.start_s) / total
    timed: list[_Cue] = []
    start_s = segment.start_s
    for word in words:
        end_s = start_s + (len(word) + 1) * second_per_char
        timed.append(_Cue(start_s, end_s, word))
        start_s = end_s
    return timed


def _lines(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _LINE_CHARS, break_on_hyphens=False))


def _fits(text: str) -> bool:
    return _lines(text).count("\n") < _CUE_LINES


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("-->", "→")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    total_ms = max(0, round(seconds * 1000))
    minutes, ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}{point}{ms % 1000:03}"
