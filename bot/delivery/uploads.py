"""Files of answers on their way to Discord, within its limit.

This module owns opening them, and writing what is too large anew so that it fits: in a thread, and
from files of our own workers alone. Nothing that a member sent is decoded here.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import discord

from bot.delivery.parts import File
from models.errors import HandlerError

_log = logging.getLogger(__name__)

_SPARE_BYTES = 4096
"""What a file may need besides its bytes."""

Fit = Callable[[Path, int], tuple[bytes, str]]
"""Writes a file anew, in at most so many bytes; returns them and their type."""


class Upload(discord.File):
    """A file that may carry the fields of a voice message."""

    __slots__ = ("voice",)

    def __init__(self, source: io.BytesIO | Path, file: File) -> None:
        super().__init__(source, file.filename, description=file.description[:1024] or None)
        self.voice: dict[str, Any] = {}

    def to_dict(self, index: int) -> dict[str, Any]:
        """Return the entry of ``attachments`` in the payload."""
        return {**super().to_dict(index), **self.voice}


def upload_limit(channel: object) -> int:
    """Return how large a file may be in a channel, as its server stands now."""
    guild = getattr(channel, "guild", None)
    limit = getattr(guild, "filesize_limit", 0)
    return int(limit) or discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES


async def opened(file: File, spool_dir: Path, limit: int) -> Upload:
    """Return a file ready to be sent; a picture or clip that is too large becomes one that fits.

    Raises:
        FileNotFoundError: It is gone from the spool, or is not what was stored there.
    """
    if not file.spool_path:
        return Upload(io.BytesIO(file.text.encode()), file)
    path = spool_dir / file.spool_path
    if file.sha256 and await asyncio.to_thread(_checksum, path) != file.sha256:
        raise FileNotFoundError(errno.ENOENT, "damaged in the spool", file.filename)
    fit = _FITS.get(file.content_type.partition("/")[0])
    if fit is None or path.stat().st_size <= limit - _SPARE_BYTES:
        return Upload(path, file)
    try:
        data, content_type = await asyncio.to_thread(fit, path, limit - _SPARE_BYTES)
    except HandlerError as error:  # Discord may take it all the same, and says so if not
        _log.warning("%s could not be made smaller: %s", file.filename, error)
        return Upload(path, file)
    upload = Upload(io.BytesIO(data), file)
    upload.filename = _renamed(file.filename, content_type)
    return upload


def _checksum(path: Path) -> str:
    with path.open("rb") as opened_file:
        return hashlib.file_digest(opened_file, "sha256").hexdigest()


def _renamed(filename: str, content_type: str) -> str:
    ending = content_type.partition("/")[2].replace("jpeg", "jpg")
    return f"{filename.rpartition('.')[0] or filename}.{ending}"


def _fit_picture(path: Path, limit: int) -> tuple[bytes, str]:
    from models.image.pictures import fit_bytes, open_picture, said_by

    return fit_bytes(open_picture(path), limit, said_by(path))


def _fit_clip(path: Path, limit: int) -> tuple[bytes, str]:
    from models.video.mp4 import MP4, fit

    return fit(path.read_bytes(), limit), MP4


_FITS: dict[str, Fit] = {"image": _fit_picture, "video": _fit_clip}
