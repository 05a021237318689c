from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.db.session import Database
from tests.services.limits_bench import Bench


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'sextant.db'}")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def bench(database: Database) -> Bench:
    bench = Bench(database)
    await bench.allowances.load()
    return bench
