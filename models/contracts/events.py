"""What a handler tells while it works."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from models.contracts.base import FROZEN, MediaInput
from models.contracts.results import Result


@dataclass(frozen=True, config=FROZEN)
class Progress:
    """How far a job is. ``fraction`` is 0 to 1, or None where it cannot be known."""

    stage: str
    fraction: float | None = None
    type: Literal["progress"] = "progress"


@dataclass(frozen=True, config=FROZEN)
class TextDelta:
    """More text, to be appended to what came before in the same channel."""

    text: str
    channel: Literal["answer", "reasoning"] = "answer"
    type: Literal["text"] = "text"


@dataclass(frozen=True, config=FROZEN)
class Preview:
    """What a picture looks like so far: a small JPEG; each replaces the one before."""

    media: MediaInput
    type: Literal["preview"] = "preview"


@dataclass(frozen=True, config=FROZEN)
class Notice:
    """Something that the member should know, such as text that was cut off."""

    message: str
    type: Literal["notice"] = "notice"


@dataclass(frozen=True, config=FROZEN)
class Finished:
    """The last event of a job that succeeded."""

    result: Annotated[Result, Field(discriminator="modality")]
    type: Literal["finished"] = "finished"


HandlerEvent = Progress | TextDelta | Preview | Notice | Finished
