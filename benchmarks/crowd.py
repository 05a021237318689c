"""A crowd on a virtual clock: how fair, how fast and how well foretold its jobs are.

Ten thousand members of a server ask for two hours, some of them for up to fifty jobs at a stroke.
What jobs take comes from short real runs. Beside the fair queue the same jobs are served first in,
first out, by the same scheduler.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median, quantiles

from benchmarks import crowd_costs
from benchmarks.crowd_costs import Cost
from benchmarks.crowd_shares import jain, max_min, windows
from benchmarks.crowd_world import LANES, MEMBERS, Asked, Crowd, Floor, as_one_member
from benchmarks.report import Measurement
from bot.engine.feed import Feeds
from bot.engine.job import Anchor, Job, Requester, Submission
from models.contracts import ChatMessage, Modality, TextRequest

WAITING = 10_000
DECISIONS, ROUNDS = 1000, 10
LEAST_WAIT_S = 5.0
_HEAVY_SHARE = 0.05
_PEER = "first in, first out"


def run() -> list[Measurement]:
    """Measure what jobs take, then play the crowd through."""
    costs = crowd_costs.measured()
    asked = Crowd(costs).arrivals()
    in_line = as_one_member(asked)
    Floor(costs, foretells=True).serve(asked)
    Floor(costs, foretells=False).serve(in_line)
    return [*shared(asked, in_line), *foretold(asked), decisions(costs), bytes_per_job(costs)]


# --------------------------------------------------------------------------- shares and waits


def shared(asked: Sequence[Asked], in_line: Sequence[Asked]) -> list[Measurement]:
    """Judge the shares, and compare waits: those of the few who asked for most, and the others'."""
    found = [
        Measurement("crowd.jain", worst_jain(asked), "", "higher", 0.95, peer=_PEER,
                    peer_value=worst_jain(in_line)),
        Measurement("crowd.utilisation", utilisation(asked), "", "higher", peer=_PEER,
                    peer_value=utilisation(in_line)),
    ]  # fmt: skip
    heavy = heaviest(asked)
    for name, of_heavy in (("light", False), ("heavy", True)):
        ours, theirs = (
            quantiles([one.waited_s for one in jobs if (one.member in heavy) is of_heavy], n=100)
            for jobs in (asked, in_line)
        )
        found += [
            Measurement(f"crowd.{name}_wait_p{part}", ours[part - 1], "s", "lower", peer=_PEER,
                        peer_value=theirs[part - 1])
            for part in (50, 90, 99)
        ]  # fmt: skip
    return found


def worst_jain(asked: Sequence[Asked]) -> float:
    """Return the index of the least fair window: what members got over their max-min share."""
    indices = []
    for wanted, got in windows(asked):
        shares = max_min(wanted, sum(got.values()))
        indices.append(jain([got[member] / share for member, share in shares.items() if share]))
    return min(indices)


def utilisation(asked: Sequence[Asked]) -> float:
    """Return for which part of the time the lanes were at work on jobs."""
    taken_s = sum(one.takes_s for one in asked)
    return taken_s / (LANES * max(one.ended for one in asked))


def heaviest(asked: Sequence[Asked]) -> set[int]:
    """Return the members who asked for most."""
    wanted: dict[int, float] = defaultdict(float)
    for one in asked:
        wanted[one.member] += one.takes_s
    by_weight = sorted(wanted, key=lambda member: -wanted[member])
    return set(by_weight[: round(len(by_weight) * _HEAVY_SHARE)])


def foretold(asked: Sequence[Asked]) -> list[Measurement]:
    """Judge the first word on each wait that was worth one."""
    errors = [
        abs(one.foretold_s - one.waited_s) / one.waited_s
        for one in asked
        if one.foretold_s is not None and one.waited_s > LEAST_WAIT_S
    ]
    return [Measurement("crowd.eta_error", median(errors), "", "lower", 0.30)]


# --------------------------------------------------------------------------- what it costs


def decisions(costs: Mapping[Modality, Cost]) -> Measurement:
    """Measure decisions while ten thousand wait: which job, on which lane, and what it took."""
    floor = Floor(costs, foretells=False)
    floor.load_everything()
    jobs = _jobs(costs, WAITING + DECISIONS * ROUNDS)
    for job in jobs[:WAITING]:
        floor.scheduler.queue.add(job)
    rounds = [
        sum(_decide(floor, another) for another in jobs[begin : begin + DECISIONS])
        for begin in range(WAITING, len(jobs), DECISIONS)
    ]
    return Measurement("crowd.decisions", DECISIONS / min(rounds), "/s", "higher", 20_000)


def _decide(floor: Floor, another: Job) -> float:
    """Start a job and end it; return the seconds of both. Another one comes in its place."""
    began = time.perf_counter()
    placement = floor.scheduler.next(0.0)
    assert placement is not None
    floor.scheduler.queue.settle(placement.job, 5.0)
    took_s = time.perf_counter() - began
    floor.scheduler.queue.add(another)
    return took_s


def bytes_per_job(costs: Mapping[Modality, Cost], waiting: int = WAITING) -> Measurement:
    """Measure what a waiting job holds, with its place, its feed and what is foretold of it."""
    floor, feeds = Floor(costs, foretells=False), Feeds()
    gc.collect()
    tracemalloc.start()
    jobs = _jobs(costs, waiting)
    for job in jobs:
        feeds.open(job.id)
        floor.scheduler.queue.add(job)
    floor.foretell()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Measurement("crowd.bytes_per_job", held / waiting, "B", "lower", 4096)


def _jobs(costs: Mapping[Modality, Cost], number: int) -> list[Job]:
    """Return jobs of all models, of as many members, with prompts of 200 characters."""
    models = [cost.model.id for cost in costs.values()]
    return [
        Job(
            f"{each:016}",
            Submission(
                TextRequest((ChatMessage("user", f"{each:0200}"),)),
                models[each % len(models)],
                Requester(user_id=1 + each % MEMBERS, guild_id=1, channel_id=2),
                Anchor(channel_id=2, message_id=1 << 60 | each, token="x" * 200),
                f"crowd:{each}",
            ),
        )
        for each in range(number)
    ]
