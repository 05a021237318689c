"""What comes out of a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from models.contracts.base import FROZEN, MediaInput, Modality, UnsafeScore


@dataclass(frozen=True, config=FROZEN)
class Usage:
    """What a job consumed, in the unit that its modality is counted in."""

    amount: Annotated[float, Field(ge=0)]
    unit: Literal["tokens", "characters", "seconds", "pictures", "frames"]


@dataclass(frozen=True, config=FROZEN)
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


@dataclass(frozen=True, config=FROZEN)
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


@dataclass(frozen=True, config=FROZEN)
class Word:
    """A word with its times in seconds from the start of the file."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, config=FROZEN)
class Segment:
    """A stretch of speech with its times in seconds from the start of the file.

    ``speaker`` is who is heard in most of it, such as ``Speaker 1``; empty where nobody asked.
    """

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    speaker: str = ""


@dataclass(frozen=True, config=FROZEN)
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


@dataclass(frozen=True, config=FROZEN)
class Picture:
    """A generated picture.

    Attributes:
        media: One PNG whose metadata carry model, seed and licence.
        width_px, height_px: Its size.
        seed: What it can be made again with; None where the provider has no seeds.
        alt_text: What it shows, for people who do not see it.
        unsafe_score: What the safety classifier said of it, or of the picture that it started from
            if that is worse; None stands for "not looked at".
    """

    media: MediaInput
    width_px: int
    height_px: int
    seed: int | None
    alt_text: str
    unsafe_score: UnsafeScore | None = None


@dataclass(frozen=True, config=FROZEN)
class ImageResult:
    """Generated pictures.

    Attributes:
        pictures: 1 to 4, in the order of their seeds.
        usage: Pictures.
        num_inference_steps, guidance_scale: As used; None where the provider does not tell.
    """

    pictures: Annotated[tuple[Picture, ...], Field(min_length=1)]
    usage: Usage
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    modality: Literal[Modality.IMAGE] = Modality.IMAGE


@dataclass(frozen=True, config=FROZEN)
class TextLine:
    """A line of text in a picture.

    Attributes:
        text: What it says.
        box: Left, top, right, bottom in pixels of the upright picture.
        confidence: 0 to 1.
    """

    text: str
    box: tuple[float, float, float, float]
    confidence: float


@dataclass(frozen=True, config=FROZEN)
class PictureText:
    """What was said about, or read in, one picture.

    Attributes:
        text: The caption, the answer, or the text that stands in the picture.
        lines: The lines in reading order: for ``ocr``, and besides the sentence that a captioning
            model does not know such pictures.
        unsafe_score: What the safety classifier said of the picture.
        copy: The picture itself, where the request wanted it back.
    """

    text: str
    lines: tuple[TextLine, ...] = ()
    unsafe_score: UnsafeScore | None = None
    copy: MediaInput | None = None


@dataclass(frozen=True, config=FROZEN)
class VisionResult:
    """What was said about each picture, in their order. ``usage`` counts pictures."""

    answers: Annotated[tuple[PictureText, ...], Field(min_length=1)]
    usage: Usage
    modality: Literal[Modality.VISION] = Modality.VISION


@dataclass(frozen=True, config=FROZEN)
class VideoResult:
    """A clip.

    Attributes:
        media: One MP4 (H.264, yuv420p, moov atom first) with even sides.
        width_px, height_px, frames, fps: Its shape; the length is frames / fps seconds.
        seed: What it can be made again with; None where the provider has no seeds.
        alt_text: What happens in it.
        usage: Frames.
        unsafe_score: The worst of the frames that the safety classifier looked at, and of the
            picture that it begins with.
    """

    media: MediaInput
    width_px: int
    height_px: int
    frames: int
    fps: float
    seed: int | None
    alt_text: str
    usage: Usage
    unsafe_score: UnsafeScore | None = None
    modality: Literal[Modality.VIDEO] = Modality.VIDEO


@dataclass(frozen=True, config=FROZEN)
class UpscalingResult:
    """A picture that was made larger.

    Attributes:
        picture: It, as it is now.
        from_width_px, from_height_px: Its size before.
        usage: One picture.
    """

    picture: Picture
    from_width_px: int
    from_height_px: int
    usage: Usage
    modality: Literal[Modality.UPSCALING] = Modality.UPSCALING


Result = (
    TextResult
    | ImageResult
    | VisionResult
    | VideoResult
    | UpscalingResult
    | SpeechResult
    | TranscriptionResult
)
