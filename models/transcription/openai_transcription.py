"""Transcripts from OpenAI's API, and from other servers that speak it.

This module owns the requests: one for each window of sound, far below the 25 MB that the API takes.
What a window says goes with the next as its prompt, so that names stay spelt as they were. Models
that tell no times give a segment for each window. It must not read a key from anywhere but the
variable that the catalogue names.

Source: https://developers.openai.com/api/docs/guides/speech-to-text
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from models.asking import Asker, in_thread
from models.catalog import ModelSpec
from models.contracts import Control, HandlerEvent, Segment, TranscriptionRequest, Word
from models.errors import BackendError, UnsupportedOption
from models.hosted import Bill, endpoint_of, openai_client, patiently, translate
from models.media import SAMPLING_RATE_HZ
from models.options import Options
from models.prices import Amounts, heard
from models.recording import CONTENT_TYPE, Recorder
from models.tasks import TaskStepper
from models.transcription.listening import Ear, Transcript, listen
from models.transcription.windows import Window

if TYPE_CHECKING:
    import openai

_SILENCE = 1e-3
_NO_SPEECH = 0.6
_UNSURE = -1.0


class HostedTranscriptionOptions(Options):
    """Load-time options of a server, from the catalogue.

    Attributes:
        slots: How many jobs may wait for the server at once.
        timeout_s: Longest silence of the server, in seconds.
        times: The finest times that the model tells.
        window_s: Longest sound that is sent at once, in seconds.
        prompts: Whether the model takes what was said before.
        language_hints: The model takes a list of languages that may be spoken, instead of one.
        cache_dir, speakers_dir: Set by the engine; the latter only where the encoder of voices is.
    """

    slots: int = Field(4, ge=1, le=64)
    timeout_s: float = Field(240.0, gt=0)
    times: Literal["none", "segment", "word"] = "none"
    window_s: float = Field(30.0, ge=5, le=300)
    prompts: bool = True
    language_hints: bool = False
    cache_dir: str = ""
    speakers_dir: str = ""


def load(spec: ModelSpec, location: str, device: str) -> TaskStepper:
    """Get ready to ask a server; it is not asked yet.

    Args:
        spec: Row of the catalogue, with an endpoint as its source.
        location: Base URL of the server.
        device: Not looked at: the server has its own.

    Raises:
        ModelLoadFailed: The key or an option is missing or wrong.
    """
    options = HostedTranscriptionOptions.of(spec)
    client = openai_client(spec, location, options.timeout_s)
    server = TranscriptionServer(spec, client, options)
    return TaskStepper(options.slots, server.transcribe, client.close)


class TranscriptionServer:
    """A server that listens."""

    def __init__(
        self, spec: ModelSpec, client: openai.AsyncOpenAI, options: HostedTranscriptionOptions
    ) -> None:
        self._spec = spec
        self._model = endpoint_of(spec).model
        self._client = client
        self._options = options

    def transcribe(
        self, request: TranscriptionRequest, control: Control
    ) -> AsyncIterator[HandlerEvent]:
        """Yield the events of one job."""
        return in_thread(lambda asker: self._listened(request, control, asker))

    def _listened(
        self, request: TranscriptionRequest, control: Control, asker: Asker
    ) -> Iterator[HandlerEvent]:
        if request.translate and "translate" not in self._spec.capabilities:
            raise UnsupportedOption(f"{self._spec.name} can't translate; choose another model.")
        language = request.language.split("-")[0].lower() if request.language else None

        bill = Bill(self._spec, control)

        def hear(window: Window, transcript: Transcript) -> Iterator[Segment]:
            if abs(window.samples).max() < _SILENCE:
                return
            with bill.sent(heard(window.duration_s)):
                answer = asker(self._ask(_encoded(window), request, transcript))
            bill.count(_used(answer, window.duration_s))
            transcript.language = transcript.language or _language_of(answer)
            yield from _segments_of(answer, window, keep_words=request.word_timestamps)

        window_s = self._options.window_s
        yield from listen(self._spec, request, control, Ear(hear, window_s, window_s), language)

    async def _ask(
        self, sound: bytes, request: TranscriptionRequest, transcript: Transcript
    ) -> Any:
        """Return what the server says of a window, as an Ogg Opus file."""
        import openai

        parameters: dict[str, Any] = {
            "model": self._model,
            "response_format": "json" if self._options.times == "none" else "verbose_json",
        }
        said = " ".join(segment.text for segment in transcript.segments[-3:])[-500:]
        if said and self._options.prompts:
            parameters["prompt"] = said
        ask: Any = self._client.audio.translations.create
        if not request.translate:
            ask = self._client.audio.transcriptions.create
            if transcript.language and self._options.language_hints:
                parameters["languages"] = [transcript.language]
            elif transcript.language:
                parameters["language"] = transcript.language
            if self._options.times != "none":
                words = self._options.times == "word" and request.word_timestamps
                parameters["timestamp_granularities"] = ["segment", *(["word"] if words else [])]
        file = ("sound.ogg", sound, CONTENT_TYPE)
        try:
            return await patiently(lambda: ask(file=file, **parameters))
        except openai.OpenAIError as error:
            raise translate(error) from error
        except ValueError as error:  # what came is not JSON
            raise BackendError from error


def _used(answer: Any, seconds: float) -> Amounts:
    """Return what is charged for a window: its minutes, or its tokens if the server tells them."""
    used: Any = getattr(answer, "usage", None)
    if getattr(used, "type", "") != "tokens":
        return heard(seconds)
    details = used.input_token_details
    text_tokens = (details.text_tokens or 0) if details else 0
    return Amounts(
        sound_s=seconds,
        audio_tokens=used.input_tokens - text_tokens,
        text_tokens=text_tokens,
        output_tokens=used.output_tokens,
    )


def _encoded(window: Window) -> bytes:
    with Recorder(SAMPLING_RATE_HZ, {}) as recorder:
        recorder.add(window.samples)
        return recorder.finish().data


def _language_of(answer: Any) -> str | None:
    """Return the code of the language that the server heard; some servers write its name."""
    several = getattr(answer, "languages", None) or []
    name = several[0].code if several else getattr(answer, "language", None)
    if not isinstance(name, str) or not name:
        return None
    if len(name) <= 3 or "-" in name:
        return name.lower()
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    return str(TO_LANGUAGE_CODE.get(name.lower(), "")) or None


def _segments_of(answer: Any, window: Window, *, keep_words: bool) -> Iterator[Segment]:
    text = getattr(answer, "text", answer)
    if not isinstance(text, str):
        raise BackendError("The model's server gave no transcript. Please try again.")
    segments = getattr(answer, "segments", None)
    if segments is None:
        if text.strip():
            yield Segment(window.start_s, window.end_s, f" {text.strip()}")
        return
    words = getattr(answer, "words", None) or [] if keep_words else []
    for found in segments:
        if found.text.strip() and not _made_up(found):
            start_s, end_s = _at(window, found.start), _at(window, found.end)
            inside = _inside(words, window, start_s, end_s)
            yield Segment(start_s, end_s, f" {found.text.strip()}", inside)


def _inside(words: Sequence[Any], window: Window, start_s: float, end_s: float) -> tuple[Word, ...]:
    timed = (Word(_at(window, w.start), _at(window, w.end), w.word.strip()) for w in words)
    return tuple(word for word in timed if start_s <= (word.start_s + word.end_s) / 2 < end_s)


def _made_up(found: Any) -> bool:
    """Whether the model itself doubts that anybody spoke."""
    silent = getattr(found, "no_speech_prob", None) or 0.0
    unsure = getattr(found, "avg_logprob", None) or 0.0
    return silent > _NO_SPEECH and unsure < _UNSURE


def _at(window: Window, seconds: float) -> float:
    return round(window.start_s + min(max(0.0, float(seconds)), window.duration_s), 3)
