"""What every contract is made of: its version, the modalities, references to files.

Source of the file types: https://mimesniff.spec.whatwg.org/
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

CONTRACT_VERSION: Final = 1
"""Raised when a stored request of an older version can no longer be read as it is."""

FROZEN = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


UnsafeScore = Annotated[float, Field(ge=0.0, le=1.0)]
"""What the safety classifier says of a picture: 0 is harmless, 1 is explicit."""


class Modality(StrEnum):
    """The kinds of work, by the one word that names them everywhere."""

    TEXT = "text"
    IMAGE = "image"
    VISION = "vision"
    VIDEO = "video"
    UPSCALING = "upscaling"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"


@dataclass(frozen=True, config=FROZEN)
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
