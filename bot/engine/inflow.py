"""How much work comes in that goes ahead of those who wait: what waits are stretched by.

This module owns a memory that fades. It must not look at a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_FADES_S = 1800.0
_WATCHED_S = 600.0
"""At first it is taken to have been watched for so long: one job would count for many otherwise."""

_KEPT = 1000


@dataclass(slots=True)
class _Faded:
    """An amount that fades."""

    amount: float = 0.0
    at: float = 0.0

    def add(self, amount: float, now: float) -> None:
        self.amount, self.at = self.value(now) + amount, now

    def value(self, now: float) -> float:
        return self.amount * math.exp(min(0.0, self.at - now) / _FADES_S)


class Inflow:
    """Work that came in within the last half hour or so, in seconds of a lane."""

    def __init__(self) -> None:
        self._all = _Faded()
        self._since: float | None = None
        self._by_member: dict[int, _Faded] = {}

    def add(self, user_id: int, work_s: float, now: float) -> None:
        """Note what a member asked for at a moment."""
        self._all.add(work_s, now)
        self._since = now if self._since is None else self._since
        self._by_member.setdefault(user_id, _Faded()).add(work_s, now)
        if len(self._by_member) > 2 * _KEPT:
            self._prune(now)

    def rate(self, now: float, *, without: int) -> float:
        """Return how many seconds of work members other than one ask for in a second."""
        own = self._by_member.get(without)
        others = self._all.value(now) - (own.value(now) if own else 0.0)
        watched_s = max(_WATCHED_S, now - (now if self._since is None else self._since))
        return max(0.0, others) / (_FADES_S * (1.0 - math.exp(-watched_s / _FADES_S)))

    def _prune(self, now: float) -> None:
        """Forget those who asked for the least: they are as good as nobody in the sum."""
        by_amount = sorted(self._by_member, key=lambda user: self._by_member[user].value(now))
        for user_id in by_amount[:-_KEPT]:
            del self._by_member[user_id]
