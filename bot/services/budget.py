"""What hosted models may cost: a cap by server and calendar month (UTC), and one for the whole bot.

This module owns the sums of this month, in memory, so that a request is let in or refused without
the disk. What a job may cost at most is held back until it has ended, and then counts with what it
did cost: jobs that run side by side cannot overshoot. It must not know Discord.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bot.db.spending import Cost, SpendingRepository, month_of
from bot.engine.engine import Engine
from bot.engine.job import Job, Outcome, Submission
from bot.services.server_settings import ServerSettings
from bot.services.setting_registry import MONTHLY_CAP
from bot.settings import HostedSettings
from models.catalog import Catalog, ModelSpec
from models.contracts import Request
from models.errors import LimitReached
from models.prices import most_micro_usd, to_micro_usd, usd
from models.weights import WeightStore

_NAMED_MODELS = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """How a server stands this month; amounts are in millionths of a dollar.

    Attributes:
        spent: What jobs that have ended did cost.
        held: What those under way may cost at most.
        cap: What may be spent in a month.
        month: Its name, such as ``November``.
        ends: The day on which the next one begins, such as ``1 December``.
    """

    spent: Cost
    held: int
    cap: int
    month: str
    ends: str


@dataclass(slots=True)
class Budget:
    """Says yes, or raises the sentence that says why not.

    Attributes:
        clock: Unix time in seconds.
    """

    settings: HostedSettings
    spending: SpendingRepository
    engine: Engine
    server_settings: ServerSettings
    catalog: Catalog
    weights: WeightStore
    clock: Callable[[], float] = time.time
    _month: str = ""
    _spent: dict[int, Cost] = field(default_factory=dict)
    _held: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def load(self) -> None:
        """Read what was spent this month."""
        self._month = month_of(self.clock())
        self._spent = await self.spending.of_month(self._month)

    def resume(self) -> None:
        """Hold back what the jobs may cost that a former run of the bot has left."""
        for job in self.engine.jobs():
            submission = job.submission
            model = self.catalog.get(submission.model_id)
            self._hold(submission, most_micro_usd(model, submission.request) or 0)

    def check(self, guild_id: int, model: ModelSpec, request: Request | None) -> None:
        """Refuse what would cost more than is left. Looks into memory alone.

        Args:
            guild_id: 0 in a direct message: those have one budget together.
            model: Who would be asked. One whose prices are unknown is never refused.
            request: What for; None while it is not known, when anything left is enough.

        Raises:
            LimitReached: With what was spent, what is allowed, until when, and what to use instead.
        """
        if request is None:
            most: int | None = 1 if model.prices and not model.prices.is_free else 0
        else:
            most = most_micro_usd(model, request)
        if not most:
            return
        standing = self.standing(guild_id)
        if standing.spent.micro_usd + standing.held + most > standing.cap:
            raise LimitReached(self._refusal(guild_id, standing, model, most))
        allowed = to_micro_usd(self.settings.usd_per_month)
        spent = sum(cost.micro_usd for cost in self._spent.values())
        if spent + self._held_back(None) + most > allowed:
            raise LimitReached(
                f"Of the {usd(allowed)} that hosted models may cost in all servers together in a "
                f"month, too little is left until {standing.ends} (UTC). {self._instead(model)}"
            )

    @contextmanager
    def holding(self, submission: Submission) -> Iterator[None]:
        """Hold back what a submission may cost, from here on until its job ends.

        What did not become a job, or ended long ago, holds back nothing.

        Raises:
            LimitReached: See ``check``.
        """
        key = submission.source_key
        if key in self._held:
            yield
            return
        model = self.catalog.get(submission.model_id)
        self.check(submission.requester.guild_id, model, submission.request)
        self._hold(submission, most_micro_usd(model, submission.request) or 0)
        try:
            yield
        except BaseException:
            self._held.pop(key, None)
            raise
        if all(job.submission.source_key != key for job in self.engine.jobs()):
            self._held.pop(key, None)

    async def ended(self, job: Job, outcome: Outcome) -> None:
        """Count what a job did cost in place of what was held back for it."""
        del outcome
        self._turn_the_month()
        self._held.pop(job.submission.source_key, None)
        if month_of(job.finished_at or self.clock()) == self._month:
            guild_id = job.submission.requester.guild_id
            self._spent[guild_id] = self._spent.get(guild_id, Cost()).plus(job.micro_usd)

    def standing(self, guild_id: int) -> Standing:
        """Return how a server stands this month; 0 stands for the direct messages."""
        self._turn_the_month()
        now = time.gmtime(self.clock())
        return Standing(
            spent=self._spent.get(guild_id, Cost()),
            held=self._held_back(guild_id),
            cap=to_micro_usd(float(self.server_settings.get(MONTHLY_CAP, guild_id))),
            month=calendar.month_name[now.tm_mon],
            ends=f"1 {calendar.month_name[now.tm_mon % 12 + 1]}",
        )

    @property
    def month_began(self) -> float:
        """When this month began (UTC), in Unix seconds."""
        now = time.gmtime(self.clock())
        return float(calendar.timegm((now.tm_year, now.tm_mon, 1, 0, 0, 0)))

    def _hold(self, submission: Submission, most: int) -> None:
        self._held[submission.source_key] = (submission.requester.guild_id, most)

    def _held_back(self, guild_id: int | None) -> int:
        """Return what a server's jobs under way may cost, or those of all servers.

        A job that runs again may cost as much once more as it did already.
        """
        again = (
            job.micro_usd or 0
            for job in self.engine.jobs()
            if guild_id in (None, job.submission.requester.guild_id)
        )
        held = (most for guild, most in self._held.values() if guild_id in (None, guild))
        return sum(held) + sum(again)

    def _turn_the_month(self) -> None:
        month = month_of(self.clock())
        if month != self._month:
            self._month = month
            self._spent.clear()

    def _refusal(self, guild_id: int, standing: Standing, model: ModelSpec, most: int) -> str:
        spent, held, cap = standing.spent.micro_usd, standing.held, standing.cap
        allowed = f"{usd(cap)} that hosted models may cost here in a month"
        if most > cap:
            return f"This could cost more than the {allowed}. {self._instead(model)}"
        who = "This server has" if guild_id else "Direct messages have"
        under_way = f", {usd(held)} is held back for jobs under way" if held else ""
        costs = f", and this could cost {usd(most)}" if most > 1 else ""
        until = f"on {standing.ends} (UTC)"
        if spent + most <= cap:
            until = "when those have ended"
        return (
            f"{who} used {usd(spent)} of the {allowed}{under_way}{costs}: "
            f"there is room again {until}. {self._instead(model)}"
        )

    def _instead(self, model: ModelSpec) -> str:
        """Return a sentence on the models of this machine that do the same."""
        here = [
            f"`{other.id}`"
            for other in self.catalog.of(model.modality)
            if not other.is_hosted and self.weights.is_installed(other)
        ]
        if not here:
            return "No model of this machine does the same."
        *others, last = here[:_NAMED_MODELS]
        names = f"{', '.join(others)} or {last}" if others else last
        return f"Models of this machine cost nothing: pick {names}."
