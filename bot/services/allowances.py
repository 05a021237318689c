"""What members, channels and servers may have: jobs at once, jobs in an hour, computing in a day.

This module owns the sums of the last day, in memory, so that a request is let in or refused without
the disk. What was used rolls out of its window minute by minute. A job that has begun is finished,
so the last one may go over; what the jobs under way are expected to take is held back until they
have ended. It must not know Discord.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from bot.db.allowances import (
    DAY_SLOTS,
    SLOT_S,
    AllowanceRepository,
    Entry,
    Subject,
    Used,
    entry_at_end,
    entry_at_start,
    is_hosted,
    slot_of,
    subjects_of,
)
from bot.delivery.wording import duration
from bot.engine.engine import Engine
from bot.engine.job import Job, JobState, Outcome, Requester
from bot.services.role_limits import RoleLimits
from bot.services.server_settings import ServerSettings
from models.catalog import Catalog
from models.errors import LimitReached

HOUR_SLOTS = 60
_AHEAD_SLOTS = 1
"""So far ahead of the clock a minute still counts: clocks are set back a little now and then."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a limit is used: jobs, or seconds of computing."""

    subject: Subject
    name: str
    used: float
    limit: int


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A job that has not ended, and the seconds of this machine that it is expected to take."""

    job: Job
    held_s: float


@dataclass(slots=True)
class Allowances:
    """Says yes, or raises the sentence that says why not, and when it will be yes again.

    Attributes:
        clock: Unix time in seconds.
    """

    repository: AllowanceRepository
    engine: Engine
    server_settings: ServerSettings
    role_limits: RoleLimits
    catalog: Catalog
    clock: Callable[[], float] = time.time
    _used: dict[Subject, dict[int, Used]] = field(default_factory=dict)
    _under_way: dict[Subject, dict[str, _UnderWay]] = field(default_factory=dict)
    _entering: Counter[Subject] = field(default_factory=Counter)

    async def load(self) -> None:
        """Read what was used in the last day."""
        stored = await self.repository.since(slot_of(self.clock()) - DAY_SLOTS)
        self._used = {subject: dict(slots) for subject, slots in stored.items()}

    def resume(self) -> None:
        """Count as under way what a former run of the bot has left."""
        for job in self.engine.jobs():
            self._hold(job)

    def check(self, requester: Requester) -> None:
        """Refuse one job too many. Looks into memory alone.

        Raises:
            LimitReached: With what is used, what is allowed, and when there is room again.
        """
        subjects = subjects_of(requester)
        for subject in subjects:
            self._check_at_once(subject, requester)
        for subject in subjects:
            self._check_hour(subject, requester)
            self._check_day(subject, requester)

    def has_room(self, requester: Requester) -> bool:
        """Return whether one more job may be under way, whatever the last day was like."""
        try:
            for subject in subjects_of(requester):
                self._check_at_once(subject, requester)
        except LimitReached:
            return False
        return True

    @contextmanager
    def entering(self, requester: Requester) -> Iterator[None]:
        """Count a request on its way in as a job. Nothing may be awaited since its check."""
        subjects = subjects_of(requester)
        self._entering.update(subjects)
        try:
            yield
        finally:
            self._entering.subtract(subjects)
            self._entering += Counter()

    def started(self, job: Job) -> None:
        """Count a job that was just submitted; nothing may be awaited in between."""
        self._hold(job)
        self._add(job, entry_at_start(job))

    async def ended(self, job: Job, outcome: Outcome) -> None:
        """Count what a job took in place of what was held back for it, or give it back."""
        for subject in subjects_of(job.submission.requester):
            jobs = self._under_way.get(subject, {})
            jobs.pop(job.id, None)
            if not jobs:
                self._under_way.pop(subject, None)
        entry = entry_at_end(job, outcome, hosted=is_hosted(self.catalog, job))
        if entry is not None:
            self._add(job, entry)

    async def sweep(self) -> None:
        """Forget what counts no more."""
        now = slot_of(self.clock())
        kept = range(now - DAY_SLOTS, now + DAY_SLOTS)
        await self.repository.keep(kept)
        for subject, slots in tuple(self._used.items()):
            self._used[subject] = {slot: used for slot, used in slots.items() if slot in kept}
            if not self._used[subject]:
                del self._used[subject]

    def standing(self, requester: Requester) -> list[Standing]:
        """Return how far each window is used that limits somebody in a place."""
        found = []
        for subject in subjects_of(requester):
            if limit := self._limit(subject, "jobs_hour", requester):
                jobs = sum(self._jobs(subject).values())
                found.append(Standing(subject, "jobs_hour", jobs, limit))
            if limit := self._limit(subject, "device_s_day", requester):
                seconds = sum(self._device_ms(subject).values()) / 1000
                found.append(Standing(subject, "device_s_day", seconds, limit))
        return found

    # ----------------------------------------------------------------- the three limits

    def _limit(self, subject: Subject, name: str, requester: Requester) -> int:
        """Return a limit, 0 for none: of a member, that of the most generous role first."""
        guild_id, settings = subject.guild_id, self.server_settings
        if subject.kind == "member":
            of_role = self.role_limits.most_generous(guild_id, name, requester.roles)
            return int(settings.get(f"limits.{name}", guild_id)) if of_role is None else of_role
        return int(settings.get(f"limits.{subject.kind}_{name}", guild_id, subject.subject_id))

    def _check_at_once(self, subject: Subject, requester: Requester) -> None:
        limit, jobs = self._limit(subject, "jobs_at_once", requester), self._jobs_under_way(subject)
        if not limit or len(jobs) + self._entering[subject] < limit:
            return
        count = "a job" if limit == 1 else f"{limit} jobs"
        who, have = _party(subject)
        sentence = (
            f"{who} already {have} {count} under way, and more is not allowed at once. "
            "`/queue` shows what runs, `/cancel` stops it."
        )
        ends_s = self._soonest_end_s(jobs)
        raise LimitReached(
            sentence if ends_s is None else f"{sentence} Free again in about {duration(ends_s)}."
        )

    def _check_hour(self, subject: Subject, requester: Requester) -> None:
        limit = self._limit(subject, "jobs_hour", requester)
        if not limit:
            return
        jobs = self._jobs(subject)
        started = sum(jobs.values())
        if started < limit:
            return
        who, have = _party(subject)
        may = "you may start here" if subject.kind == "member" else "may be started there"
        free_s = self._free_in_s(jobs, 0, limit, HOUR_SLOTS)
        raise LimitReached(
            f"{who} {have} started {started:,} of the {limit:,} jobs that {may} in an hour. "
            f"{_free_again(subject, free_s)} `/queue` shows what runs."
        )

    def _check_day(self, subject: Subject, requester: Requester) -> None:
        limit = self._limit(subject, "device_s_day", requester)
        if not limit:
            return
        spent = self._device_ms(subject)
        used = sum(spent.values())
        held = round(1000 * sum(each.held_s for each in self._jobs_under_way(subject).values()))
        if used + held < 1000 * limit:
            return
        who, have = _party(subject)
        may = "you may use here" if subject.kind == "member" else "may be used there"
        more = f", and {duration(held / 1000)} are held back for jobs under way" if held else ""
        free_s = self._free_in_s(spent, held, 1000 * limit, DAY_SLOTS)
        raise LimitReached(
            f"{who} {have} used {duration(used / 1000)} of the {duration(limit)} of computing "
            f"that {may} in a day{more}. {_free_again(subject, free_s)}"
        )

    # ----------------------------------------------------------------- sums

    def _jobs_under_way(self, subject: Subject) -> Mapping[str, _UnderWay]:
        return self._under_way.get(subject, {})

    def _jobs(self, subject: Subject) -> dict[int, int]:
        """Return the jobs of the last hour by minute, with those on their way in."""
        jobs = {slot: used.jobs for slot, used in self._window(subject, HOUR_SLOTS)}
        if entering := self._entering[subject]:
            now = slot_of(self.clock())
            jobs[now] = jobs.get(now, 0) + entering
        return jobs

    def _device_ms(self, subject: Subject) -> dict[int, int]:
        """Return the milliseconds of the last day by minute."""
        return {slot: used.device_ms for slot, used in self._window(subject, DAY_SLOTS)}

    def _window(self, subject: Subject, length: int) -> Iterator[tuple[int, Used]]:
        now = slot_of(self.clock())
        for slot, used in self._used.get(subject, {}).items():
            if now - length <= slot <= now + _AHEAD_SLOTS:
                yield slot, used

    def _free_in_s(
        self, by_slot: Mapping[int, int], held: int, limit: int, length: int
    ) -> float | None:
        """Return in how many seconds less than a limit is used, None where the held is too much."""
        left = held + sum(by_slot.values())
        for slot in sorted(by_slot):
            left -= by_slot[slot]
            if left < limit:
                return max(1.0, (slot + length + 1) * SLOT_S - self.clock())
        return None

    def _soonest_end_s(self, jobs: Mapping[str, _UnderWay]) -> float | None:
        """Return in how many seconds the first of some jobs is expected to end, if it is known."""
        now, rests = self.clock(), []
        for job in (each.job for each in jobs.values()):
            run_s = self.engine.expected_s(job)
            if job.state is JobState.RUNNING and job.started_at and run_s:
                rests.append(job.started_at + job.load_s + run_s - now)
        return min((rest for rest in rests if rest > 0), default=None)

    def _hold(self, job: Job) -> None:
        expected_s = 0.0 if is_hosted(self.catalog, job) else self.engine.expected_s(job)
        under_way = _UnderWay(job, expected_s or 0.0)
        for subject in subjects_of(job.submission.requester):
            self._under_way.setdefault(subject, {})[job.id] = under_way

    def _add(self, job: Job, entry: Entry) -> None:
        for subject in subjects_of(job.submission.requester):
            slots = self._used.setdefault(subject, {})
            slots[entry.slot] = slots.get(entry.slot, Used()).plus(entry.used)


def _party(subject: Subject) -> tuple[str, str]:
    """Return who has used something, and the verb."""
    if subject.kind == "member":
        return "You", "have"
    if subject.kind == "channel":
        return "This channel", "has"
    return ("This server", "has") if subject.guild_id else ("Direct messages together", "have")


def _free_again(subject: Subject, free_s: float | None) -> str:
    who = "You are free again" if subject.kind == "member" else "There is room again"
    when = "when those have ended" if free_s is None else f"in {duration(free_s)}"
    return f"{who} {when}."
