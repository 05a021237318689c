"""The bot after ten thousand jobs, beside itself after the first thousand.

The real bot answers members through Discord's double, with a model that does nothing: each of some
members asks again as soon as the last answer stands there. What counts is the bot's resident memory
and the time from a job's beginning to the confirmation of its answer, as the bot has written both
down, so that the double's own growth is not measured.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

from benchmarks.report import Measurement
from tests.e2e.harness import Bot, Wire

JOBS, EARLY, LATE = 10_000, slice(500, 1_000), slice(-500, None)
MEMBERS = range(7000, 7008)
UNLIMITED = dict.fromkeys(("messages", "webhooks", "callback"), (1000000, 1.0))

_LOOK_AGAIN_S = 0.01
_STUCK_S = 60.0

_ANSWERED = "select user_id, count(*) from outbox where state = 'sent' group by user_id"
_LATENCIES = (
    "select outbox.sent_at - jobs.created_at from outbox"
    " join jobs on jobs.id = outbox.job_id order by outbox.sent_at"
)


def run() -> list[Measurement]:
    """Ask ten thousand times."""
    memory_mb, latency_s = asyncio.run(_ask(JOBS))
    return measurements(memory_mb, latency_s)


def measurements(memory_mb: Sequence[float], latency_s: Sequence[float]) -> list[Measurement]:
    """Compare the end with the beginning; both have one figure for each job."""
    peer = "after the first thousand"
    return [
        Measurement(
            "growth.memory",
            fmean(memory_mb[LATE]),
            "MB",
            "lower",
            1.05,
            goal_of="ratio",
            peer=peer,
            peer_value=fmean(memory_mb[EARLY]),
        ),
        Measurement(
            "growth.latency",
            1000 * median(latency_s[LATE]),
            "ms",
            "lower",
            1.10,
            goal_of="ratio",
            peer=peer,
            peer_value=1000 * median(latency_s[EARLY]),
        ),
    ]


async def _ask(jobs: int) -> tuple[list[float], list[float]]:
    """Return the bot's memory at each job, and what each took."""
    with tempfile.TemporaryDirectory() as folder:
        wire = await Wire.start()
        try:
            bot = Bot(wire, Path(folder))
            await wire.set(limits=UNLIMITED)
            await bot.start()
            memory_mb = await _in_turns(bot, jobs)
            return memory_mb, [seconds for (seconds,) in bot.rows(_LATENCIES)]
        finally:
            await wire.stop()


async def _in_turns(bot: Bot, jobs: int) -> list[float]:
    """Have each member ask again once answered, and return the bot's memory at each answer."""
    asked = dict.fromkeys(MEMBERS, 0)
    memory_mb: list[float] = []
    now = asyncio.get_running_loop().time
    last_at = now()
    while len(memory_mb) < jobs:
        answered: dict[int, int] = dict.fromkeys(MEMBERS, 0) | dict(bot.rows(_ANSWERED))
        new = sum(answered.values()) - len(memory_mb)
        if new:
            memory_mb += [bot.memory_mb()] * new
            last_at = now()
        assert now() - last_at < _STUCK_S, "the bot answers no more"
        for member in MEMBERS:
            if asked[member] == answered[member] and sum(asked.values()) < jobs:
                await bot.wire.command("ask", user=member, prompt=f"#{asked[member]}")
                asked[member] += 1
        await asyncio.sleep(_LOOK_AGAIN_S)
    return memory_mb
