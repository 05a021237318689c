"""Small facts about this installation, and how far each channel has been looked at.

This module owns the tables ``instance`` and ``channel_cursors``.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select

from bot.db.session import Database
from bot.db.tables import ChannelCursorTable, InstanceTable


class InstanceRepository:
    """Reads and writes both tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> str | None:
        """Return a fact, None when it was never set."""
        async with self._database.reading() as session:
            row = await session.get(InstanceTable, key)
            return row.value if row else None

    async def set(self, key: str, value: str) -> None:
        """Write a fact."""
        async with self._database.session() as session:
            await session.merge(InstanceTable(key=key, value=value))

    async def cursors(self) -> dict[int, int]:
        """Return the last message that was looked at, by channel."""
        async with self._database.reading() as session:
            rows = await session.scalars(select(ChannelCursorTable))
            return {row.channel_id: row.message_id for row in rows}

    async def move_cursor(self, *, guild_id: int, channel_id: int, message_id: int) -> None:
        """Note that a message was looked at. Never moves backwards."""
        async with self._database.session() as session:
            row = await session.get(ChannelCursorTable, channel_id)
            if row is None:
                session.add(
                    ChannelCursorTable(
                        channel_id=channel_id, guild_id=guild_id, message_id=message_id
                    )
                )
            else:
                row.message_id = max(row.message_id, message_id)

    async def forget_cursors(self, channel_ids: Sequence[int]) -> None:
        """Delete the cursors of channels that are not looked at any more."""
        async with self._database.session() as session:
            await session.execute(
                delete(ChannelCursorTable).where(ChannelCursorTable.channel_id.in_(channel_ids))
            )
