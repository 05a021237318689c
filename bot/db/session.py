"""The database: its connections, its transactions, its schema and its lock.

This module owns how the database is opened. It must not know any table: ``bot.db.tables`` holds the
schema, one repository per aggregate the statements.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Connection, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

_log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS: Final = 15_000
"""How long a statement waits for another connection's lock; a backup may take 10 s."""

_ADVISORY_KEY: Final = 0x5E7_7A47
_MIGRATIONS = Path(__file__).resolve().parents[2] / "alembic"
_READ_ONLY: Final = "sextant_read_only"


class DatabaseUnavailable(Exception):
    """The database cannot be opened; the message says why."""


class InstanceRunning(DatabaseUnavailable):
    """Another process uses it; the message says which, and what to do."""


class _Lock(Protocol):
    async def acquire(self) -> None: ...

    async def held(self) -> bool: ...

    async def release(self) -> None: ...


class Database:
    """A database of this installation.

    Args:
        url: SQLAlchemy URL with an asynchronous driver.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self._is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = make_engine(self.url)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._lock: _Lock = _AdvisoryLock(self._engine)
        self._writers_turn: AbstractAsyncContextManager[None] = nullcontext()
        if self._is_sqlite:
            self._lock = _FileLock(_file_of(self.url))
            # SQLite has one writer at a time and lets the others poll; a queue of our own is
            # about ten times as fast.
            self._writers_turn = asyncio.Lock()

    async def open(self) -> None:
        """Take the instance lock and bring the schema up to date.

        Raises:
            InstanceRunning: Another process has the database open.
            DatabaseUnavailable: It is not there, or cannot be written.
        """
        try:
            if self._is_sqlite:
                _file_of(self.url).parent.mkdir(parents=True, exist_ok=True)
            await self._lock.acquire()
            if await self.revision() != newest_revision():
                await asyncio.to_thread(upgrade, self.url)
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError | DBAPIError):
                reason = getattr(error, "orig", None) or error
                raise DatabaseUnavailable(
                    f"{_named(self.url)} cannot be opened: {reason}."
                ) from error
            raise

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction: committed at the end of the block, rolled back on an exception.

        Not inside another one: SQLite has one writer at a time.
        """
        async with self._writers_turn, self._sessions.begin() as session:
            yield session

    async def ping(self) -> None:
        """Write nothing, in a writer's turn.

        Raises:
            DatabaseUnavailable: The instance lock is not ours any more.
            DBAPIError: It does not take a transaction.
        """
        async with self.session() as session:
            await session.execute(text("SELECT 1"))
        if not await self._lock.held():
            raise DatabaseUnavailable("the instance lock is lost")

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that only reads, and so never waits for a writer."""
        async with self._sessions() as session:
            await session.connection(execution_options={_READ_ONLY: True})
            yield session

    async def close(self) -> None:
        """Close every connection, then give the instance lock back."""
        await self._engine.dispose()
        await self._lock.release()

    async def revision(self) -> str | None:
        """Return the revision of the schema, None for an empty database."""
        async with self.reading() as session:
            connection = await session.connection()
            if not await connection.run_sync(_has_revision):
                return None
            found: str | None = await session.scalar(
                text("SELECT version_num FROM alembic_version")
            )
            return found


def _has_revision(connection: Connection) -> bool:
    return inspect(connection).has_table("alembic_version")


def make_engine(url: URL, *, foreign_keys: bool = True) -> AsyncEngine:
    """Return an engine, with SQLite's settings where it is SQLite."""
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True)
    engine = create_async_engine(url)
    _configure_sqlite(engine, foreign_keys=foreign_keys)
    return engine


def newest_revision() -> str:
    """Return the revision that the program needs: migrations are numbered by their file names.

    Asking Alembic would cost a third of a second at each start.
    """
    return max(file.name.partition("_")[0] for file in _MIGRATIONS.glob("versions/[0-9]*.py"))


def is_absent(url: URL) -> bool:
    """Return whether this is SQLite's file before the first start made it."""
    return url.get_backend_name() == "sqlite" and not _file_of(url).exists()


def upgrade(url: URL) -> None:
    """Bring a database to the newest schema. Blocks; needs a thread without an event loop.

    Raises:
        DatabaseUnavailable: A newer program wrote it.
    """
    from alembic.util import CommandError

    from alembic import command

    try:
        command.upgrade(migration_config(url), "head")
    except CommandError as error:
        raise DatabaseUnavailable(
            f"{_named(url)} was written by a newer Sextant ({error}). "
            "Update the program, or put the backup of the database back."
        ) from error


def schema_differences(url: URL) -> None:
    """Compare a database with the tables of the program.

    Raises:
        alembic.util.CommandError: They differ, or migrations are missing.
    """
    from alembic import command

    command.check(migration_config(url))


def migration_config(url: URL) -> Any:
    """Return Alembic's configuration for a database."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = url
    return config


def _named(url: URL) -> str:
    """Return a database's name for a person, without its password."""
    return f"The database {url.render_as_string(hide_password=True)}"


def _file_of(url: URL) -> Path:
    return Path(url.database or "sextant.db")


def _configure_sqlite(engine: AsyncEngine, *, foreign_keys: bool) -> None:
    """Set what SQLite needs on each connection, and begin transactions ourselves.

    The driver would begin late and only for writing statements. A writer begins IMMEDIATE: one that
    reads first and writes then fails at once on a busy database instead of waiting.
    """

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Any) -> None:
        read_only = connection.get_execution_options().get(_READ_ONLY)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


class _FileLock:
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
        """Whether it is locked where another process would look."""
        if self._file is None or not self._path.exists():
            return False
        return os.path.samestat(os.fstat(self._file), self._path.stat())

    async def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class _AdvisoryLock:
    """PostgreSQL's lock of an application, held by a connection that is kept open."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None

    async def acquire(self) -> None:
        connection = await self._engine.connect()
        statement = text("SELECT pg_try_advisory_lock(:key)").bindparams(key=_ADVISORY_KEY)
        if not (await connection.execute(statement)).scalar_one():
            await connection.close()
            raise InstanceRunning(
                f"Another Sextant already runs on {self._engine.url.render_as_string()}. "
                "Stop it first, or give this one a database of its own."
            )
        await connection.commit()
        self._connection = connection

    async def held(self) -> bool:
        """Whether its connection still is the one that took it."""
        if self._connection is None:
            return False
        query = text(
            "SELECT count(*) FROM pg_locks"
            " WHERE locktype = 'advisory' AND objid = :key AND pid = pg_backend_pid()"
        ).bindparams(key=_ADVISORY_KEY)
        try:
            found = (await self._connection.execute(query)).scalar_one()
            await self._connection.commit()
        except SQLAlchemyError:  # it was lost, and the lock with it
            return False
        return bool(found)

    async def release(self) -> None:
        if self._connection is not None:
            await self._connection.invalidate()  # back in the pool it would hold the lock
            await self._connection.close()
            self._connection = None
