"""From a file that a member sent to one that a model may read.

This module owns what is let in: size before and while it streams from Discord, the kind by its
bytes, the encoding of texts. Files go to the spool, written in a thread, whole or not at all.
Nothing is decoded here: a worker does that, within its limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import aclosing
from typing import Literal

import aiohttp
import discord

from bot.engine.spool import Spool
from bot.settings import MediaSettings
from bot.sniffing import HEAD_BYTES, UNKNOWN, FileType, Kind, sniff, text_encoding
from models.contracts import MediaInput
from models.errors import BackendUnreachable, EmptyInput, InputTooLong, InvalidMedia

Download = Callable[[discord.Attachment], AsyncGenerator[bytes, None]]
"""Yields the bytes of an attachment in blocks of any size."""

_BLOCK_BYTES = 256 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=30)
_WANTED: dict[str, frozenset[Kind]] = {
    "audio": frozenset({"audio", "video"}),
    "text": frozenset({"text"}),
    "image": frozenset({"picture"}),
}
_NAMES = {
    "audio": "sound or video",
    "text": "text",
    "image": "a picture that I can read (PNG, JPEG, WebP, GIF, HEIC, AVIF, BMP or TIFF)",
}


class AttachmentService:
    """Fetches attachments."""

    def __init__(self, limits: MediaSettings, spool: Spool, download: Download) -> None:
        self._limits = limits
        self._spool = spool
        self._download = download

    async def fetch(
        self, attachment: discord.Attachment, kinds: Collection[Literal["audio", "text", "image"]]
    ) -> MediaInput:
        """Bring a file into the spool.

        Args:
            attachment: What a member sent.
            kinds: What it may be; "audio" includes videos, whose sound track is used.

        Raises:
            EmptyInput: It has no bytes.
            InputTooLong: It is larger than the owner allows.
            InvalidMedia: It is something else than its name says, or not there any more.
            BackendUnreachable: Discord did not hand it over.
            DiskFull: There is no room for it.
        """
        limit = self._limits.max_upload_mb << 20
        _check_size(attachment, attachment.size, limit)
        async with aclosing(_bounded(self._download(attachment), attachment, limit)) as blocks:
            head = await _head(blocks)
            found = _expect(attachment, head, kinds)
            loop = asyncio.get_running_loop()
            return await asyncio.to_thread(
                self._spool.store,
                _pull(head, blocks, loop),
                attachment.filename,
                found.content_type,
            )

    async def read_text(self, attachment: discord.Attachment) -> str:
        """Return what a text file says, with plain line ends and without outer white space.

        Raises:
            EmptyInput: It says nothing.
            InputTooLong: It is larger than the owner allows.
            InvalidMedia: It is not a text in UTF-8 or UTF-16, or not there any more.
            BackendUnreachable: Discord did not hand it over.
        """
        limit = self._limits.max_text_kb << 10
        _check_size(attachment, attachment.size, limit)
        async with aclosing(_bounded(self._download(attachment), attachment, limit)) as blocks:
            data = b"".join([block async for block in blocks])
        _expect(attachment, data[:HEAD_BYTES], ["text"])
        try:
            text = data.decode(text_encoding(data[:HEAD_BYTES]) or "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidMedia(
                f"{_name(attachment)} is not a whole text in UTF-8 or UTF-16."
            ) from error
        text = "\n".join(text.replace("\0", "").splitlines()).strip()
        if not text:
            raise EmptyInput(f"{_name(attachment)} has no text in it.")
        return text


async def download(attachment: discord.Attachment) -> AsyncGenerator[bytes, None]:
    """Stream an attachment from Discord's file server."""
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT) as session,
        session.get(attachment.url) as response,
    ):
        response.raise_for_status()
        async for block in response.content.iter_chunked(_BLOCK_BYTES):
            yield block


async def _bounded(
    blocks: AsyncGenerator[bytes, None], attachment: discord.Attachment, limit: int
) -> AsyncGenerator[bytes, None]:
    """Pass blocks on until there are too many; say what went wrong on the way in our words."""
    size = 0
    try:
        async with aclosing(blocks):
            async for block in blocks:
                size += len(block)
                _check_size(attachment, size, limit)
                yield block
    except (aiohttp.ClientResponseError, discord.HTTPException) as error:
        if error.status in (403, 404, 410):
            raise InvalidMedia(
                f"{_name(attachment)} is not there any more. Please send it again."
            ) from error
        raise BackendUnreachable(_unreachable(attachment)) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise BackendUnreachable(_unreachable(attachment)) from error


async def _head(blocks: AsyncGenerator[bytes, None]) -> bytes:
    head = b""
    async for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    return head


def _pull(
    head: bytes, blocks: AsyncGenerator[bytes, None], loop: asyncio.AbstractEventLoop
) -> Iterator[bytes]:
    """Draw blocks into the thread that writes them, one at a time, so that few are in memory."""
    yield head

    async def following() -> bytes | None:
        return await anext(blocks, None)

    while (block := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
        yield block


def _expect(attachment: discord.Attachment, head: bytes, kinds: Collection[str]) -> FileType:
    if not head:
        raise EmptyInput(f"{_name(attachment)} is empty.")
    found = sniff(head[:HEAD_BYTES])
    if not any(found.kind in _WANTED[kind] for kind in kinds):
        wanted = " or ".join(_NAMES[kind] for kind in kinds)
        what = "damaged, or it is" if found is UNKNOWN else f"{found.name},"
        raise InvalidMedia(f"{_name(attachment)} is {what} not {wanted}.")
    return found


def _check_size(attachment: discord.Attachment, size: int, limit: int) -> None:
    if size > limit:
        allowed = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
        raise InputTooLong(f"{_name(attachment)} is larger than the {allowed} allowed here.")


def _unreachable(attachment: discord.Attachment) -> str:
    return f"Discord did not hand over {_name(attachment)}. Please try again in a moment."


def _name(attachment: discord.Attachment) -> str:
    return f"`{attachment.filename.replace('`', '')[:80]}`"
