"""What may be asked of a model: every option that a person may set, with its bounds and unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from models.contracts.base import CONTRACT_VERSION, FROZEN, MediaInput, Modality, UnsafeScore


@dataclass(frozen=True, config=FROZEN)
class ChatMessage:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


@dataclass(frozen=True, config=FROZEN)
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


@dataclass(frozen=True, config=FROZEN)
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


@dataclass(frozen=True, config=FROZEN)
class TranscriptionRequest:
    """Write down what is said in a sound or video file.

    Attributes:
        media: The file; its sound track is used.
        language: BCP 47 code; None detects it.
        translate: Translate into English instead of writing down.
        word_timestamps: Give each word its time.
        speakers: Tell who speaks.
    """

    media: MediaInput
    language: str | None = None
    translate: bool = False
    word_timestamps: bool = False
    speakers: bool = False
    modality: Literal[Modality.TRANSCRIPTION] = Modality.TRANSCRIPTION
    version: Literal[1] = CONTRACT_VERSION


PixelSize = Annotated[int, Field(ge=16, le=4096)]


@dataclass(frozen=True, config=FROZEN)
class ImageRequest:
    """Make pictures from words.

    Attributes:
        prompt: What to show, 1 to 4,000 characters.
        negative_prompt: What not to show.
        width_px, height_px: Wished size; a model rounds to what it can make and says so.
        count: Pictures, 1 to 4; picture ``i`` has the seed ``seed + i``.
        num_inference_steps: Denoising steps; None takes the model's usual number.
        guidance_scale: How closely to follow the prompt; None takes the model's usual value.
        seed: Makes the pictures repeatable on the same device; None draws a new one.
        reference: A picture to start from.
        strength: How far to leave the reference: 0 keeps it, 1 ignores it.
        blocked_from: The reference is refused if the safety check scores it so high; None lets
            anything pass.
    """

    prompt: Annotated[str, Field(min_length=1, max_length=4000)]
    negative_prompt: Annotated[str, Field(max_length=4000)] = ""
    width_px: PixelSize = 1024
    height_px: PixelSize = 1024
    count: Annotated[int, Field(ge=1, le=4)] = 1
    num_inference_steps: Annotated[int, Field(ge=1, le=150)] | None = None
    guidance_scale: Annotated[float, Field(ge=0.0, le=30.0)] | None = None
    seed: Seed | None = None
    reference: MediaInput | None = None
    strength: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6
    blocked_from: UnsafeScore | None = None
    modality: Literal[Modality.IMAGE] = Modality.IMAGE
    version: Literal[1] = CONTRACT_VERSION


@dataclass(frozen=True, config=FROZEN)
class VisionRequest:
    """Describe or read pictures.

    Attributes:
        images: 1 to 10 pictures, answered in this order.
        task: ``caption`` one sentence, ``detailed`` several, ``alt_text`` for people who do not see
            the picture, ``ocr`` the text in it, ``question`` the answer to ``question``.
        question: Required for that task alone.
        layout: ``ocr``: keep columns and line positions with spaces.
        languages: ``ocr``: BCP 47 codes that may occur; empty for the model's own.
        copies: Give each picture back, upright and without metadata, to be shown with its answer.
        blocked_from: As for pictures that are made: such ones are not looked at, and their answer
            is empty.
    """

    images: Annotated[tuple[MediaInput, ...], Field(min_length=1, max_length=10)]
    task: Literal["caption", "detailed", "alt_text", "ocr", "question"] = "caption"
    question: Annotated[str, Field(max_length=2000)] = ""
    layout: bool = False
    languages: tuple[str, ...] = ()
    copies: bool = False
    blocked_from: UnsafeScore | None = None
    modality: Literal[Modality.VISION] = Modality.VISION
    version: Literal[1] = CONTRACT_VERSION


@dataclass(frozen=True, config=FROZEN)
class VideoRequest:
    """Make a short clip from words.

    Attributes:
        prompt: What happens, 1 to 4,000 characters.
        negative_prompt: What not to show.
        seconds: Wished length; a model rounds to the frames it can make and says so.
        width_px, height_px: Wished size; rounded likewise.
        num_inference_steps, guidance_scale, seed: As for pictures.
        first_frame: A picture that the clip begins with.
        blocked_from: As for pictures, of the first frame.
    """

    prompt: Annotated[str, Field(min_length=1, max_length=4000)]
    negative_prompt: Annotated[str, Field(max_length=4000)] = ""
    seconds: Annotated[float, Field(ge=0.5, le=60.0)] = 4.0
    width_px: PixelSize = 832
    height_px: PixelSize = 480
    num_inference_steps: Annotated[int, Field(ge=1, le=150)] | None = None
    guidance_scale: Annotated[float, Field(ge=0.0, le=30.0)] | None = None
    seed: Seed | None = None
    first_frame: MediaInput | None = None
    blocked_from: UnsafeScore | None = None
    modality: Literal[Modality.VIDEO] = Modality.VIDEO
    version: Literal[1] = CONTRACT_VERSION


@dataclass(frozen=True, config=FROZEN)
class UpscalingRequest:
    """Make a finished picture larger.

    Attributes:
        picture: What is enlarged.
        factor: How many times as wide and as high it becomes.
        alt_text: What it shows, which goes along.
    """

    picture: MediaInput
    factor: Annotated[int, Field(ge=2, le=4)] = 2
    alt_text: Annotated[str, Field(max_length=1024)] = ""
    modality: Literal[Modality.UPSCALING] = Modality.UPSCALING
    version: Literal[1] = CONTRACT_VERSION


Request = (
    TextRequest
    | ImageRequest
    | VisionRequest
    | VideoRequest
    | UpscalingRequest
    | SpeechRequest
    | TranscriptionRequest
)


def files_of(request: Request) -> tuple[MediaInput, ...]:
    """Return the files that a request reads, in order."""
    match request:
        case TranscriptionRequest(media=media):
            return (media,)
        case VisionRequest(images=images):
            return images
        case (
            ImageRequest(reference=MediaInput() as file)
            | VideoRequest(first_frame=MediaInput() as file)
            | UpscalingRequest(picture=file)
        ):
            return (file,)
        case _:
            return ()


def with_files(request: Request, files: Sequence[MediaInput]) -> Request:
    """Return a request that reads other files in place of those that it read.

    Args:
        request: Reads as many files as there are in ``files``.
        files: In the order of ``files_of``.
    """
    match request:
        case VisionRequest():
            return replace(request, images=tuple(files))
        case TranscriptionRequest():
            return replace(request, media=files[0])
        case ImageRequest(reference=MediaInput()):
            return replace(request, reference=files[0])
        case VideoRequest(first_frame=MediaInput()):
            return replace(request, first_frame=files[0])
        case UpscalingRequest():
            return replace(request, picture=files[0])
        case _:
            return request
