from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.db.session import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'sextant.db'}")
    await database.open()
    yield database
    await database.close()
