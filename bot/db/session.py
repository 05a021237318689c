"""The database: its connections, its transactions and its schema.

This module owns how the database is opened, and that nobody uses it whose lock is lost. It must not
know any table: ``bot.db.tables`` holds the schema, one repository per aggregate the statements.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

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

from bot.db.commits import GroupCommits, T, Unit
from bot.db.locks import (
    AdvisoryLock,
    DatabaseUnavailable,
    FileLock,
    InstanceLock,
    InstanceRunning,
)

__all__ = [
    "Database",
    "DatabaseUnavailable",
    "InstanceLost",
    "InstanceRunning",
]

_log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS: Final = 15_000
"""How long a statement waits for another connection's lock; a backup may take 10 s."""

WATCH_S: Final = 5.0
"""How often the lock is looked at where it can get lost."""

_MIGRATIONS = Path(__file__).resolve().parents[2] / "alembic"
_READ_ONLY: Final = "sextant_read_only"


class InstanceLost(DatabaseUnavailable, SQLAlchemyError):
    """The lock was lost, so that another process may have taken the database over."""


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
        self._commits = GroupCommits(self._begin, self.session)
        self._lock: InstanceLock = AdvisoryLock(self._engine)
        self._lost = False
        self._watching: asyncio.Task[None] | None = None
        self._writers_turn: AbstractAsyncContextManager[None] = nullcontext()
        if self._is_sqlite:
            self._lock = FileLock(_file_of(self.url))
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
            if not self._is_sqlite:  # the kernel takes no file lock away
                self._watching = asyncio.create_task(self._watch_lock(), name="instance lock")
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

        Raises:
            InstanceLost: Another process may use the database now.
        """
        async with self._writers_turn:
            self._check_lock()
            async with self._sessions.begin() as session:
                yield session

    async def write(self, unit: Unit[T]) -> T:
        """Have statements committed together with those of others who write now.

        What a job writes on its way goes through here: a commit waits for the disk. A unit that
        raises leaves no trace, and fails alone.

        Raises:
            InstanceLost: Another process may use the database now.
        """
        return await self._commits.write(unit)

    async def ping(self) -> None:
        """Write nothing, in a writer's turn.

        Raises:
            InstanceLost: The instance lock is not ours any more.
            DBAPIError: It does not take a transaction.
        """
        async with self.session() as session:
            await session.execute(text("SELECT 1"))
        if not await self._lock.held():
            raise InstanceLost("the instance lock is lost")

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that only reads, and so never waits for a writer.

        Raises:
            InstanceLost: Another process may use the database now.
        """
        self._check_lock()
        async with self._sessions() as session:
            await session.connection(execution_options={_READ_ONLY: True})
            yield session

    async def close(self) -> None:
        """Commit what waits, close every connection, then give the instance lock back."""
        await self._commits.close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
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

    @contextlib.asynccontextmanager
    async def _begin(self) -> AsyncIterator[AsyncConnection]:
        async with self._writers_turn:
            self._check_lock()
            async with self._engine.begin() as connection:
                yield connection

    def _check_lock(self) -> None:
        if self._lost:
            raise InstanceLost("the instance lock is lost")

    async def _watch_lock(self) -> None:
        """Stop everything while the lock is not ours, and try to get it back."""
        while True:
            await asyncio.sleep(WATCH_S)
            if not self._lost and await self._lock.held():
                continue
            if not self._lost:
                _log.error("the lock on the database is lost: nothing is read or written")
            self._lost = True
            try:
                await self._lock.acquire()
            except (InstanceRunning, DBAPIError) as error:
                _log.error("the lock on the database cannot be had: %s", error)
            else:
                self._lost = False
                _log.warning("the lock on the database is ours again")


def _has_revision(connection: Connection) -> bool:
    return inspect(connection).has_table("alembic_version")


def make_engine(url: URL, *, foreign_keys: bool = True) -> AsyncEngine:
    """Return an engine, with SQLite's settings where it is SQLite."""
    if url.get_backend_name() != "sqlite":
        engine = create_async_engine(url, pool_pre_ping=True)
        _translate_refusals(engine)
        return engine
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


def _translate_refusals(engine: AsyncEngine) -> None:
    """Have a server that cannot be reached raise what one does that fails later.

    asyncpg's own exceptions and the network's would go past everybody who waits for a database to
    come back.
    """

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Any, record: object, arguments: Any, options: Any) -> Any:
        driver = dialect.loaded_dbapi
        try:
            return dialect.connect(*arguments, **options)
        except (OSError, driver.asyncpg.PostgresError) as error:
            raise driver.OperationalError(str(error)) from error


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
