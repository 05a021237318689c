"""What moderators set, and who changed it: the tables ``settings`` and ``setting_changes``.

This module owns both tables. It must not know which settings exist or what their values mean: a
value is JSON here (``bot.services.server_settings``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, select

from bot.db.session import Database
from bot.db.tables import SettingChangeTable, SettingTable


@dataclass(frozen=True, slots=True)
class StoredSetting:
    """A value that is set. ``channel_id`` is 0 for the whole server."""

    guild_id: int
    channel_id: int
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One change: who, when (Unix seconds), from what to what (JSON; None for unset)."""

    guild_id: int
    channel_id: int
    user_id: int
    key: str
    old_value: str | None
    new_value: str | None
    changed_at: float


class SettingRepository:
    """Reads all values, and writes one together with the record of its change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[StoredSetting]:
        """Return every value of every server."""
        async with self._database.reading() as session:
            return [
                StoredSetting(row.guild_id, row.channel_id, row.key, row.value)
                for row in await session.scalars(select(SettingTable))
            ]

    async def write(
        self, key: str, value: str | None, *, guild_id: int, channel_id: int, user_id: int
    ) -> None:
        """Set a value, or unset it with None, and record the change in the same transaction."""
        async with self._database.session() as session:
            row = await session.get(SettingTable, (guild_id, channel_id, key))
            session.add(
                SettingChangeTable(
                    changed_at=time.time(),
                    guild_id=guild_id,
                    channel_id=channel_id,
                    user_id=user_id,
                    key=key,
                    old_value=row.value if row else None,
                    new_value=value,
                )
            )
            if value is not None:
                await session.merge(
                    SettingTable(guild_id=guild_id, channel_id=channel_id, key=key, value=value)
                )
            elif row is not None:
                await session.delete(row)

    async def changes(self, guild_id: int, limit: int) -> list[SettingChange]:
        """Return the latest changes of a server, newest first."""
        query = (
            select(SettingChangeTable)
            .where(SettingChangeTable.guild_id == guild_id)
            .order_by(SettingChangeTable.id.desc())
            .limit(limit)
        )
        async with self._database.reading() as session:
            return [
                SettingChange(
                    guild_id=row.guild_id,
                    channel_id=row.channel_id,
                    user_id=row.user_id,
                    key=row.key,
                    old_value=row.old_value,
                    new_value=row.new_value,
                    changed_at=row.changed_at,
                )
                for row in await session.scalars(query)
            ]

    async def changed_at(self, key: str, *, guild_id: int, channel_id: int) -> float | None:
        """Return when a key was last changed for a channel or its whole server."""
        query = select(func.max(SettingChangeTable.changed_at)).where(
            SettingChangeTable.guild_id == guild_id,
            SettingChangeTable.channel_id.in_((0, channel_id)),
            SettingChangeTable.key == key,
        )
        async with self._database.reading() as session:
            found: float | None = await session.scalar(query)
            return found
