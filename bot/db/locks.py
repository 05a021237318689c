"""The lock that lets one bot at a time use a database.

This module owns how it is taken, and how its loss is noticed. What follows a loss is decided by
``bot.db.session``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

TAKE_OVER_S: Final = 3.0
"""So long PostgreSQL may need to notice that the last bot was killed."""

_LOOK_AGAIN_S = 0.1
_ANSWER_S = 5.0
_KEY = 0x5E7_7A47


class DatabaseUnavailable(Exception):
    """The database cannot be opened; the message says why."""


class InstanceRunning(DatabaseUnavailable):
    """Another process uses it; the message says which, and what to do."""


class InstanceLock(Protocol):
    """Held by one process at a time."""

    async def acquire(self) -> None:
        """Take it.

        Raises:
            InstanceRunning: Another process has it.
        """

    async def held(self) -> bool:
        """Return whether it is still ours, where another process would look."""

    async def release(self) -> None:
        """Give it back, held or not."""


class FileLock:
    """A lock on a file beside the database. The kernel drops it with the process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(f"{database.name}.lock")
        self._file: int | None = None

    async def acquire(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise InstanceRunning(
                f"Another Sextant (process {owner}) already runs on {self._database}. "
                "Stop it first, or give this one a data_dir of its own."
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode("ascii"), 0)
        self._file = file

    async def held(self) -> bool:
        if self._file is None or not self._path.exists():
            return False
        return os.path.samestat(os.fstat(self._file), self._path.stat())

    async def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class AdvisoryLock:
    """PostgreSQL's lock of an application, held by a connection that is kept open."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()  # a connection answers one question at a time

    async def acquire(self) -> None:
        async with self._turn:
            await self._drop()
            end = time.monotonic() + TAKE_OVER_S
            while not await self._try():
                if time.monotonic() > end:
                    raise InstanceRunning(
                        f"Another Sextant already runs on {self._engine.url.render_as_string()}. "
                        "Stop it first, or give this one a database of its own."
                    )
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def held(self) -> bool:
        async with self._turn:
            if self._connection is None:
                return False
            query = text(
                "SELECT count(*) FROM pg_locks"
                " WHERE locktype = 'advisory' AND objid = :key AND pid = pg_backend_pid()"
            ).bindparams(key=_KEY)
            try:
                async with asyncio.timeout(_ANSWER_S):
                    found = (await self._connection.execute(query)).scalar_one()
                    await self._connection.commit()
            except (SQLAlchemyError, TimeoutError):  # it was lost, and the lock with it
                return False
            return bool(found)

    async def release(self) -> None:
        async with self._turn:
            await self._drop()

    async def _try(self) -> bool:
        connection = await self._engine.connect()
        statement = text("SELECT pg_try_advisory_lock(:key)").bindparams(key=_KEY)
        try:
            if (await connection.execute(statement)).scalar_one():
                await connection.commit()
                self._connection, connection = connection, None  # type: ignore[assignment]
        finally:
            if connection is not None:
                await connection.close()
        return self._connection is not None

    async def _drop(self) -> None:
        if self._connection is not None:
            lost, self._connection = self._connection, None
            await lost.invalidate()  # back in the pool it would hold the lock
            await lost.close()
