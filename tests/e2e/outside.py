"""A bot's database, looked at from outside while the bot may be running.

This module owns the connections of tests; it must not use the bot's code, which is what is tested.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Rows = list[tuple[Any, ...]]


class Outside(Protocol):
    """A connection that blocks."""

    def rows(self, query: str) -> Rows:
        """Read."""

    def execute(self, *statements: str) -> None:
        """Change something."""

    def close(self) -> None:
        """Let go of it."""


class SqliteOutside:
    """A file of SQLite, opened for each question."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def rows(self, query: str) -> Rows:
        address = f"file:{self._file}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=20)) as database:
            return database.execute(query).fetchall()

    def execute(self, *statements: str) -> None:
        with closing(sqlite3.connect(self._file, timeout=20)) as database, database:
            for statement in statements:
                database.execute(statement)

    def close(self) -> None:
        """Nothing is kept open."""


class PostgresOutside:
    """A database of PostgreSQL. Its driver is asynchronous, so a thread of its own runs it."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+asyncpg", "")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection: Any = None

    def rows(self, query: str) -> Rows:
        return [tuple(row) for row in self._run(self._fetch(query))]

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self._run(self._fetch(statement))

    def close(self) -> None:
        if self._connection is not None:
            self._run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _fetch(self, query: str) -> Any:
        if self._connection is None:
            import asyncpg  # type: ignore[import-untyped]

            self._connection = await asyncpg.connect(self._url)
        return await self._connection.fetch(query)

    def _run(self, asking: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asking, self._loop).result(60)
