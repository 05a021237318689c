"""How fairly the lanes were shared, and how well the waits were foretold.

This module owns the arithmetic on what became of a crowd's jobs. It is pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchmarks.crowd_world import Asked

WINDOW_S = 600.0


def max_min(demands: Mapping[int, float], capacity: float) -> dict[int, float]:
    """Return what each gets when nobody can get more without taking from one who has less."""
    shares: dict[int, float] = {}
    left = capacity
    for place, (key, demand) in enumerate(sorted(demands.items(), key=lambda pair: pair[1])):
        shares[key] = min(demand, left / (len(demands) - place))
        left -= shares[key]
    return shares


def jain(values: Sequence[float]) -> float:
    """Return Jain's fairness index: 1 when all are equal, 1/n when one has everything."""
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def windows(asked: Sequence[Asked]) -> list[tuple[dict[int, float], dict[int, float]]]:
    """Return for each window what members could have used, and what they got, in seconds."""
    end = max(one.ended for one in asked)
    found = []
    for number in range(int(end // WINDOW_S) + 1):
        begin, until = number * WINDOW_S, (number + 1) * WINDOW_S
        wanted: dict[int, float] = defaultdict(float)
        got: dict[int, float] = defaultdict(float)
        for one in asked:
            if one.at < until and one.ended > begin:
                got[one.member] += one.served_s(begin, until)
                wanted[one.member] += one.takes_s - one.served_s(0.0, begin)
        found.append((wanted, got))
    return found
