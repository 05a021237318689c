"""Whisper through faster-whisper: speech in a file to text with times.

This module owns the backend ``faster-whisper``: any Whisper that was converted for CTranslate2.
Recordings are worked through in windows (``models.transcription.windows``), so that memory stays
level, text comes early and a cancel acts soon. It must not fetch weights.

Load-time options: ``compute_type`` (int8 on the CPU, float16 on a GPU), ``batch_size`` (4 on the
CPU, 16 on a GPU), ``beam_size`` (5), ``threads`` (what ``OMP_NUM_THREADS`` says).

Source: https://github.com/SYSTRAN/faster-whisper
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.allocator import give_back_large_blocks
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
    Word,
)
from models.errors import (
    InputTooLong,
    ModelLoadFailed,
    OutOfMemory,
    UnsupportedOption,
    failure_of,
)
from models.media import AudioInfo, decode_audio, probe_audio
from models.transcription.segments import segments_of
from models.transcription.windows import LONGEST_S, Window, WindowReader

if TYPE_CHECKING:
    import faster_whisper

UNDETERMINED = "und"
"""BCP 47 for a language that nobody spoke enough of to tell."""

_FIRST_WINDOW_S = 20.0
_CHUNK_S = 30.0
_STEP_S = 3.0
_NO_SPEECH = 0.6
_UNSURE = -1.0
_WHOLE = 0.95


def load(spec: ModelSpec, location: str, device: str) -> WhisperHandler:
    """Load a folder with a converted Whisper.

    Args:
        spec: Row of the catalogue.
        location: Folder with ``model.bin`` and ``tokenizer.json``.
        device: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ModelLoadFailed: A file is missing, or the library refuses the folder.
    """
    folder = Path(location)
    for name in ("model.bin", "tokenizer.json"):
        if not (folder / name).is_file():
            # The library would go and look for it on a hub.
            raise ModelLoadFailed(f"The model can't be loaded: its folder has no {name}.")
    from faster_whisper import WhisperModel

    kind, _, index = device.partition(":")
    try:
        model = WhisperModel(
            str(folder),
            device=kind,
            device_index=int(index or 0),
            compute_type=spec.options.get("compute_type", "int8" if kind == "cpu" else "float16"),
            cpu_threads=int(spec.options.get("threads", 0)),
            local_files_only=True,
        )
        _fit_features(model)
        give_back_large_blocks()
    except MemoryError as error:
        raise OutOfMemory from error
    except Exception as error:  # tokenizers raises bare ones
        raise ModelLoadFailed from error
    return WhisperHandler(spec, model)


def _fit_features(model: faster_whisper.WhisperModel) -> None:
    """Listen with as many mel bands as the model wants, where its folder does not say so."""
    from faster_whisper.feature_extractor import FeatureExtractor

    if model.model.n_mels != len(model.feature_extractor.mel_filters):
        model.feature_extractor = FeatureExtractor(feature_size=model.model.n_mels)


@dataclass(slots=True)
class _Transcript:
    """What is known so far of one recording."""

    language: str | None
    segments: list[Segment] = field(default_factory=list)
    end_s: float = 0.0

    def take(self, segment: Segment) -> TextDelta:
        """Append a segment; return its text as it follows the ones before."""
        delta = TextDelta(segment.text if self.segments else segment.text.lstrip())
        self.segments.append(replace(segment, text=segment.text.strip()))
        return delta


class WhisperHandler:
    """Writes down what is said. See ``models.contracts.Handler``."""

    def __init__(self, spec: ModelSpec, model: faster_whisper.WhisperModel) -> None:
        self._spec = spec
        self._model: faster_whisper.WhisperModel | None = model
        self._multilingual: bool = model.model.is_multilingual
        self._languages = frozenset(model.supported_languages)
        on_cpu = model.model.device == "cpu"
        self._largest_batch = int(spec.options.get("batch_size", 4 if on_cpu else 16))
        self._beam_size = int(spec.options.get("beam_size", 5))
        self._chunk_cost_s = _STEP_S

    def close(self) -> None:
        """Free the model."""
        self._model = None

    def run(self, request: TranscriptionRequest, control: Control) -> Iterator[HandlerEvent]:
        """Transcribe or translate; see ``models.contracts.Handler.run``."""
        transcript = _Transcript(self._language(request))
        path = control.open(request.media)
        info = probe_audio(path)
        self._check_length(info.duration_s)
        yield _progress(0.0, info)
        with closing(decode_audio(path)) as blocks:
            reader = WindowReader(blocks)
            longest_s = _FIRST_WINDOW_S
            while not control.cancelled and (window := reader.next(longest_s)) is not None:
                self._check_length(window.end_s)
                yield from self._window(window, request, transcript, info, control)
                longest_s = LONGEST_S
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

    def _window(
        self,
        window: Window,
        request: TranscriptionRequest,
        transcript: _Transcript,
        info: AudioInfo,
        control: Control,
    ) -> Iterator[HandlerEvent]:
        began = time.monotonic()
        try:
            for found in self._transcribed(window, request, transcript):
                for segment in _sentences(found, window, keep_words=request.word_timestamps):
                    yield transcript.take(segment)
                yield _progress(transcript.segments[-1].end_s, info)
                if control.cancelled:
                    return
        except Exception as error:
            raise failure_of(error) from error
        chunks = max(1.0, window.duration_s / _CHUNK_S)
        self._chunk_cost_s = max(1e-3, (time.monotonic() - began) / chunks)
        transcript.end_s = window.end_s
        yield _progress(window.end_s, info)

    def _transcribed(
        self, window: Window, request: TranscriptionRequest, transcript: _Transcript
    ) -> Iterator[Any]:
        """Yield the library's segments with text; the first speech settles the language."""
        from faster_whisper import BatchedInferencePipeline

        # One pipeline a window: it keeps the time of the last word when it is abandoned.
        segments, found = BatchedInferencePipeline(self._model).transcribe(
            window.samples,
            language=transcript.language,
            task="translate" if request.translate else "transcribe",
            beam_size=self._beam_size,
            batch_size=max(1, min(self._largest_batch, round(_STEP_S / self._chunk_cost_s))),
            # Whisper's own timestamps lose the end of a batched chunk; those of words don't.
            word_timestamps=True,
            without_timestamps=True,
            vad_filter=True,
        )
        if found.duration_after_vad:
            transcript.language = found.language
            with closing(segments):
                yield from (segment for segment in segments if _is_speech(segment))

    def _language(self, request: TranscriptionRequest) -> str | None:
        """Return Whisper's code of the language, None to detect it.

        Raises:
            UnsupportedOption: The model does not know it, or cannot translate.
        """
        if request.translate and not (self._multilingual and self._can("translate")):
            raise UnsupportedOption(f"{self._spec.name} can't translate; choose another model.")
        if request.language is None:
            return None if self._multilingual else "en"
        code = request.language.split("-")[0].lower()
        code = {"nb": "no", "fil": "tl", "iw": "he"}.get(code, code)
        if code not in self._languages:
            known = "English alone" if not self._multilingual else "other languages"
            raise UnsupportedOption(
                f"{self._spec.name} understands {known}, not `{request.language[:20]}`."
            )
        return code

    def _can(self, capability: str) -> bool:
        return capability in self._spec.capabilities

    def _check_length(self, duration_s: float) -> None:
        if duration_s > self._spec.max_input_s:
            raise InputTooLong(
                f"This recording lasts {_minutes(duration_s)}; "
                f"{self._spec.name} takes at most {_minutes(self._spec.max_input_s)}."
            )


def _is_speech(segment: Any) -> bool:
    """Whether there is text that was not made up, which the batched pipeline does not check."""
    made_up = segment.no_speech_prob > _NO_SPEECH and segment.avg_logprob < _UNSURE
    return bool(segment.text.strip()) and not made_up


def _sentences(found: Any, window: Window, *, keep_words: bool) -> Iterator[Segment]:
    """Yield a chunk of up to 30 s as sentences, with times from the start of the recording."""

    def at(seconds: float) -> float:
        return round(window.start_s + min(float(seconds), window.duration_s), 3)

    if found.words:
        words = (Word(at(word.start), at(word.end), word.word) for word in found.words)
        yield from segments_of(words, keep_words=keep_words)
    else:
        yield Segment(at(found.start), at(found.end), found.text)


def _progress(done_s: float, info: AudioInfo) -> Progress:
    total_s = max(info.duration_s, done_s)
    return Progress(f"{done_s:.0f} s of {total_s:.0f} s", done_s / total_s)


def _minutes(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
