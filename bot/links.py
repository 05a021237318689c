"""From a link that a member gave to a file that a model may read.

This module owns what a link may look like, redirects, time, and the sentences. Which addresses may
be reached is ``bot.internet``; what is let in is ``bot.incoming``. The sentences never tell an
address that is not public from a name that does not exist, so nobody can map the owner's network.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version

import aiohttp
from yarl import URL

from bot.engine.spool import Spool
from bot.incoming import Blocks, Incoming, Wanted, bring_in
from bot.internet import PublicInternet
from bot.settings import LinkSettings, MediaSettings
from models.contracts import MediaInput
from models.errors import BackendUnreachable, DeadlineExceeded, InvalidMedia, UnsupportedOption

DISCORD = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
"""The servers of files that were sent in Discord."""

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BLOCK_BYTES = 256 * 1024
_CONNECT_S, _IDLE_S = 10.0, 15.0

_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\.?")
"""A name with a dot in it whose last part begins with a letter, as no spelling of an address does.

So every host goes through the resolver, and none of this machine's own short names is one.
"""

_NO_LINK = (
    "That is no link to a file. It looks like `https://example.com/talk.mp3`: a server's name "
    "without user, password or port, then the file."
)
_LEADS_AWAY = "That link leads on to an address that I do not open. Please link the file itself."
_GOES_ROUND = "That link leads from one address to the next and to no file."
_NOT_FOUND = "There is no such server on the public internet, so that link cannot be opened."
_NO_CERTIFICATE = "The server of that link cannot prove that it is the one named in it."
_REFUSED = "The server of that link does not give the file to everybody."
_GONE = "There is no file at that link, or not any more."
_PACKED = "The server of that link gives the file in a compressed form, which I do not unpack."
_UNREACHABLE = "The server of that link did not hand over the file. Please try again in a moment."
_SLOW = "The server of that link is too slow, so the file was given up. Please upload it instead."


@dataclass(frozen=True, slots=True)
class Link:
    """A link that looks as one may; nothing has been asked of its server."""

    url: URL

    @classmethod
    def parse(cls, text: str) -> Link:
        """Read what a member typed, also in the angle brackets that keep Discord from previews.

        Raises:
            InvalidMedia: It is not a plain https link to a named server.
        """
        text = text.strip().removeprefix("<").removesuffix(">")
        try:
            url = URL(text)
            host = url.raw_host or ""
            _ = url.host  # broken punycode shows when it is read
        except ValueError:
            raise InvalidMedia(_NO_LINK) from None
        if (
            not text.isprintable()
            or " " in text
            or url.scheme != "https"
            or "@" in url.raw_authority
            or url.port != 443
            or len(host) > 253
            or not _HOST.fullmatch(host)
        ):
            raise InvalidMedia(_NO_LINK)
        return cls(url.with_fragment(None))

    @property
    def host(self) -> str:
        return (self.url.raw_host or "").removesuffix(".")

    @property
    def filename(self) -> str:
        """What the file is called, as far as the link tells."""
        name = "".join(char for char in self.url.name if char.isprintable()).strip()
        return name[-200:] or self.host


class LinkService:
    """Fetches files that members link to."""

    def __init__(
        self, settings: LinkSettings, limits: MediaSettings, spool: Spool, internet: PublicInternet
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._spool = spool
        self._internet = internet
        self._headers = {
            "Accept-Encoding": "identity",
            "User-Agent": f"Sextant/{version('sextant-bot')} (Discord bot; opens members' links)",
        }

    def read(self, text: str) -> Link:
        """Return what a member typed as a link that may be opened. Looks into memory alone.

        Raises:
            InvalidMedia: It is no link.
            UnsupportedOption: The owner does not allow it.
        """
        link = Link.parse(text)
        sites = self._settings.sites
        if sites == "none":
            raise UnsupportedOption("No links are opened here. Please upload the file instead.")
        if sites == "discord" and link.host not in DISCORD:
            raise UnsupportedOption(
                "Only links to files in Discord are opened here. Please upload the file instead."
            )
        return link

    async def fetch(self, link: Link, kinds: Collection[Wanted]) -> MediaInput:
        """Bring a file into the spool.

        Args:
            link: From ``read``.
            kinds: What it may be.

        Raises:
            EmptyInput: It has no bytes.
            InputTooLong: It is larger than the owner allows.
            InvalidMedia: There is no such file, none for everybody, or one of another kind.
            BackendUnreachable: The server did not hand it over.
            DeadlineExceeded: The server is too slow.
            DiskFull: There is no room for it.
        """
        file = Incoming(link.filename, self._limits.max_upload_mb << 20)
        async with aclosing(self._blocks(link, file)) as blocks:
            return await bring_in(self._spool, file, blocks, kinds)

    async def _blocks(self, link: Link, file: Incoming) -> Blocks:
        """Yield the bytes; say what went wrong on the way in our words."""
        try:
            async with (
                aiohttp.ClientSession(
                    connector=self._internet.connector(),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    headers=self._headers,
                ) as session,
                await self._follow(session, link) as response,
            ):
                _require_file(response)
                file.check_size(response.content_length or 0)
                async for block in response.content.iter_chunked(_BLOCK_BYTES):
                    yield block
        except aiohttp.ClientConnectorDNSError as error:
            raise InvalidMedia(_NOT_FOUND) from error
        except aiohttp.ClientSSLError as error:
            raise InvalidMedia(_NO_CERTIFICATE) from error
        except TimeoutError as error:
            raise DeadlineExceeded(_SLOW) from error
        except aiohttp.ClientError as error:
            raise BackendUnreachable(_UNREACHABLE) from error

    async def _follow(self, session: aiohttp.ClientSession, link: Link) -> aiohttp.ClientResponse:
        """Return the answer at the end of the redirects, each of which is a link to be read."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._settings.timeout_s
        for _ in range(_MOST_REDIRECTS + 1):
            left_s = give_up - loop.time()
            if left_s <= 0:  # aiohttp takes 0 for no limit
                raise TimeoutError
            response = await session.get(
                link.url,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(left_s, sock_connect=_CONNECT_S, sock_read=_IDLE_S),
            )
            if response.status not in _REDIRECTS:
                return response
            response.close()
            link = self._next(link, response.headers.get("Location", ""))
        raise InvalidMedia(_GOES_ROUND)

    def _next(self, link: Link, location: str) -> Link:
        try:
            return self.read(str(link.url.join(URL(location))))
        except (ValueError, InvalidMedia, UnsupportedOption):
            raise InvalidMedia(_LEADS_AWAY) from None


def _require_file(response: aiohttp.ClientResponse) -> None:
    match response.status:
        case 200:
            packed = response.headers.get("Content-Encoding", "identity").strip().lower()
            if packed not in ("", "identity"):
                raise InvalidMedia(_PACKED)
        case 401 | 402 | 403 | 407 | 451:
            raise InvalidMedia(_REFUSED)
        case 404 | 410:
            raise InvalidMedia(_GONE)
        case _:
            raise BackendUnreachable(_UNREACHABLE)
