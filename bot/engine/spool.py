"""The spool: a folder of files under way, so that bytes need not travel through pipes or tables.

This module owns names, checksums and the disk's limits. Names are random and nothing that a member
wrote becomes part of a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bot.engine.journal import JournalUnavailable
from models.contracts import MediaInput
from models.errors import DiskFull, InvalidMedia

_log = logging.getLogger(__name__)

_SWEEP_S = 3600.0
_NAME = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_BLOCK_BYTES = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Spool:
    """Files below one folder, shared by the bot and its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def store(self, data: bytes | Iterable[bytes], filename: str, content_type: str) -> MediaInput:
        """Write a file that is whole or absent.

        Args:
            data: The bytes, or blocks of them.
            filename: The name to show a person.
            content_type: Type sniffed from the bytes.

        Raises:
            DiskFull: There is no room.
        """
        blocks = [data] if isinstance(data, bytes) else data
        return _filled(self.begin(), blocks, filename, content_type)

    def begin(self, name: str = "") -> SpoolWriter:
        """Begin a file that comes in blocks; it is there once its writer keeps it.

        Args:
            name: Of a file that another spool has, and none here; otherwise it gets one.

        Raises:
            DiskFull: There is no room.
        """
        with _room():
            self.folder.mkdir(parents=True, exist_ok=True)
            return SpoolWriter(self.folder, name or secrets.token_hex(16))

    def adopt(self, media: MediaInput, data: bytes | memoryview) -> None:
        """Write a file that another spool has, under the same name; nothing where it is already.

        Raises:
            InvalidMedia: It is not what was stored there.
            DiskFull: There is no room.
        """
        if hashlib.sha256(data).hexdigest() != media.sha256 or not _NAME.fullmatch(media.path):
            raise InvalidMedia("That file was damaged on its way. Please send it again.")
        if not (self.folder / media.path).is_file():
            _filled(self.begin(media.path), [data], media.filename, media.content_type)

    def path(self, media: MediaInput) -> Path:
        """Return the file of a reference.

        Raises:
            InvalidMedia: It is gone.
        """
        file = self.folder / media.path
        if not _NAME.fullmatch(media.path) or not file.is_file():
            raise InvalidMedia("That file is not here any more. Please send it again.")
        return file

    def checked_path(self, media: MediaInput) -> Path:
        """Return the file of a reference after comparing its checksum.

        Raises:
            InvalidMedia: It is gone, or it is not what was stored.
        """
        file = self.path(media)
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != media.sha256:
                raise InvalidMedia("That file was damaged on its way. Please send it again.")
        return file

    def discard(self, paths: Iterable[str]) -> None:
        """Delete files, present or not."""
        for path in paths:
            if _NAME.fullmatch(path):
                (self.folder / path).unlink(missing_ok=True)

    def sweep(self, keep: Collection[str], *, older_than_s: float = 0.0) -> int:
        """Delete what nothing refers to, and return how many files that were.

        Args:
            keep: Paths that are still referred to.
            older_than_s: Spare younger files, whose reference may be about to be written.
        """
        if not self.folder.is_dir():
            return 0
        newest = time.time() - older_than_s
        orphans = [
            file
            for file in self.folder.iterdir()
            if file.name not in keep and _modified_at(file) <= newest
        ]
        for file in orphans:
            file.unlink(missing_ok=True)
        return len(orphans)


class SpoolWriter:
    """A file that is being written: whole in the end, or absent. One thread at a time uses it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._kept = folder / self._name
        self._temporary = folder / f"{self._name}.part"
        self._digest = hashlib.sha256()
        self._size = 0
        self._file = self._temporary.open("xb")

    def write(self, block: bytes | memoryview) -> None:
        """Add bytes.

        Raises:
            DiskFull: There is no room.
        """
        with _room():
            self._file.write(block)
        self._digest.update(block)
        self._size += len(block)

    def keep(self, filename: str, content_type: str) -> MediaInput:
        """End the file and return its reference; see ``Spool.store``.

        Raises:
            DiskFull: There is no room.
        """
        with _room():
            with self._file:
                _flush(self._file)
            self._temporary.rename(self._kept)
            _flush_folder(self._kept.parent)
        return MediaInput(self._name, filename, content_type, self._size, self._digest.hexdigest())

    def abandon(self) -> None:
        """Leave nothing of a file that did not become whole."""
        self._temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk refuses what is still to be flushed
            self._file.close()


def _filled(
    writer: SpoolWriter, blocks: Iterable[bytes | memoryview], filename: str, content_type: str
) -> MediaInput:
    """Write a file to its end, or leave nothing of it."""
    try:
        for block in blocks:
            writer.write(block)
        return writer.keep(filename, content_type)
    except BaseException:
        writer.abandon()
        raise


async def keep_swept(spool: Spool, in_use: Callable[[], Awaitable[Collection[str]]]) -> None:
    """Sweep every hour, until cancelled. Files younger than that are spared."""
    while True:
        await asyncio.sleep(_SWEEP_S)
        try:
            keep = await in_use()
        except JournalUnavailable as error:
            _log.warning("the spool is not swept this time: %s", error)
        else:
            await asyncio.to_thread(spool.sweep, keep, older_than_s=_SWEEP_S)


def paths_in(text: str) -> list[str]:
    """Return the spool paths in a text, such as a stored request or part."""
    return _NAME.findall(text)


@contextmanager
def _room() -> Iterator[None]:
    """Say of a full disk that it is full."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull from error
        raise


def _flush(file: BinaryIO) -> None:
    """Bring a file to the disk before a transaction may refer to it."""
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Bring a name to the disk: after a power cut a file may be there without it."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _modified_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
