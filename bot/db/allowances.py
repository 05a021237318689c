"""What members, channels and servers used of their limits: the table ``allowances``.

This module owns the sums, by minute, and what a job adds to them when it comes and when it ends.
It must not know what may be used: ``bot.services.allowances`` does.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.session import Database
from bot.db.tables import AllowanceTable
from bot.engine.job import Job, JobState, Outcome, Requester
from models.catalog import Catalog
from models.errors import ModelUnavailable

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

SLOT_S = 60
DAY_SLOTS = 24 * 60

Kind = Literal["member", "channel", "server"]


class Subject(NamedTuple):
    """Whose limit it is. A server has the id 0; so have all direct messages as one server."""

    kind: Kind
    guild_id: int
    subject_id: int


@dataclass(frozen=True, slots=True)
class Used:
    """Jobs, and milliseconds of a lane. Negative is what is given back."""

    jobs: int = 0
    device_ms: int = 0

    def plus(self, other: Used) -> Used:
        """Return both together."""
        return Used(self.jobs + other.jobs, self.device_ms + other.device_ms)


@dataclass(frozen=True, slots=True)
class MemberMinute:
    """What a member used in a server in a minute that began at a moment (Unix seconds)."""

    guild_id: int
    began_at: int
    jobs: int
    device_ms: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What counts for all subjects of a job, in one minute (counted since 1970)."""

    slot: int
    used: Used


def slot_of(moment: float) -> int:
    """Return the minute of a moment (Unix seconds), counted since 1970."""
    return int(moment // SLOT_S)


def subjects_of(requester: Requester) -> tuple[Subject, ...]:
    """Return whose limits a requester's jobs count for."""
    guild_id = requester.guild_id
    return (
        Subject("member", guild_id, requester.user_id),
        Subject("channel", guild_id, requester.settings_channel_id),
        Subject("server", guild_id, 0),
    )


def entry_at_start(job: Job) -> Entry:
    """Return what a job counts from its submission on."""
    return Entry(slot_of(job.created_at), Used(jobs=1))


def entry_at_end(job: Job, outcome: Outcome, *, hosted: bool) -> Entry | None:
    """Return what counts at a job's end.

    One that failed, or was stopped before it ran, counts for nothing: it is given back. One that
    was stopped later counts with what it took. Seconds of hosted models are another machine's.
    """
    stopped = outcome.state is JobState.CANCELLED
    if outcome.state is JobState.DONE or (stopped and job.device_s):
        device_ms = 0 if hosted else round(1000 * job.device_s)
        moment = job.finished_at or time.time()
        return Entry(slot_of(moment), Used(device_ms=device_ms)) if device_ms else None
    return Entry(slot_of(job.created_at), Used(jobs=-1))


def is_hosted(catalog: Catalog, job: Job) -> bool:
    """Return whether another machine computes a job; one whose model is gone counts as ours."""
    try:
        return catalog.get(job.submission.model_id).is_hosted
    except ModelUnavailable:
        return False


async def count_start(session: AsyncSession, job: Job) -> None:
    """Count a job, in the transaction that writes it down."""
    await _add(session, job, entry_at_start(job))


@dataclass(frozen=True, slots=True)
class CountEnd:
    """Counts what a job took, or gives it back, in the transaction that ends it."""

    catalog: Catalog

    async def __call__(self, session: AsyncSession, job: Job, outcome: Outcome) -> None:
        entry = entry_at_end(job, outcome, hosted=is_hosted(self.catalog, job))
        if entry is not None:
            await _add(session, job, entry)


async def _add(session: AsyncSession, job: Job, entry: Entry) -> None:
    used = {"jobs": entry.used.jobs, "device_ms": entry.used.device_ms}
    rows = [
        {**subject._asdict(), "slot": entry.slot, **used}
        for subject in subjects_of(job.submission.requester)
    ]
    adding = _insert(session).values(rows)
    sums = {name: getattr(AllowanceTable, name) + adding.excluded[name] for name in used}
    keys = (*Subject._fields, "slot")
    await session.execute(adding.on_conflict_do_update(index_elements=keys, set_=sums))


def _insert(session: AsyncSession) -> sqlite.Insert | postgresql.Insert:
    """Return the database's own INSERT; the other dialect would cost 3 MB of memory."""
    if session.get_bind().dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(AllowanceTable)
    from sqlalchemy.dialects.postgresql import insert

    return insert(AllowanceTable)


class AllowanceRepository:
    """Reads the sums, and deletes those that count no more."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(self, slot: int) -> Mapping[Subject, Mapping[int, Used]]:
        """Return what was used from a minute on, by subject and minute."""
        found: dict[Subject, dict[int, Used]] = defaultdict(dict)
        statement = select(AllowanceTable).where(AllowanceTable.slot >= slot)
        async with self._database.reading() as session:
            for row in await session.scalars(statement):
                subject = Subject(row.kind, row.guild_id, row.subject_id)  # type: ignore[arg-type]
                found[subject][row.slot] = Used(row.jobs, row.device_ms)
        return found

    async def of_member(self, user_id: int) -> list[MemberMinute]:
        """Return what a member used in the last day, oldest first."""
        own = {"kind": "member", "subject_id": user_id}
        statement = select(AllowanceTable).filter_by(**own).order_by(AllowanceTable.slot)
        async with self._database.reading() as session:
            return [
                MemberMinute(row.guild_id, row.slot * SLOT_S, row.jobs, row.device_ms)
                for row in await session.scalars(statement)
            ]

    async def keep(self, slots: range) -> None:
        """Delete what was used in other minutes; those ahead are of a clock that was wrong."""
        outside = or_(AllowanceTable.slot < slots.start, AllowanceTable.slot >= slots.stop)
        async with self._database.session() as session:
            await session.execute(delete(AllowanceTable).where(outside))
