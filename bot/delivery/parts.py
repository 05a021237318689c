"""What an answer is made of before Discord sees it: parts, in order, each one call.

This module owns the stored form of the outbox. It must not import Discord; ``bot.delivery.sender``
turns a part into the call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

_FROZEN = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


@dataclass(frozen=True, config=_FROZEN)
class File:
    """A file to attach: either ``spool_path`` (below the spool) or ``text`` is set.

    ``sha256`` is the checksum of what the spool held when the job ended.
    """

    filename: str
    content_type: str
    spool_path: str = ""
    text: str = ""
    description: str = ""
    sha256: str = ""


@dataclass(frozen=True, config=_FROZEN)
class Button:
    """A button. ``custom_id`` is the versioned id that ``bot.views`` understands."""

    custom_id: str
    label: str
    style: Literal["primary", "secondary", "success", "danger"] = "secondary"
    emoji: str = ""


@dataclass(frozen=True, config=_FROZEN)
class AnchorEdit:
    """Edit the anchor into its final form. Idempotent."""

    content: str
    files: tuple[File, ...] = ()
    buttons: tuple[Button, ...] = ()
    type: Literal["anchor"] = "anchor"


@dataclass(frozen=True, config=_FROZEN)
class ChannelMessage:
    """One more message after the anchor. It pings nobody, or the one member who is named."""

    content: str
    files: tuple[File, ...] = ()
    buttons: tuple[Button, ...] = ()
    mention_user_id: int = 0
    type: Literal["message"] = "message"


@dataclass(frozen=True, config=_FROZEN)
class VoiceMessage:
    """A voice message of its own. Without the permission, its file goes into the anchor."""

    file: File
    duration_s: float
    waveform: bytes
    type: Literal["voice"] = "voice"


@dataclass(frozen=True, config=_FROZEN)
class Pointer:
    """Edit the anchor to lead to the first message that the job's other parts became."""

    content: str
    guild_id: int
    type: Literal["pointer"] = "pointer"


Part = AnchorEdit | ChannelMessage | VoiceMessage | Pointer

_PARTS: TypeAdapter[Part] = TypeAdapter(Annotated[Part, Field(discriminator="type")])


def dump_part(part: Part) -> str:
    """Return a part as JSON."""
    return _PARTS.dump_json(part).decode()


def load_part(data: str) -> Part:
    """Read a part from JSON."""
    return _PARTS.validate_json(data)


def spool_paths(parts: Iterable[Part]) -> list[str]:
    """Return the paths below the spool that parts refer to."""
    files: list[File] = []
    for part in parts:
        match part:
            case VoiceMessage():
                files.append(part.file)
            case AnchorEdit() | ChannelMessage():
                files += part.files
    return [file.spool_path for file in files if file.spool_path]
