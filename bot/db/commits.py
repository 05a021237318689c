"""Group commit: what several writers wait for is committed once.

A commit waits for the disk, which takes longer than all statements of a job together. This module
owns who is committed with whom; it must not know what is written.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

MOST_TOGETHER: Final = 100
"""Writers of other kinds wait for no longer a group than this."""

T = TypeVar("T")

Unit = Callable[[AsyncSession], Awaitable[T]]
"""Statements that stand or fall together. It awaits nothing but its session, and can be repeated:
a transaction that breaks is begun again."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    unit: Unit[Any]
    done: asyncio.Future[Any]

    def resolve(self, outcome: object) -> None:
        """Tell the writer, unless it waits no more."""
        if self.done.done():
            return
        if isinstance(outcome, BaseException):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class GroupCommits:
    """Commits units, all that wait at a moment in one transaction.

    Each of several has a savepoint of its own, so that one that fails leaves no trace among the
    others.

    Args:
        begin: Begins a transaction on a connection.
        session: Begins a transaction for one writer alone.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractAsyncContextManager[AsyncConnection]],
        session: Callable[[], AbstractAsyncContextManager[AsyncSession]],
    ) -> None:
        self._begin = begin
        self._session = session
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None

    async def write(self, unit: Unit[T]) -> T:
        """Have a unit committed, and return what it returned.

        A writer that is cancelled meanwhile does not learn whether it was.
        """
        waiting = _Waiting(unit, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._committing is None:
            # Whoever comes first commits for others too: its context is none of theirs.
            self._committing = asyncio.create_task(
                self._commit_all(), name="group commit", context=contextvars.Context()
            )
        return cast("T", await waiting.done)

    async def close(self) -> None:
        """Wait until nothing is left to commit."""
        while self._committing is not None:
            await asyncio.wait({self._committing})

    async def _commit_all(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._waiting:
                group, self._waiting = (
                    self._waiting[:MOST_TOGETHER],
                    self._waiting[MOST_TOGETHER:],
                )
                group = [one for one in group if not one.done.cancelled()]
                if len(group) < 2 or not await self._together(group):
                    for one in group:
                        await self._alone(one)
        finally:
            self._committing = None
            for one in (*group, *self._waiting):  # nobody, unless this task was cancelled
                one.done.cancel()
            self._waiting.clear()

    async def _together(self, group: Sequence[_Waiting]) -> bool:
        """Commit units at once; False when nothing was, and each has to be tried by itself."""
        outcomes: list[object] = []
        try:
            async with self._begin() as connection:
                for one in group:
                    outcomes.append(await _in_savepoint(connection, one.unit))
        except _Broken as broken:
            return broken.connection_lost and _resolve(group, [broken.cause] * len(group))
        except Exception as error:  # noqa: BLE001 - it did not begin, or was not committed
            return _resolve(group, [error] * len(group))
        return _resolve(group, outcomes)

    async def _alone(self, one: _Waiting) -> None:
        try:
            async with self._session() as session:
                outcome = await one.unit(session)
        except Exception as error:  # noqa: BLE001 - the writer is told
            outcome = error
        one.resolve(outcome)


class _Broken(Exception):
    """A statement failed in a way that may have ended the whole transaction.

    SQLite ends it when the disk is full, for instance, and forgets the savepoints.
    """

    def __init__(self, cause: DBAPIError) -> None:
        self.cause = cause
        super().__init__(str(cause))

    @property
    def connection_lost(self) -> bool:
        return bool(self.cause.connection_invalidated)


async def _in_savepoint(connection: AsyncConnection, unit: Unit[Any]) -> object:
    """Run a unit; return what it returned, or what it raised and left no trace of.

    Raises:
        _Broken: Nobody knows what is left of the transaction.
    """
    session = AsyncSession(
        connection, join_transaction_mode="create_savepoint", expire_on_commit=False
    )
    try:
        async with session, session.begin():
            return await unit(session)
    except IntegrityError as error:
        return error
    except DBAPIError as error:
        raise _Broken(error) from error
    except Exception as error:  # noqa: BLE001 - the writer is told
        return error


def _resolve(group: Sequence[_Waiting], outcomes: Sequence[object]) -> bool:
    for one, outcome in zip(group, outcomes, strict=True):
        one.resolve(outcome)
    return True
