"""The bot: what it asks Discord for, what it loads, and what it syncs.

This module owns the connection's shape. It makes nothing that it needs: ``bot.app`` hands the
services over, and closes them. It keeps no messages and no members in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import pkgutil
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord.ext import commands

import cogs
from bot.invite import intents
from bot.services.container import Services
from bot.tree import SextantTree, tell_author
from bot.views.buttons import BUTTONS
from bot.views.pictures import PICTURE_BUTTONS
from models.errors import HandlerError

_log = logging.getLogger(__name__)

_LONGEST_LATENCY_S = 30.0


class Sextant(commands.AutoShardedBot):
    """The bot. ``attach`` comes before it is started.

    Args:
        shard_count: None asks Discord.
    """

    services: Services

    def __init__(self, *, shard_count: int | None = None) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=SextantTree,
            intents=intents(),
            allowed_mentions=discord.AllowedMentions.none(),
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            shard_count=shard_count,
        )
        self._begin: Callable[[], Awaitable[None]] | None = None
        self._connected: set[int] = set()

    def attach(self, services: Services, begin: Callable[[], Awaitable[None]]) -> None:
        """Hand over what the cogs use, and what is to be started once they are loaded."""
        self.services = services
        self._begin = begin

    async def setup_hook(self) -> None:
        """Load the cogs, sync the commands if need be, and start the work in the background."""
        self.add_dynamic_items(*BUTTONS, *PICTURE_BUTTONS)
        for cog in pkgutil.iter_modules(cogs.__path__):
            await self.load_extension(f"cogs.{cog.name}")
        await self._sync_commands()
        if self._begin is not None:
            await self._begin()

    def gateway_trouble(self) -> str:
        """Return why events of Discord do not arrive, empty while they do."""
        if not self.is_ready():
            return "it is not connected yet"
        away = [
            str(number)
            for number, shard in self.shards.items()
            if number not in self._connected or shard.is_closed()
        ]
        if away:
            return f"shard {', '.join(away)} of {len(self.shards)} is not connected"
        slowest_s = max((latency_s for _, latency_s in self.latencies), default=math.inf)
        if slowest_s < _LONGEST_LATENCY_S:
            return ""
        return f"a heartbeat took {slowest_s:.0f} s" if math.isfinite(slowest_s) else "no heartbeat"

    async def on_shard_ready(self, shard_id: int) -> None:
        """Note that a session was begun."""
        self._connected.add(shard_id)

    async def on_shard_resumed(self, shard_id: int) -> None:
        """Note that a session goes on."""
        self._connected.add(shard_id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        """Note that a session is interrupted, or has ended."""
        self._connected.discard(shard_id)

    async def close(self) -> None:
        """Disconnect. A sharded client that never got as far as its login has nothing to close."""
        if isinstance(self.loop, asyncio.AbstractEventLoop):  # a sentinel until then
            await super().close()

    async def on_message(self, message: discord.Message, /) -> None:
        """Leave messages to the cogs: there are no commands with a prefix."""

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """Log what a listener raised; the author of a message reads a sentence meant for people."""
        error = sys.exc_info()[1]
        if isinstance(error, HandlerError) and args and isinstance(args[0], discord.Message):
            await tell_author(args[0], error, where=event_method)
        else:
            _log.error("%s failed", event_method, exc_info=error)

    async def _sync_commands(self) -> None:
        """Tell Discord about the commands, unless it knows this definition of them already."""
        key = f"commands:{self.application_id}"
        definition = [command.to_dict(self.tree) for command in self.tree.get_commands()]
        checksum = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
        if await self.services.instance.get(key) == checksum:
            return
        try:
            synced = await self.tree.sync()
        except discord.HTTPException as error:
            _log.error("the commands could not be synced, so old ones may show: %s", error)
            return
        await self.services.instance.set(key, checksum)
        _log.info("synced %d commands", len(synced))
