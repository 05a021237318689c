"""A request to write down what is said, window by window, whatever the model.

This module owns the way from a file to a transcript: cutting, progress, limits, cancel, what is
said of damaged files, and who spoke. It must not know a library: a backend gives it a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path

from models.catalog import ModelSpec
from models.contracts import (
    Control,
    Finished,
    HandlerEvent,
    Notice,
    Progress,
    Segment,
    TextDelta,
    TranscriptionRequest,
    TranscriptionResult,
    Usage,
)
from models.errors import InputTooLong, UnsupportedOption, failure_of
from models.media import AudioInfo, decode_audio, probe_audio
from models.transcription.speakers import SpeakerEncoder, named, stretches
from models.transcription.windows import Window, WindowReader

UNDETERMINED = "und"
"""BCP 47 for a language that nobody spoke enough of to tell."""

_WHOLE = 0.95


@dataclass(slots=True)
class Transcript:
    """What is known so far of one recording.

    Attributes:
        language: As given or detected; None where it is open.
        segments: In order of time.
        end_s: How far the recording was read, in seconds.
    """

    language: str | None
    segments: list[Segment] = field(default_factory=list)
    end_s: float = 0.0

    def take(self, segment: Segment) -> TextDelta:
        """Append a segment; return its text as it follows the ones before."""
        delta = TextDelta(segment.text if self.segments else segment.text.lstrip())
        self.segments.append(replace(segment, text=segment.text.strip()))
        return delta


@dataclass(frozen=True, slots=True)
class Ear:
    """A model that is ready to listen.

    Attributes:
        hear: Yields the segments of a window with times from the start of the recording, each with
            the space before it that its language wants; it may settle the transcript's language,
            and keep the end of a window for the next, but for the last one's.
        first_window_s: Longest first window, in seconds: short, so that text comes early.
        window_s: Longest other window.
    """

    hear: Callable[[Window, Transcript], Iterator[Segment]]
    first_window_s: float
    window_s: float


def listen(
    spec: ModelSpec,
    request: TranscriptionRequest,
    control: Control,
    ear: Ear,
    language: str | None,
) -> Iterator[HandlerEvent]:
    """Write down a recording, with progress after every segment.

    Args:
        spec: Row of the catalogue.
        request: The file, and whether to tell who speaks.
        control: Asked between segments whether to stop.
        ear: Who listens.
        language: What the model is told; None lets it find out.

    Raises:
        UnsupportedOption: Speakers cannot be told apart here.
        InputTooLong: The recording is longer than the model takes.
        InvalidMedia: It cannot be read.
        BackendError: The model failed.
    """
    transcript = Transcript(language)
    encoder = _encoder_for(spec) if request.speakers else None
    path = control.open(request.media)
    info = probe_audio(path)
    _check_length(spec, info.duration_s)
    yield _progress(0.0, info)
    longest_s = chain([ear.first_window_s], repeat(ear.window_s))
    with closing(decode_audio(path)) as blocks:
        reader = WindowReader(blocks)
        while not control.cancelled and (window := reader.next(next(longest_s))) is not None:
            _check_length(spec, window.end_s)
            yield from _heard(window, transcript, info, control, ear)
    if encoder:
        yield from _told_apart(transcript, path, control, encoder)
    if control.cancelled:
        return
    if info.measured and transcript.end_s < info.duration_s * _WHOLE - 1:
        yield Notice(
            f"Part of this file is damaged or missing: {transcript.end_s:.0f} s of "
            f"{info.duration_s:.0f} s could be read."
        )
    yield Finished(
        TranscriptionResult(
            segments=tuple(transcript.segments),
            language=transcript.language or UNDETERMINED,
            duration_s=transcript.end_s,
            usage=Usage(transcript.end_s, "seconds"),
        )
    )


def _heard(
    window: Window, transcript: Transcript, info: AudioInfo, control: Control, ear: Ear
) -> Iterator[HandlerEvent]:
    try:
        for segment in ear.hear(window, transcript):
            yield transcript.take(segment)
            yield _progress(max(segment.end_s, transcript.end_s), info)
            if control.cancelled:
                return
    except Exception as error:
        raise failure_of(error) from error
    transcript.end_s = window.end_s
    yield _progress(window.end_s, info)


def _encoder_for(spec: ModelSpec) -> SpeakerEncoder:
    file = str(spec.options.get("speakers_dir", ""))
    if not file:
        raise UnsupportedOption("Speakers can't be told apart here yet; leave that option out.")
    return SpeakerEncoder.load(file)


def _told_apart(
    transcript: Transcript, path: Path, control: Control, encoder: SpeakerEncoder
) -> Iterator[HandlerEvent]:
    """Listen to the recording again, and give each segment its speaker."""
    segments = transcript.segments
    voices = []
    with closing(decode_audio(path)) as blocks:
        for number, sound in enumerate(stretches(segments, blocks)):
            yield Progress("telling the speakers apart", number / len(segments))
            if control.cancelled:
                return
            voices.append(encoder.voice(sound))
    transcript.segments = named(segments, voices)


def _check_length(spec: ModelSpec, duration_s: float) -> None:
    if duration_s > spec.max_input_s:
        raise InputTooLong(
            f"This recording lasts {_minutes(duration_s)}; "
            f"{spec.name} takes at most {_minutes(spec.max_input_s)}."
        )


def _progress(done_s: float, info: AudioInfo) -> Progress:
    total_s = max(info.duration_s, done_s)
    return Progress(f"{done_s:.0f} s of {total_s:.0f} s", done_s / total_s)


def _minutes(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
