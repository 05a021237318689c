"""The simulated Discord, running live: real time, real processes, edits as they come.

simcord is made for tests: time stands still until the bot has nothing left to do. This module owns
what lets a person use it instead: a wall clock, the real event loop, and actions that return as
soon as the bot has answered. It reaches into simcord's private parts, which is why its version is
pinned exactly. Nothing of ours is changed for it: the bot that runs here is the bot that runs
against Discord.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import discord
import simcord
from simcord._clock import Clock
from simcord._dpy_internals import release_clocks
from simcord._runtime import _restore_loop
from simcord.backend import Backend
from simcord.backend.models import Interaction

from models.errors import HandlerError

ACKNOWLEDGE_S: Final = 3.0
"""Discord drops an interaction that was not answered for so long."""

_LOOK_AGAIN_S: Final = 0.01

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
