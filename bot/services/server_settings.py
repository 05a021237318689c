"""What moderators set inside Discord: per server, and per channel where that makes sense.

This module owns the values in force (``setting_registry``: which there are). A channel's value
beats the server's, which beats the default. Reading touches memory alone, so that an interaction
can be refused before anything touches the disk; each change is stored and recorded first.
What the owner sets is ``bot.settings``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bot.db.settings import SettingChange, SettingRepository
from bot.services.role_limits import PREFIX as ROLE_PREFIX
from bot.services.setting_registry import SETTINGS, Setting, Value
from bot.services.styles import PREFIX as STYLE_PREFIX
from models.catalog import Catalog
from models.errors import HandlerError, InvalidRequest

_log = logging.getLogger(__name__)

Origin = Literal["channel", "server", "default"]


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """A setting with the value that counts somewhere, and where that value comes from."""

    setting: Setting
    value: Value
    origin: Origin

    @property
    def shown(self) -> str:
        return self.setting.show(self.value)


@dataclass(frozen=True, slots=True)
class ShownChange:
    """A recorded change as moderators read it. ``channel_id`` is 0 for the whole server."""

    key: str
    user_id: int
    channel_id: int
    changed_at: float
    old: str
    new: str


class ServerSettings:
    """The values in force, in memory, and the only way to change them.

    Args:
        repository: Where they are stored.
        catalog: The models that a setting may name.
        registry: Which settings there are, within the owner's bounds.
    """

    def __init__(
        self,
        repository: SettingRepository,
        catalog: Catalog,
        registry: Mapping[str, Setting] = SETTINGS,
    ) -> None:
        self.registry = registry
        self._repository = repository
        self._catalog = catalog
        self._values: dict[tuple[int, int, str], Value] = {}
        self._watchers: dict[str, Callable[[int, Value], None]] = {}
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read every stored value. One that no longer fits is left out, so its default counts."""
        self._values.clear()
        for row in await self._repository.all():
            if row.key.startswith((STYLE_PREFIX, ROLE_PREFIX)):
                continue
            setting = self.registry.get(row.key)
            try:
                if setting is None:
                    raise InvalidRequest("there is no such setting any more")
                value = setting.parse(_as_text(json.loads(row.value)), self._catalog)
            except HandlerError as error:
                _log.warning(
                    "ignored %s of server %d: %s", row.key, row.guild_id, error.user_message
                )
                continue
            self._values[row.guild_id, row.channel_id, row.key] = value

    def watch(self, key: str, watcher: Callable[[int, Value], None]) -> None:
        """Have the values of servers told: now those that are set, later each that has changed.

        Args:
            key: A setting that no channel has for itself.
            watcher: Takes a server's id and the value that counts there.
        """
        self._watchers[key] = watcher
        for (guild_id, _, each), value in self._values.items():
            if each == key:
                watcher(guild_id, value)

    def get(self, key: str, guild_id: int, channel_id: int = 0) -> Value:
        """Return the value in force. For a thread, pass the channel that it belongs to."""
        return self._in_force(self.registry[key], guild_id, channel_id).value

    def servers_with(self, key: str) -> list[int]:
        """Return the servers that have set something for themselves."""
        return [server for server, channel, each in self._values if each == key and not channel]

    def overview(self, guild_id: int, channel_id: int = 0) -> list[SettingInForce]:
        """Return every setting with the value that counts in a channel, or in the server."""
        return [self._in_force(setting, guild_id, channel_id) for setting in self.registry.values()]

    async def set(
        self, key: str, text: str, *, guild_id: int, channel_id: int = 0, user_id: int
    ) -> SettingInForce:
        """Set a value from what a moderator typed; it counts as soon as this returns.

        Raises:
            InvalidRequest: There is no such setting, the value does not fit it, or it cannot
                differ between channels.
            ModelUnavailable: There is no such model.
        """
        setting = self._setting(key, guild_id, channel_id)
        value = setting.parse(text, self._catalog)
        async with self._writing:
            await self._repository.write(
                key,
                json.dumps(value),
                guild_id=guild_id,
                channel_id=channel_id,
                user_id=user_id,
            )
            self._values[guild_id, channel_id, key] = value
            self._tell(key, guild_id)
        return self._in_force(setting, guild_id, channel_id)

    async def reset(
        self, key: str, *, guild_id: int, channel_id: int = 0, user_id: int
    ) -> SettingInForce:
        """Take back what a server or channel has set; return what counts there now.

        Raises:
            InvalidRequest: There is no such setting, or nothing is set there.
        """
        setting = self._setting(key, guild_id, channel_id)
        async with self._writing:
            if (guild_id, channel_id, key) not in self._values:
                place = "this channel" if channel_id else "this server"
                raise InvalidRequest(f"`{key}` is not set for {place}, so nothing has changed.")
            await self._repository.write(
                key, None, guild_id=guild_id, channel_id=channel_id, user_id=user_id
            )
            del self._values[guild_id, channel_id, key]
            self._tell(key, guild_id)
        return self._in_force(setting, guild_id, channel_id)

    async def changes(self, guild_id: int, limit: int = 15) -> list[ShownChange]:
        """Return the latest changes of a server, newest first."""
        return [self._shown(change) for change in await self._repository.changes(guild_id, limit)]

    async def changed_at(self, key: str, guild_id: int, channel_id: int) -> float | None:
        """Return when a setting was last changed for a channel or its server (Unix seconds)."""
        return await self._repository.changed_at(key, guild_id=guild_id, channel_id=channel_id)

    def _tell(self, key: str, guild_id: int) -> None:
        if watcher := self._watchers.get(key):
            watcher(guild_id, self.get(key, guild_id))

    def _in_force(self, setting: Setting, guild_id: int, channel_id: int) -> SettingInForce:
        channel = self._values.get((guild_id, channel_id, setting.key)) if channel_id else None
        if channel is not None:
            return SettingInForce(setting, channel, "channel")
        server = self._values.get((guild_id, 0, setting.key))
        if server is not None:
            return SettingInForce(setting, server, "server")
        return SettingInForce(setting, setting.default, "default")

    def _setting(self, key: str, guild_id: int, channel_id: int) -> Setting:
        setting = self.registry.get(key)
        if setting is None:
            raise InvalidRequest(
                f"There is no setting called `{key[:60]}`. Pick one from the list."
            )
        if not guild_id:
            raise InvalidRequest(
                "Settings belong to a server, so there are none in direct messages."
            )
        if channel_id and not setting.channel_scope:
            raise InvalidRequest(f"`{key}` counts for the whole server; leave the channel out.")
        return setting

    def _shown(self, change: SettingChange) -> ShownChange:
        return ShownChange(
            key=change.key,
            user_id=change.user_id,
            channel_id=change.channel_id,
            changed_at=change.changed_at,
            old=self._shown_value(change.key, change.old_value),
            new=self._shown_value(change.key, change.new_value),
        )

    def _shown_value(self, key: str, stored: str | None) -> str:
        if stored is None:
            return "not set"
        value = json.loads(stored)
        setting = self.registry.get(key)
        if setting:
            return setting.show(value)
        if key.startswith(STYLE_PREFIX):
            return ", ".join(filter(None, value.values())) if value else "removed"
        return str(value)


def _as_text(value: Value) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
