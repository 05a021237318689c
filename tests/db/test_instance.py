"""Facts about the installation, and cursors that never move backwards."""

from __future__ import annotations

import pytest

from bot.db.instance import InstanceRepository
from bot.db.session import Database


@pytest.fixture
def repository(database: Database) -> InstanceRepository:
    return InstanceRepository(database)


async def test_a_fact_is_kept_and_replaced(repository: InstanceRepository) -> None:
    assert await repository.get("commands:1") is None
    await repository.set("commands:1", "a")
    await repository.set("commands:1", "b")
    await repository.set("commands:2", "c")
    assert await repository.get("commands:1") == "b"


async def test_a_cursor_only_moves_on(repository: InstanceRepository) -> None:
    for message_id in (100, 300, 200):
        await repository.move_cursor(guild_id=1, channel_id=2, message_id=message_id)
    await repository.move_cursor(guild_id=1, channel_id=3, message_id=50)
    assert await repository.cursors() == {2: 300, 3: 50}


async def test_a_cursor_is_forgotten(repository: InstanceRepository) -> None:
    await repository.move_cursor(guild_id=1, channel_id=2, message_id=100)
    await repository.move_cursor(guild_id=1, channel_id=3, message_id=100)
    await repository.forget_cursors([2])
    assert await repository.cursors() == {3: 100}
