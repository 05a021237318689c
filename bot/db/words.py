"""What the repositories of jobs share: the states of jobs that live, and the engine's words.

This module must not hold a statement.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, cast

from sqlalchemy import CursorResult, Executable
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.session import Database
from bot.engine.job import JobState
from bot.engine.journal import JournalUnavailable

LIVE: Final = (JobState.QUEUED, JobState.RUNNING)


@contextlib.contextmanager
def in_the_engines_words() -> Iterator[None]:
    """Tell the engine in its own words that the database is out of reach."""
    try:
        yield
    except SQLAlchemyError as error:
        raise JournalUnavailable(str(getattr(error, "orig", None) or error)) from error


@contextlib.asynccontextmanager
async def writing(database: Database) -> AsyncIterator[AsyncSession]:
    """Open a transaction that may write.

    Raises:
        JournalUnavailable: The database is out of reach.
    """
    with in_the_engines_words():
        async with database.session() as session:
            yield session


@contextlib.asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncSession]:
    """Open a transaction that only reads.

    Raises:
        JournalUnavailable: The database is out of reach.
    """
    with in_the_engines_words():
        async with database.reading() as session:
            yield session


async def changed(session: AsyncSession, statement: Executable) -> int:
    """Execute a statement and return how many rows it changed."""
    return cast("CursorResult[Any]", await session.execute(statement)).rowcount
