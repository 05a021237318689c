"""simcord's page, made to follow a channel that changes while somebody looks and acts.

This module owns what differs from the page as it comes: it is published anew when something
happens, bears actions that refer to what it showed a moment ago, and shows quotes, pictures and
voice messages as Discord does. It reaches into simcord's private parts, as ``bot.demo.shim`` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from typing import Any, Final, Self

from aiohttp import web
from simcord.preview import Preview, _markdown
from simcord.preview._server import PreviewServer

from bot.demo.world import World

_PUBLISH_EVERY_S: Final = 0.1
_AFTER_QUOTE: Final = re.compile(r"^( {0,3}>.*\n)(?=[^>\n])", re.MULTILINE)
_expand_quotes: Final = _markdown._discord_multiline_quotes
_RULES: Final = """
img.attachment-image { max-width: min(550px, 100%); max-height: 350px; }
video.media-player-native { max-height: 350px; }
:has(> .message-components ~ .message-attachments) { display: flex; flex-direction: column; }
.message-components:has(~ .message-attachments) { order: 1; }
.message-components ~ .message-attachments ~ * { order: 2; }
"""
"""Buttons stand below files, and files are shown no larger than Discord's own client does."""


class LivePreview(Preview):
    """The demo's channel in a browser, served while the context is entered."""

    def __init__(self, world: World, port: int = 0) -> None:
        super().__init__(
            world.env,
            world.channel,
            (world.member, world.guest),
            layout="channel",
            display="responsive",
            width=1280,
            height=800,
            locale="en-US",
            timezone="UTC",
            presentation_time=None,
            assets=world.faces,
            port=port,
        )
        self._server = _Server(self, port)
        self._world = world
        self._publishing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        _markdown._discord_multiline_quotes = _end_quotes
        await super().__aenter__()
        self._publishing = asyncio.create_task(self._follow(), name="demo pages")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._publishing is not None:
            self._publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._publishing
        await self.close()
        _markdown._discord_multiline_quotes = _expand_quotes

    async def _follow(self) -> None:
        """Show every open page what has changed."""
        seen = 0
        while True:
            if seen != (seen := self._world.view.version):
                self._advance_presentation_time()
                self._publish_message_pages(reason="refresh")
            await asyncio.sleep(_PUBLISH_EVERY_S)

    async def _action(self, context_id: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take an action for one on the newest revision; what it acts on is looked up anyway.

        A streamed answer makes several revisions a second, and simcord refuses older ones.
        """

        async def act() -> dict[str, Any]:
            page = self._get_page(context_id)
            stale = "published_revision" in body
            fresh = {**body, "published_revision": page.revision} if stale else body
            return await super(LivePreview, self)._action(context_id, fresh)

        return await self._world.env.act(act())

    async def _prepare_asset(
        self, context_id: str | None, asset_id: str, **options: Any
    ) -> tuple[str, bytes, str]:
        """Draw a waveform relative to its loudest part; simcord drops the one that the bot sent."""
        prepared = await super()._prepare_asset(context_id, asset_id, **options)
        record = self._get_page(context_id).assets[asset_id]
        if loudest := max(record.waveform, default=0):
            record.waveform = tuple(100 * part // loudest for part in record.waveform)
        return prepared


class _Server(PreviewServer):
    async def _static(self, request: web.Request) -> web.Response:
        response: web.Response = await super()._static(request)
        if request.path == "/preview.css":
            response.text = f"{response.text}{_RULES}"
        return response


def _end_quotes(text: str) -> str:
    """End a quote with its line, as Discord does; simcord's Markdown goes on with the next."""
    return _AFTER_QUOTE.sub(r"\1\n", _expand_quotes(text))
