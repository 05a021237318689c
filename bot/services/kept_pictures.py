"""Pictures that members uploaded for a picture or clip, kept as long as that can be made again.

This module owns their folder: how long they stay in it, and how much each member may have there.
Whose they are is told by the recipes that name them (``bot.services.recipes``). Nothing is decoded
here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bot.engine.spool import Spool
from models.contracts import MediaInput
from models.errors import DiskFull, InvalidMedia

_log = logging.getLogger(__name__)

KEPT: Final = "kept"
"""Key of a job's presentation: the names under which the files that its request reads are kept."""

MOST_BYTES: Final = 10 << 20
"""Of one picture: no more than Discord lets a bot send back, in an export."""

_DAY_S = 86_400.0
_BLOCK_BYTES = 1 << 20
_GONE = "The picture that you uploaded is not kept any more. Please send it again."


class KeptPictures:
    """Keeps copies of what is in the spool. All of it blocks: call it in a thread.

    Args:
        folder: Where the copies lie; made when there is one.
        spool: Where files of jobs lie.
        days: How long a picture stays after it was used last.
        mb_per_member: How much of one member stays, in MiB; 0 for nothing.
    """

    def __init__(self, folder: Path, spool: Spool, *, days: int, mb_per_member: int) -> None:
        self._files = Spool(folder)
        self._spool = spool
        self._days = days
        self._most_bytes = mb_per_member << 20

    def keep(self, media: MediaInput, others: Sequence[str]) -> str | None:
        """Keep a picture and return its name; None where it is too large, or the disk is full.

        Args:
            media: In the spool.
            others: Names of the member's other pictures, oldest first. The oldest go where all
                together would be too large.
        """
        if media.size_bytes > min(MOST_BYTES, self._most_bytes):
            return None
        sizes = {name: self.path(name).stat().st_size for name in others if self._has(name)}
        for name, size in list(sizes.items()):
            if sum(sizes.values()) + media.size_bytes <= self._most_bytes:
                break
            self.discard([name])
            sizes[name] -= size
        try:
            source = self._spool.path(media)
            return self._files.store(_blocks(source), media.filename, media.content_type).path
        except (OSError, DiskFull):
            _log.warning("an uploaded picture could not be kept", exc_info=True)
            return None

    def renew(self, names: Sequence[str]) -> None:
        """Let pictures stay as if they had been uploaded now."""
        for name in names:
            with suppress(FileNotFoundError):
                os.utime(self.path(name))

    def bring(self, name: str, media: MediaInput) -> MediaInput:
        """Copy a picture back into the spool.

        Args:
            name: What ``keep`` returned.
            media: What was kept.

        Raises:
            InvalidMedia: It is gone.
            DiskFull: There is no room in the spool.
        """
        if not self._has(name):
            raise InvalidMedia(_GONE)
        return self._spool.store(_blocks(self.path(name)), media.filename, media.content_type)

    def path(self, name: str) -> Path:
        """Return where a picture lies, if it is there."""
        return self._files.folder / name

    def discard(self, names: Sequence[str]) -> None:
        """Delete pictures, present or not."""
        self._files.discard(names)

    def sweep(self) -> int:
        """Delete what was kept long enough; return how many files that were."""
        return self._files.sweep((), older_than_s=self._days * _DAY_S)

    def _has(self, name: str) -> bool:
        return self.path(name).is_file()


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            yield block
