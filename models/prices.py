"""What a provider charges: the prices of a row, what an answer cost, what a request may cost.

This module owns the arithmetic. It is exact: amounts are whole millionths of a dollar, and a part
of one counts as one. A dollar for a million tokens is a millionth of a dollar for one. It must not
know a provider's API; what a call has used up is the backend's to tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from models.contracts import (
    ImageRequest,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    VideoRequest,
    VisionRequest,
)

if TYPE_CHECKING:
    from models.catalog import ModelSpec

_MILLION: Final = 1_000_000
_MINUTE_S: Final = 60

# What a request may cost is reckoned on the high side: the difference is given back at its end.
_MESSAGE_TOKENS: Final = 8
"""Around each message of a conversation."""
_PICTURE_TOKENS: Final = 15_000
"""That a provider makes of a picture which it looks at."""
_DESCRIPTION_TOKENS: Final = 4096
_SLOWEST_CHARS_PER_S: Final = 4
"""Chinese and Japanese; English has three times as many."""
_LEAST_BYTES_PER_S: Final = 500
"""The smallest sound that phones send."""
_HEARD_TOKENS_PER_S: Final = 20
_WRITTEN_TOKENS_PER_S: Final = 20
"""Text that is sent along and text that comes back, each."""

Dollars = Annotated[Decimal, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What a call uses up, in the units that providers charge for.

    Attributes:
        text_tokens, image_tokens, audio_tokens: Of what was sent.
        output_tokens: Of what came back.
        characters: Of a text that was spoken.
        pictures: That were drawn, where the provider does not count their tokens.
        clip_s, sound_s: Length of a clip that was made, and of sound, in seconds.
    """

    text_tokens: int = 0
    image_tokens: int = 0
    audio_tokens: int = 0
    output_tokens: int = 0
    characters: int = 0
    pictures: int = 0
    clip_s: float = 0.0
    sound_s: float = 0.0


class Prices(BaseModel):
    """What a provider charges, in dollars; a row without prices has unknown ones.

    Attributes:
        text_input, image_input, audio_input, output: For a million tokens.
        characters: For a million characters of text.
        picture: For a picture. Where the provider counts tokens: the most that one may cost, to be
            held back before it is drawn.
        second: For a second of a clip.
        minute: For a minute of sound.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_input: Dollars = Decimal()
    image_input: Dollars = Decimal()
    audio_input: Dollars = Decimal()
    output: Dollars = Decimal()
    characters: Dollars = Decimal()
    picture: Dollars = Decimal()
    second: Dollars = Decimal()
    minute: Dollars = Decimal()

    @property
    def is_free(self) -> bool:
        """Whether nothing has a price: a server of the owner."""
        return not any(price for _, price in self)

    def micro_usd(self, used: Amounts) -> int:
        """Return what that costs, in millionths of a dollar."""
        by_million = (
            (self.text_input, used.text_tokens),
            (self.image_input, used.image_tokens),
            (self.audio_input, used.audio_tokens),
            (self.output, used.output_tokens),
            (self.characters, used.characters),
        )
        by_piece = (
            (self.picture, Fraction(used.pictures)),
            (self.second, Fraction(str(used.clip_s))),  # as it is written, not as binary has it
            (self.minute, Fraction(str(used.sound_s)) / _MINUTE_S),
        )
        millionths = sum(Fraction(price) * count for price, count in by_million)
        dollars = sum(Fraction(price) * count for price, count in by_piece)
        return math.ceil(millionths + dollars * _MILLION)


def most_micro_usd(spec: ModelSpec, request: Request) -> int | None:
    """Return the most that a request may cost, in millionths of a dollar; None is unknown.

    A model of this machine costs nothing.
    """
    if spec.prices is None:
        return None if spec.is_hosted else 0
    return spec.prices.micro_usd(most_used(spec, request))


def most_used(spec: ModelSpec, request: Request) -> Amounts:
    """Return the most that a request may use up."""
    match request:
        case TextRequest(messages=messages):
            sent = sum(len(m.content.encode()) + _MESSAGE_TOKENS for m in messages)
            return Amounts(
                text_tokens=min(sent, spec.context_tokens), output_tokens=request.max_new_tokens
            )
        case ImageRequest(count=count):
            return Amounts(
                text_tokens=count * len((request.prompt + request.negative_prompt).encode()),
                image_tokens=0 if request.reference is None else count * _PICTURE_TOKENS,
                pictures=count,
            )
        case VisionRequest(images=images):
            return Amounts(
                text_tokens=len(images) * (len(request.question.encode()) + _DESCRIPTION_TOKENS),
                image_tokens=len(images) * _PICTURE_TOKENS,
                output_tokens=len(images) * _DESCRIPTION_TOKENS,
            )
        case VideoRequest(seconds=seconds):
            return Amounts(clip_s=offered_length(seconds, spec.options.get("seconds", ())))
        case SpeechRequest(text=text):
            return spoken(text, request.speed)
        case TranscriptionRequest(media=media):
            return heard(min(media.size_bytes / _LEAST_BYTES_PER_S, spec.max_input_s))
        case _:
            return Amounts(pictures=1)


def spoken(text: str, speed: float) -> Amounts:
    """Return the most that speaking a text may use up."""
    return Amounts(characters=len(text), sound_s=len(text) / _SLOWEST_CHARS_PER_S / speed)


def heard(seconds: float) -> Amounts:
    """Return the most that writing down what is said may use up: its minutes and its tokens.

    A provider charges for one of both, and so a row has the price of one.
    """
    return Amounts(
        sound_s=seconds,
        audio_tokens=math.ceil(seconds * _HEARD_TOKENS_PER_S),
        text_tokens=math.ceil(seconds * _WRITTEN_TOKENS_PER_S),
        output_tokens=math.ceil(seconds * _WRITTEN_TOKENS_PER_S),
    )


def offered_length(seconds: float, lengths: tuple[int, ...]) -> float:
    """Return the length nearest to the wished one among those that a server makes, if it has some.

    Args:
        seconds: The wished length; the shorter of two that are equally near wins.
        lengths: All lengths that it makes, in seconds; empty for any.
    """
    return min(lengths, key=lambda length: (abs(length - seconds), length), default=seconds)


def to_micro_usd(dollars: float) -> int:
    """Return an amount that a person wrote in millionths of a dollar."""
    return round(Decimal(str(dollars)) * _MILLION)


def usd(micro_usd: int) -> str:
    """Return an amount as people read it: ``$1.25``, ``less than $0.01``."""
    if 0 < micro_usd < _MILLION // 100:
        return "less than $0.01"
    return f"${Decimal(micro_usd) / _MILLION:,.2f}"
