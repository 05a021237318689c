"""What goes into a handler and what comes out: requests, events, results, the handler protocol.

This module owns the vocabulary that the cogs, the engine, the workers and the backends share. It
must not import Discord, the database or a backend. Requests and results are small, frozen,
versioned and serialisable; bytes travel as references into the spool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from models.errors import InvalidRequest

CONTRACT_VERSION: Final = 1
"""Raised when a stored request of an older version can no longer be read as it is."""

_FROZEN = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Modality(StrEnum):
    """The kinds of work, by the one word that names them everywhere."""

    TEXT = "text"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"


# --------------------------------------------------------------------------- media


@dataclass(frozen=True, config=_FROZEN)
class MediaInput:
    """Bytes in the spool: an input of a request or a file that a result brought.

    Attributes:
        path: Path below the spool folder, never absolute.
        filename: The name to show a person; not trusted for anything else.
        content_type: Type sniffed from the bytes, such as ``audio/ogg``.
        size_bytes: Size of the file.
        sha256: Checksum of the file as 64 hexadecimal digits.
    """

    path: str
    filename: str
    content_type: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


# --------------------------------------------------------------------------- requests


@dataclass(frozen=True, config=_FROZEN)
class ChatMessage:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


@dataclass(frozen=True, config=_FROZEN)
class TextRequest:
    """Continue a conversation.

    Attributes:
        messages: The conversation, oldest first; the last turn is the member's.
        temperature: 0 is greedy, higher is more varied.
        max_new_tokens: Upper bound of the answer, in tokens.
        seed: Makes the answer repeatable on the same device; None draws a new one.
    """

    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.7
    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = 512
    seed: Seed | None = None
    modality: Literal[Modality.TEXT] = Modality.TEXT
    version: Literal[1] = CONTRACT_VERSION


@dataclass(frozen=True, config=_FROZEN)
class SpeechRequest:
    """Speak a text.

    Attributes:
        text: What to say, 1 to 20,000 characters.
        voice: A voice of the model; None takes its first.
        language: BCP 47 code such as ``en``; None takes the model's first.
        speed: 1 is the voice's own pace, 2 twice as fast.
        pause_s: Silence between sentences, in seconds.
        seed: Makes sampling voices repeatable; None draws a new one.
    """

    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    voice: str | None = None
    language: str | None = None
    speed: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0
    pause_s: Annotated[float, Field(ge=0.0, le=3.0)] = 0.25
    seed: Seed | None = None
    modality: Literal[Modality.SPEECH] = Modality.SPEECH
    version: Literal[1] = CONTRACT_VERSION


@dataclass(frozen=True, config=_FROZEN)
class TranscriptionRequest:
    """Write down what is said in a sound or video file.

    Attributes:
        media: The file; its sound track is used.
        language: BCP 47 code; None detects it.
        translate: Translate into English instead of writing down.
        word_timestamps: Give each word its time.
    """

    media: MediaInput
    language: str | None = None
    translate: bool = False
    word_timestamps: bool = False
    modality: Literal[Modality.TRANSCRIPTION] = Modality.TRANSCRIPTION
    version: Literal[1] = CONTRACT_VERSION


Request = TextRequest | SpeechRequest | TranscriptionRequest


# --------------------------------------------------------------------------- results


@dataclass(frozen=True, config=_FROZEN)
class Usage:
    """What a job consumed, in the unit that its modality is counted in."""

    amount: Annotated[float, Field(ge=0)]
    unit: Literal["tokens", "characters", "seconds"]


@dataclass(frozen=True, config=_FROZEN)
class TextResult:
    """An answer.

    Attributes:
        text: The answer without the reasoning.
        reasoning: What a reasoning model thought before it; empty for others.
        finish_reason: ``length`` when max_new_tokens cut it.
        usage: New tokens.
        prompt_tokens: Tokens of the conversation that was read.
    """

    text: str
    usage: Usage
    reasoning: str = ""
    finish_reason: Literal["stop", "length"] = "stop"
    prompt_tokens: int = 0
    modality: Literal[Modality.TEXT] = Modality.TEXT


@dataclass(frozen=True, config=_FROZEN)
class SpeechResult:
    """A spoken text.

    Attributes:
        media: One Ogg Opus file, 48 kHz mono.
        duration_s: Its length in seconds.
        waveform: 1 to 256 loudness values, each 0 to 255, for Discord's voice message.
        usage: Characters spoken.
        voice: The voice that spoke.
    """

    media: MediaInput
    duration_s: Annotated[float, Field(ge=0)]
    waveform: Annotated[bytes, Field(min_length=1, max_length=256)]
    usage: Usage
    voice: str = ""
    modality: Literal[Modality.SPEECH] = Modality.SPEECH


@dataclass(frozen=True, config=_FROZEN)
class Word:
    """A word with its times in seconds from the start of the file."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, config=_FROZEN)
