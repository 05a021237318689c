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

from sqlalchemy.exc import DBAPIError
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

    When one of several fails, nothing of the group counts, and each is tried by itself: rarely
    needed, that is cheaper than a savepoint for each, and it holds where a database ends the whole
    transaction, as SQLite does when the disk is full.

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
        try:
            async with self._begin() as connection:
                outcomes = [await _run(connection, one.unit) for one in group]
        except _Failed as failed:
            return failed.connection_lost and _resolve(group, [failed.cause] * len(group))
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


class _Failed(Exception):
    """A unit failed, and the whole transaction with it."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        super().__init__(str(cause))

    @property
    def connection_lost(self) -> bool:
        return isinstance(self.cause, DBAPIError) and self.cause.connection_invalidated


async def _run(connection: AsyncConnection, unit: Unit[Any]) -> object:
    """Run a unit in a transaction that goes on after it.

    Raises:
        _Failed: Nobody knows what it has left behind.
    """
    session = AsyncSession(
        connection, join_transaction_mode="rollback_only", expire_on_commit=False
    )
    try:
        async with session, session.begin():
            return await unit(session)
    except Exception as error:
        raise _Failed(error) from error


def _resolve(group: Sequence[_Waiting], outcomes: Sequence[object]) -> bool:
    for one, outcome in zip(group, outcomes, strict=True):
        one.resolve(outcome)
    return True
