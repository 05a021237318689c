"""The simulated Discord, running live: real time, real processes, edits as they come.

simcord is made for tests: time stands still until the bot has nothing left to do. This module owns
what lets a person use it instead: a wall clock, the real event loop, actions that return as soon as
the bot has answered, and pages that follow the channel. It reaches into simcord's private parts,
which is why its version is pinned exactly. Nothing of ours is changed for it: the bot that runs
here is the bot that runs against Discord.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import discord
import simcord
from simcord._clock import Clock
from simcord._dpy_internals import release_clocks
from simcord._runtime import _restore_loop
from simcord.backend import Backend
from simcord.backend.models import Interaction
from simcord.preview import Preview, _markdown

from models.errors import HandlerError

ACKNOWLEDGE_S: Final = 3.0
"""Discord drops an interaction that was not answered for so long."""

_PUBLISH_EVERY_S: Final = 0.1
_LOOK_AGAIN_S: Final = 0.01

_AFTER_QUOTE: Final = re.compile(r"^( {0,3}>.*\n)(?=[^>\n])", re.MULTILINE)
_expand_quotes: Final = _markdown._discord_multiline_quotes

T = TypeVar("T")


class _WallClock(Clock):
    """The time of day, where simcord's own clock waits to be told."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class LiveEnv(simcord.Env):
    """A simulated Discord in real time.

    Members act through ``act``, one at a time, since simcord refuses actions that overlap.
    """

    def __init__(self, bot: discord.Client, **options: Any) -> None:
        super().__init__(bot, check_errors=False, **options)
        self.backend = Backend(clock=_WallClock())
        self._acting = asyncio.Lock()
        self._newest: Interaction | None = None
        self._register_dispatch_observer(self._remember)

    async def act(self, action: Awaitable[T]) -> T:
        """Let a member do something, after whoever is doing something now."""
        async with self._acting:
            return await action

    def preview(self, *args: Any, **options: Any) -> Preview:
        """Return simcord's page, made to bear a channel that changes while somebody acts.

        A page refuses an action that refers to an older revision than the newest, and a streamed
        answer makes several revisions a second. What is acted on is looked up again anyway.
        """
        _markdown._discord_multiline_quotes = _end_quotes
        preview = super().preview(*args, **options)
        admit = preview._action

        async def action(context_id: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
            async with self._acting:
                if "published_revision" in body:
                    revision = preview._get_page(context_id).revision
                    body = {**body, "published_revision": revision}
                return await admit(context_id, body)

        preview._action = action  # type: ignore[method-assign]
        return preview

    async def publish(self, preview: Preview) -> None:
        """Show every page of the preview what has changed, until cancelled."""
        seen = 0
        while True:
            if seen != (seen := len(self.backend.transcript)):
                preview._advance_presentation_time()
                preview._publish_message_pages(reason="refresh")
            await asyncio.sleep(_PUBLISH_EVERY_S)

    def _remember(self, interaction: Interaction) -> None:
        self._newest = interaction

    def _capture_errors(self) -> None:
        """Called between simcord's hooks and the bot's login: take the time hooks out again."""
        super()._capture_errors()
        _restore_loop(self)
        release_clocks(self)

    def _record_error(self, error: BaseException) -> None:
        """Leave out what the bot tells its member in a sentence: that is an answer, no fault."""
        if not isinstance(getattr(error, "original", error), HandlerError):
            super()._record_error(error)

    async def _settle_internal(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        idle: float = _LOOK_AGAIN_S,
        dispatch: str | None = None,
        _deadline: float | None = None,
    ) -> None:
        """Return when the newest interaction was answered, not when its work is done."""
        interaction, self._newest = self._newest, None
        for _ in range(round(ACKNOWLEDGE_S / _LOOK_AGAIN_S)):
            await asyncio.sleep(_LOOK_AGAIN_S)
            if interaction is None or interaction.responded:
                return


def _end_quotes(text: str) -> str:
    """End a quote with its line, as Discord does; simcord's Markdown goes on with the next."""
    return _AFTER_QUOTE.sub(r"\1\n", _expand_quotes(text))
