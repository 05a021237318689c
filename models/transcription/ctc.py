"""Wav2Vec 2.0 and its relatives, which write down letters as they hear them.

This module owns the backend ``wav2vec2``: any model that transformers loads as ``AutoModelForCTC``.
Such a model writes words alone, and knows when each was said; sentences are restored from the
pauses (``models.transcription.punctuate``). It must not fetch weights.

Source: https://huggingface.co/docs/transformers/model_doc/wav2vec2
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import Field

from models.catalog import ModelSpec
from models.contracts import Control, HandlerEvent, Segment, TranscriptionRequest, Word
from models.errors import BackendError, ModelLoadFailed, UnsupportedOption
from models.media import SAMPLING_RATE_HZ
from models.options import Options
from models.torch_errors import free_memory, translated
from models.transcription.listening import Ear, Transcript, listen
from models.transcription.punctuate import restore
from models.transcription.segments import segments_of
from models.transcription.windows import Window
from models.turns import Turns

_FIRST_WINDOW_S: Final = 15.0
_SHORTEST_S: Final = 0.1


class CtcOptions(Options):
    """Load-time options, from the catalogue.

    Attributes:
        window_s: Longest sound that is listened to at once, in seconds: memory grows with its
            square.
        punctuated: The model writes sentences itself.
        slots: Recordings that take turns.
        cache_dir, speakers_dir: Set by the engine; the latter only where the encoder of voices is.
    """

    window_s: float = Field(30.0, ge=5, le=120)
    punctuated: bool = False
    slots: int = Field(4, ge=1, le=64)
    cache_dir: str = ""
    speakers_dir: str = ""


def load(spec: ModelSpec, location: str, device: str) -> Turns:
    """Load a folder as the hub has it: weights, vocabulary, and how the sound is prepared.

    Args:
        spec: Row of the catalogue, with the language that the model writes.
        location: The folder.
        device: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ModelLoadFailed: A file is missing or damaged, or the model hears at another rate.
    """
    from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer

    options = CtcOptions.of(spec)
    with translated(ModelLoadFailed):
        local = {"local_files_only": True, "trust_remote_code": False}
        extractor = AutoFeatureExtractor.from_pretrained(location, **local)
        tokenizer = AutoTokenizer.from_pretrained(location, **local)
        model = AutoModelForCTC.from_pretrained(location, use_safetensors=True, **local)
        model = model.to(device).eval()
    if extractor.sampling_rate != SAMPLING_RATE_HZ:
        raise ModelLoadFailed(f"`{spec.id}` does not listen at 16 kHz. Tell the owner.")
    return Turns(CtcHandler(spec, options, model, extractor, tokenizer), options.slots)


class CtcHandler:
    """Writes down what is said. See ``models.contracts.Handler``; jobs may take turns."""

    def __init__(
        self, spec: ModelSpec, options: CtcOptions, model: Any, extractor: Any, tokenizer: Any
    ) -> None:
        self._spec = spec
        self._options = options
        self._model = model
        self._extractor = extractor
        self._tokenizer = tokenizer
        self._frame_s = model.config.inputs_to_logits_ratio / SAMPLING_RATE_HZ

    def close(self) -> None:
        """Free the model."""
        self._model = None
        free_memory()

    def run(self, request: TranscriptionRequest, control: Control) -> Iterator[HandlerEvent]:
        """Transcribe; see ``models.contracts.Handler.run``."""
        language = self._language(request)

        def hear(window: Window, _: Transcript) -> Iterator[Segment]:
            words: Iterator[Word] = iter(self._words(window))
            if not self._options.punctuated:
                words = restore(words, language)
            return segments_of(words, keep_words=request.word_timestamps)

        ear = Ear(hear, min(_FIRST_WINDOW_S, self._options.window_s), self._options.window_s)
        yield from listen(self._spec, request, control, ear, language)

    def _language(self, request: TranscriptionRequest) -> str:
        """Return the language that the model writes.

        Raises:
            UnsupportedOption: Another one is asked for, or a translation.
        """
        if request.translate:
            raise UnsupportedOption(f"{self._spec.name} can't translate; choose another model.")
        known = self._spec.languages or ("en",)
        if request.language is None:
            return known[0]
        code = request.language.split("-")[0].lower()
        if code not in known:
            raise UnsupportedOption(
                f"{self._spec.name} understands {', '.join(known)}, not `{request.language[:20]}`."
            )
        return code

    def _words(self, window: Window) -> list[Word]:
        """Return what is said in a window, with the times of the frames that say it."""
        import torch

        if window.duration_s < _SHORTEST_S:
            return []
        with translated(BackendError), torch.inference_mode():
            features = self._extractor(
                window.samples, sampling_rate=SAMPLING_RATE_HZ, return_tensors="pt"
            )
            device = self._model.device
            logits = self._model(**{name: value.to(device) for name, value in features.items()})
            letters = logits.logits[0].argmax(-1).cpu()
            found = self._tokenizer.decode(letters, output_word_offsets=True)
        return [
            Word(
                self._at(window, word["start_offset"]),
                self._at(window, word["end_offset"]),
                f" {word['word']}",
            )
            for word in found.word_offsets
            if word["word"].strip()
        ]

    def _at(self, window: Window, frame: int) -> float:
        seconds = min(frame * self._frame_s, window.duration_s)
        return round(window.start_s + float(seconds), 3)