class Segment:
    """A stretch of speech with its times in seconds from the start of the file."""

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, config=_FROZEN)
class TranscriptionResult:
    """A transcript.

    Attributes:
        segments: In order of time; empty when nobody spoke.
        language: BCP 47 code, given or detected.
        duration_s: Length of the sound in seconds.
        usage: Seconds of sound.
    """

    segments: tuple[Segment, ...]
    language: str
    duration_s: Annotated[float, Field(ge=0)]
    usage: Usage
    modality: Literal[Modality.TRANSCRIPTION] = Modality.TRANSCRIPTION

    @property
    def text(self) -> str:
        """The transcript as running text."""
        return " ".join(s.text.strip() for s in self.segments).strip()


Result = TextResult | SpeechResult | TranscriptionResult


# --------------------------------------------------------------------------- events


@dataclass(frozen=True, config=_FROZEN)
class Progress:
    """How far a job is. ``fraction`` is 0 to 1, or None where it cannot be known."""

    stage: str
    fraction: float | None = None
    type: Literal["progress"] = "progress"


@dataclass(frozen=True, config=_FROZEN)
class TextDelta:
    """More text, to be appended to what came before in the same channel."""

    text: str
    channel: Literal["answer", "reasoning"] = "answer"
    type: Literal["text"] = "text"


@dataclass(frozen=True, config=_FROZEN)
class Notice:
    """Something that the member should know, such as text that was cut off."""

    message: str
    type: Literal["notice"] = "notice"


@dataclass(frozen=True, config=_FROZEN)
class Finished:
    """The last event of a job that succeeded."""

    result: Annotated[Result, Field(discriminator="modality")]
    type: Literal["finished"] = "finished"


HandlerEvent = Progress | TextDelta | Notice | Finished


# --------------------------------------------------------------------------- handlers


class Control(Protocol):
    """What a handler may use while it runs one request."""

    @property
    def cancelled(self) -> bool:
        """Whether the job should stop at the next safe place."""

    def open(self, media: MediaInput) -> Path:
        """Return the file of an input.

        Raises:
            InvalidMedia: It is gone from the spool, or its checksum differs.
        """

    def store(self, data: bytes, filename: str, content_type: str) -> MediaInput:
        """Write an output into the spool.

        Raises:
            DiskFull: There is no room.
        """


class Handler(Protocol):
    """Runs one model. Made in a worker process, used by one job at a time."""

    def run(self, request: Any, control: Control) -> Iterator[HandlerEvent]:
        """Work on a request and yield events; the last one is ``Finished``.

        A handler yields after each second or so of work (a batch of tokens, a sentence, a window of
        sound), and looks at ``control.cancelled`` between.

        Raises:
            HandlerError: With a sentence for the member.
        """

    def close(self) -> None:
        """Free the memory of the model. Called once."""


class Stepper(Protocol):
    """Runs several jobs of one model together, one step at a time.

    The worker drives steppers. ``bot.engine.worker`` adapts a ``Handler`` to one with a single
    slot; a backend that batches implements this itself.
    """

    slots: int

    def admit(self, job_id: str, request: Any, control: Control) -> None:
        """Take a job in. At most ``slots`` are in at once."""

    def step(self) -> Iterable[tuple[str, HandlerEvent | Exception]]:
        """Advance every job by one step; give back what happened, by job.

        A job ends with ``Finished`` or with an exception, which concerns that job alone.
        """

    def cancel(self, job_id: str) -> None:
        """Drop a job; nothing more is reported of it."""

    def close(self) -> None:
        """Drop all jobs and free the memory of the model."""


# --------------------------------------------------------------------------- serialisation

RequestUnion = Annotated[Request, Field(discriminator="modality")]
ResultUnion = Annotated[Result, Field(discriminator="modality")]
EventUnion = Annotated[HandlerEvent, Field(discriminator="type")]

_REQUESTS: TypeAdapter[Request] = TypeAdapter(RequestUnion)
_RESULTS: TypeAdapter[Result] = TypeAdapter(ResultUnion)


RequestT = TypeVar("RequestT", TextRequest, SpeechRequest, TranscriptionRequest)


def make_request(kind: type[RequestT], **fields: Any) -> RequestT:
    """Build a request from what a person typed.

    Raises:
        InvalidRequest: With a sentence that names the option and its bound.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        problems = "; ".join(
            f"`{'.'.join(str(part) for part in problem['loc'])}`: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise InvalidRequest(f"That does not fit: {problems}.") from error


def dump_request(request: Request) -> str:
    """Return a request as JSON."""
    return _REQUESTS.dump_json(request).decode()


def load_request(data: str | bytes) -> Request:
    """Read a request from JSON.

    Raises:
        InvalidRequest: It is of another version, or out of bounds.
    """
    try:
        return _REQUESTS.validate_json(data)
    except ValidationError as error:
        raise InvalidRequest("This was stored by another version and can't be repeated.") from error


def dump_result(result: Result) -> str:
    """Return a result as JSON."""
    return _RESULTS.dump_json(result).decode()


def load_result(data: str | bytes) -> Result:
    """Read a result from JSON."""
    return _RESULTS.validate_json(data)
