"""Whisper through faster-whisper: speech in a file to text with times.

This module owns the backend ``faster-whisper``: any Whisper that was converted for CTranslate2.
Recordings are worked through in windows (``models.transcription.windows``), so that memory stays
level and text comes early, and in batches of a few seconds' work, so that a cancel acts soon and a
long recording gives way to short ones. It must not fetch weights.

Load-time options: ``compute_type`` (int8 on the CPU, float16 on a GPU), ``batch_size`` (at most 4
chunks of 30 s at once on the CPU, 16 on a GPU), ``beam_size`` (5), ``threads`` (what
``OMP_NUM_THREADS`` says), ``slots`` (4 recordings that take turns).

Source: https://github.com/SYSTRAN/faster-whisper
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.allocator import give_back_large_blocks
from models.catalog import ModelSpec
from models.contracts import Control, HandlerEvent, Segment, TranscriptionRequest, Word
from models.errors import ModelLoadFailed, OutOfMemory, UnsupportedOption
from models.media import SAMPLING_RATE_HZ
from models.transcription.chunks import Chunk, SpeechChunks, joined
from models.transcription.listening import Ear, Transcript, listen
from models.transcription.segments import segments_of
from models.transcription.windows import Window
from models.turns import Turns

if TYPE_CHECKING:
    import faster_whisper

_FIRST_WINDOW_S = 20.0
_WINDOW_S = 60.0
_CHUNK_S = 30.0
_SLOTS = 4
_STEP_S = 3.0
_NO_SPEECH = 0.6
_UNSURE = -1.0


def load(spec: ModelSpec, location: str, device: str) -> Turns:
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
    return Turns(WhisperHandler(spec, model), int(spec.options.get("slots", _SLOTS)))


def _fit_features(model: faster_whisper.WhisperModel) -> None:
    """Listen with as many mel bands as the model wants, where its folder does not say so."""
    from faster_whisper.feature_extractor import FeatureExtractor

    if model.model.n_mels != len(model.feature_extractor.mel_filters):
        model.feature_extractor = FeatureExtractor(feature_size=model.model.n_mels)


class WhisperHandler:
    """Writes down what is said. See ``models.contracts.Handler``; jobs may take turns."""

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
        language = self._language(request)
        chunks = SpeechChunks(_CHUNK_S)

        def hear(window: Window, transcript: Transcript) -> Iterator[Segment]:
            chunks.add(window)
            ends = window.last or not window.start_s  # the first text should come early
            if ends:
                chunks.end()
            while batch := chunks.take(self._batch_size, fewer=ends):
                for found in self._transcribed(batch, request, transcript):
                    yield from _sentences(found, window.end_s, keep_words=request.word_timestamps)

        ear = Ear(hear, _FIRST_WINDOW_S, _WINDOW_S)
        yield from listen(self._spec, request, control, ear, language)

    @property
    def _batch_size(self) -> int:
        """How many chunks make a step: others wait for it, as does a cancel."""
        return max(1, min(self._largest_batch, round(_STEP_S / self._chunk_cost_s)))

    def _transcribed(
        self, batch: Sequence[Chunk], request: TranscriptionRequest, transcript: Transcript
    ) -> list[Any]:
        """Return the library's segments with text; the first speech settles the language."""
        from faster_whisper import BatchedInferencePipeline
        from faster_whisper.transcribe import restore_speech_timestamps

        began = time.monotonic()
        samples, places = joined(batch)
        segments, found = BatchedInferencePipeline(self._model).transcribe(
            samples,
            language=transcript.language,
            task="translate" if request.translate else "transcribe",
            beam_size=self._beam_size,
            batch_size=len(batch),
            # Whisper's own timestamps lose the end of a batched chunk; those of words don't.
            word_timestamps=True,
            without_timestamps=True,
            clip_timestamps=places,
        )
        transcript.language = found.language
        speech = [{"start": piece.start, "end": piece.end} for c in batch for piece in c.pieces]
        heard = list(restore_speech_timestamps(segments, speech, SAMPLING_RATE_HZ))
        self._chunk_cost_s = max(1e-3, (time.monotonic() - began) / len(batch))
        return [segment for segment in heard if _is_speech(segment)]

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


def _is_speech(segment: Any) -> bool:
    """Whether there is text that was not made up, which the batched pipeline does not check."""
    made_up = segment.no_speech_prob > _NO_SPEECH and segment.avg_logprob < _UNSURE
    return bool(segment.text.strip()) and not made_up


def _sentences(found: Any, end_s: float, *, keep_words: bool) -> Iterator[Segment]:
    """Yield a chunk of up to 30 s as sentences, none of which ends after ``end_s``."""

    def at(seconds: float) -> float:
        return round(min(float(seconds), end_s), 3)

    if found.words:
        words = (Word(at(word.start), at(word.end), word.word) for word in found.words)
        yield from segments_of(words, keep_words=keep_words)
    else:
        yield Segment(at(found.start), at(found.end), found.text)
