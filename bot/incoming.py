"""The way of a member's file into the spool, wherever its bytes come from.

This module owns what is let in: the size while it streams, the kind by its bytes, whole or not at
all. ``bot.attachments`` and ``bot.links`` bring the bytes. Nothing is decoded here: a worker does
that, within its limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from bot.engine.spool import Spool
from bot.sniffing import HEAD_BYTES, HTML, UNKNOWN, FileType, Kind, sniff
from models.contracts import MediaInput
from models.errors import EmptyInput, InputTooLong, InvalidMedia

Blocks = AsyncGenerator[bytes, None]
"""The bytes of a file, in blocks of any size."""

Wanted = Literal["audio", "text", "image"]
"""What a file may be; "audio" includes videos, whose sound track is used."""

_KINDS: dict[Wanted, frozenset[Kind]] = {
    "audio": frozenset({"audio", "video"}),
    "text": frozenset({"text"}),
    "image": frozenset({"picture"}),
}
_NAMES: dict[Wanted, str] = {
    "audio": "sound or video",
    "text": "text",
    "image": "a picture that I can read (PNG, JPEG, WebP, GIF, HEIC, AVIF, BMP or TIFF)",
}


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file on its way in.

    Attributes:
        filename: What it is called; a member wrote it.
        limit_bytes: It may be so large.
    """

    filename: str
    limit_bytes: int

    @property
    def shown(self) -> str:
        """Its name, fit to stand in a sentence."""
        return f"`{self.filename.replace('`', '')[:80]}`"

    def check_size(self, size_bytes: int) -> None:
        """Refuse a file that is, or has become, larger than it may be.

        Raises:
            InputTooLong: It is.
        """
        limit = self.limit_bytes
        if size_bytes > limit:
            allowed = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
            raise InputTooLong(f"{self.shown} is larger than the {allowed} allowed here.")

    def expect(self, head: bytes, wanted: Collection[Wanted]) -> FileType:
        """Return what the file is, told from its beginning.

        Raises:
            EmptyInput: It has no bytes.
            InvalidMedia: It is nothing of what is wanted.
        """
        if not head:
            raise EmptyInput(f"{self.shown} is empty.")
        found = sniff(head[:HEAD_BYTES])
        if any(found.kind in _KINDS[kind] for kind in wanted):
            return found
        names = " or ".join(_NAMES[kind] for kind in wanted)
        what = "damaged, or it is" if found is UNKNOWN else f"{found.name},"
        advice = " The file itself is needed, not a page that shows it." if found is HTML else ""
        raise InvalidMedia(f"{self.shown} is {what} not {names}.{advice}")


async def bring_in(
    spool: Spool, file: Incoming, blocks: Blocks, wanted: Collection[Wanted]
) -> MediaInput:
    """Write a file into the spool. No thread waits for a block: they may come slowly.

    Raises:
        EmptyInput: It has no bytes.
        InputTooLong: It is larger than it may be.
        InvalidMedia: It is nothing of what is wanted.
        DiskFull: There is no room for it.
    """
    async with aclosing(bounded(file, blocks)) as following:
        head = await _head(following)
        found = file.expect(head, wanted)
        writer = await asyncio.to_thread(spool.begin)
        try:
            await asyncio.to_thread(writer.write, head)
            async for block in following:
                await asyncio.to_thread(writer.write, block)
            return await asyncio.to_thread(writer.keep, file.filename, found.content_type)
        except BaseException:
            writer.abandon()
            raise


async def bounded(file: Incoming, blocks: Blocks) -> Blocks:
    """Pass blocks on until there are too many.

    Raises:
        InputTooLong: The file is larger than it may be.
    """
    size = 0
    async with aclosing(blocks):
        async for block in blocks:
            size += len(block)
            file.check_size(size)
            yield block


async def _head(blocks: Blocks) -> bytes:
    head = b""
    async for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    return head
