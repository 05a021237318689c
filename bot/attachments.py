"""From a file that a member sent to one that a model may read.

This module owns fetching from Discord, and the encoding of texts. What is let in is
``bot.incoming``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import aclosing

import aiohttp
import discord

from bot.engine.spool import Spool
from bot.incoming import Blocks, Incoming, Wanted, bounded, bring_in
from bot.settings import MediaSettings
from bot.sniffing import HEAD_BYTES, text_encoding
from models.contracts import MediaInput
from models.errors import BackendUnreachable, EmptyInput, InvalidMedia

Download = Callable[[discord.Attachment], Blocks]
"""Yields the bytes of an attachment."""

_BLOCK_BYTES = 256 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=30)


class AttachmentService:
    """Fetches attachments."""

    def __init__(self, limits: MediaSettings, spool: Spool, download: Download) -> None:
        self._limits = limits
        self._spool = spool
        self._download = download

    async def fetch(self, attachment: discord.Attachment, kinds: Collection[Wanted]) -> MediaInput:
        """Bring a file into the spool.

        Args:
            attachment: What a member sent.
            kinds: What it may be.

        Raises:
            EmptyInput: It has no bytes.
            InputTooLong: It is larger than the owner allows.
            InvalidMedia: It is something else than its name says, or not there any more.
            BackendUnreachable: Discord did not hand it over.
            DiskFull: There is no room for it.
        """
        file = Incoming(attachment.filename, self._limits.max_upload_mb << 20)
        file.check_size(attachment.size)
        async with aclosing(self._blocks(attachment, file)) as blocks:
            return await bring_in(self._spool, file, blocks, kinds)

    async def read_text(self, attachment: discord.Attachment) -> str:
        """Return what a text file says, with plain line ends and without outer white space.

        Raises:
            EmptyInput: It says nothing.
            InputTooLong: It is larger than the owner allows.
            InvalidMedia: It is not a text in UTF-8 or UTF-16, or not there any more.
            BackendUnreachable: Discord did not hand it over.
        """
        file = Incoming(attachment.filename, self._limits.max_text_kb << 10)
        file.check_size(attachment.size)
        async with aclosing(bounded(file, self._blocks(attachment, file))) as blocks:
            data = b"".join([block async for block in blocks])
        file.expect(data, ["text"])
        try:
            text = data.decode(text_encoding(data[:HEAD_BYTES]) or "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidMedia(f"{file.shown} is not a whole text in UTF-8 or UTF-16.") from error
        text = "\n".join(text.replace("\0", "").splitlines()).strip()
        if not text:
            raise EmptyInput(f"{file.shown} has no text in it.")
        return text

    async def _blocks(self, attachment: discord.Attachment, file: Incoming) -> Blocks:
        """Yield the bytes; say what went wrong on the way in our words."""
        try:
            async with aclosing(self._download(attachment)) as blocks:
                async for block in blocks:
                    yield block
        except (aiohttp.ClientResponseError, discord.HTTPException) as error:
            if error.status in (403, 404, 410):
                raise InvalidMedia(
                    f"{file.shown} is not there any more. Please send it again."
                ) from error
            raise BackendUnreachable(_unreachable(file)) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BackendUnreachable(_unreachable(file)) from error


async def download(attachment: discord.Attachment) -> Blocks:
    """Stream an attachment from Discord's file server."""
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT) as session,
        session.get(attachment.url) as response,
    ):
        response.raise_for_status()
        async for block in response.content.iter_chunked(_BLOCK_BYTES):
            yield block


def _unreachable(file: Incoming) -> str:
    return f"Discord did not hand over {file.shown}. Please try again in a moment."
