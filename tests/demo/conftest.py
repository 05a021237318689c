from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.demo.world import World, open_world
from tests.demo.plain_bot import PlainBot


@pytest.fixture
async def plain_world() -> AsyncIterator[World]:
    """A simulated Discord in real time, with a bot of a few lines."""
    async with open_world(PlainBot()) as world:
        yield world
